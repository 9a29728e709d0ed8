#!/usr/bin/env python3
"""A LLaMA-shaped training step on a GPU with PyTorch, as one would write it for speed: torch.compile,
scaled_dot_product_attention, bf16 with fp32 master weights (autocast), fused AdamW. The peer of
`kumihimo train --backend cuda` at the same shapes; bench/gpu_study.py runs both.

Prints one line of JSON: seconds of each timed step, peak memory, loss. Exit code 3: out of memory.
"""

import argparse
import json
import sys
import time


def build(torch, shape):
    nn, F = torch.nn, torch.nn.functional
    dim = shape.hidden // shape.heads

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            kv = shape.kv_heads * dim
            self.norms = nn.ModuleList(nn.RMSNorm(shape.hidden, eps=1e-5) for _ in range(2))
            self.qkv = nn.Linear(shape.hidden, shape.hidden + 2 * kv, bias=False)
            self.out = nn.Linear(shape.hidden, shape.hidden, bias=False)
            self.up = nn.Linear(shape.hidden, 2 * shape.ffn, bias=False)
            self.down = nn.Linear(shape.ffn, shape.hidden, bias=False)

        def forward(self, x, cos, sin):
            batch, length, _ = x.shape
            heads = self.qkv(self.norms[0](x)).view(batch, length, -1, dim).transpose(1, 2)
            q, k, v = heads.split([shape.heads, shape.kv_heads, shape.kv_heads], dim=1)

            def rotate(t):
                a, b = t.chunk(2, -1)
                return torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(v.dtype)

            y = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True,
                                               enable_gqa=shape.heads != shape.kv_heads)
            x = x + self.out(y.transpose(1, 2).reshape(batch, length, -1))
            gate, up = self.up(self.norms[1](x)).chunk(2, -1)
            return x + self.down(F.silu(gate) * up)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(shape.vocab, shape.hidden)
            self.layers = nn.ModuleList(Layer() for _ in range(shape.layers))
            self.norm = nn.RMSNorm(shape.hidden, eps=1e-5)
            self.head = nn.Linear(shape.hidden, shape.vocab, bias=False)
            angles = torch.outer(torch.arange(shape.seq, dtype=torch.float32),
                                 10000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float32) / dim))
            self.register_buffer("cos", angles.cos())
            self.register_buffer("sin", angles.sin())

        def forward(self, tokens, targets):
            x = self.table(tokens)
            for layer in self.layers:
                x = layer(x, self.cos, self.sin)
            return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1).float(), targets.flatten())

    return Model()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in dict(hidden=2048, layers=24, heads=16, kv_heads=16, ffn=5504, vocab=32000, seq=4096,
                            micro_batch=1, micro_batches=1, steps=12, warmup=4).items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    shape = parser.parse_args()
    try:
        import torch
    except ImportError:
        sys.exit("torch_llama_gpu.py: no PyTorch in this python3; install torch, or name another with --torch-python")
    if not torch.cuda.is_available():
        sys.exit("torch_llama_gpu.py: PyTorch finds no GPU")
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    try:
        model = build(torch, shape).cuda()
        step_of = torch.compile(model)
        matrices = [p for p in model.parameters() if p.dim() > 1]
        vectors = [p for p in model.parameters() if p.dim() == 1]
        optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0}],
                                      lr=1e-3, betas=(0.9, 0.95), fused=True)
        data = torch.randint(shape.vocab, (shape.micro_batches, shape.micro_batch, shape.seq + 1), device="cuda")
        seconds = []
        for step in range(shape.warmup + shape.steps):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            for part in data:
                with torch.autocast("cuda", dtype=torch.bfloat16):
                    loss = step_of(part[:, :-1], part[:, 1:]) / shape.micro_batches
                loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            torch.cuda.synchronize()
            if step >= shape.warmup:
                seconds.append(time.perf_counter() - begin)
    except torch.cuda.OutOfMemoryError:
        sys.exit(3)
    print(json.dumps({"torch": torch.__version__, "seconds": seconds, "loss": float(loss),
                      "peak_memory_bytes": torch.cuda.max_memory_allocated(),
                      "reserved_bytes": torch.cuda.max_memory_reserved()}))


if __name__ == "__main__":
    main()
