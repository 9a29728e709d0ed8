#!/usr/bin/env python3
"""Fits the shipped stack profiles again: scripts/fit_stacks.py [NAME ...]

Each profile starts from the uncalibrated one with what its framework is known to do, and is fitted
by `kumihimo calibrate` to published runs. The runs are read from the folder that KUMIHIMO_RUNS names
(../shared/data when unset); without them the profiles in catalog/stacks stay as they are.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUNS = pathlib.Path(os.environ.get("KUMIHIMO_RUNS", ROOT.parent / "shared" / "data"))
PROGRAM = ROOT / "build" / "kumihimo"

# name: (description, cluster, run files, what the source of runs made with it holds, facts about the
# framework)
STACKS = {
    "megatron-2023-a100": (
        "Megatron-like trainer of the founding paper (2023): tensor, pipeline and ZeRO-1 data "
        "parallelism, FlashAttention, optional fused RMSNorm; logits gathered for the loss",
        "a100-80gb-sxm", ["alephalpha_layout_sweep_a100.csv"],
        ["Aleph-Alpha/", "2311.05610"],
        {"gradient_dtype": "bf16", "vocab_parallel_loss": False, "recompute_head": True,
         "layer_balance": "blocks"}),
    "megatron-2021-a100": (
        "Megatron-LM 2021-2022: fused softmax without FlashAttention, full or selective recompute",
        "a100-80gb-sxm", ["megatron_sc21_a100.csv", "megatron_seqpar_selective_a100.csv"],
        ["2104.04473", "2205.05198"],
        {"recompute": "full", "attention": "fused-softmax", "precision": "fp16", "zero_stage": 0,
         "scatter_gather_boundary": True}),
    "megatron-deepspeed-2023-a100": (
        "Megatron-DeepSpeed as vTrain measured it: full recompute, 1F1B",
        "a100-80gb-sxm", ["vtrain_single_node_a100.csv", "vtrain_multi_node_a100.csv"],
        ["vTrain", "Megatron-DeepSpeed"],
        {"recompute": "full", "attention": "fused-softmax", "precision": "fp16", "zero_stage": 0}),
    "megatron-zero-bubble-2024-a100": (
        "Megatron-LM with zero-bubble schedules (Qi et al. 2024): 1F1B, interleaved 1F1B, ZB-H1",
        "a100-80gb-sxm", ["papers_llama3_megascale_mtnlg_zerobubble.csv"],
        ["2401.10241", "zero-bubble"],
        {"attention": "fused-softmax", "precision": "fp16", "sequence_parallel": True}),
    "fsdp-2023-a100": (
        "llm-foundry 2023: PyTorch FSDP, FlashAttention 1, MPT models",
        "a100-80gb-sxm", ["mosaicml_llmfoundry_a100_2023-05.csv"],
        ["llm-foundry"],
        {"gradient_dtype": "bf16", "attention": "flash1", "zero_stage": 3}),
    "fsdp-2023-h100": (
        "llm-foundry 2023 on H100: PyTorch FSDP, MPT models, bf16 and Transformer Engine fp8",
        "h100-80gb-sxm", ["mosaicml_experiment_branch_h100_a100.csv"],
        ["llm-foundry"],
        {"gradient_dtype": "bf16", "attention": "flash2", "zero_stage": 3}),
    "internevo-2024-a100": (
        "InternEvo 2024: FlashAttention, ZeRO-1 over shard groups",
        "a100-80gb-sxm", ["internevo_a100_7b.csv"],
        ["InternEvo"],
        {"gradient_dtype": "bf16"}),
    "nemo-fp8-2024-h100": (
        "NVIDIA NeMo 2024: Transformer Engine fp8, sequence parallelism, overlapped communication",
        "h100-80gb-sxm", ["nvidia_nemo_h100_fp8_2024.csv"],
        ["NeMo-Framework-Launcher"],
        {"gradient_dtype": "bf16", "precision": "fp8", "sequence_parallel": True,
         "attention": "flash3", "overlap_tensor_parallel": True}),
    "megatron-bridge-2025-h100": (
        "NVIDIA Megatron-Bridge 2025-2026: Transformer Engine fp8 and bf16, sequence parallelism",
        "h100-80gb-sxm", ["nvidia_megatron_bridge_h100_b200_gb200_gb300.csv"],
        ["Megatron-Bridge"],
        {"gradient_dtype": "bf16", "precision": "fp8", "sequence_parallel": True,
         "attention": "flash3", "overlap_tensor_parallel": True}),
    "nanotron-2025-h100": (
        "nanotron 2025 (Ultra-Scale Playbook): reduce-scatter tensor parallelism; pipeline "
        "stages balanced by their parameters",
        "h100-80gb-sxm", ["nanotron_ultrascale_h100.csv"],
        ["nanotron"],
        {"sequence_parallel": True, "layer_balance": "parameters"}),
    "torchtitan-2025-h100": (
        "torchtitan 2024-2025: FSDP2, torch.compile, float8 linear layers",
        "h100-80gb-sxm", ["torchtitan_a100_h100_h200.csv"],
        ["torchtitan"],
        {"recompute": "selective", "zero_stage": 3}),
    "llmq-2026": (
        "LLM.Q: C++/CUDA trainer on consumer cards, one node",
        "rtx-4090", ["llmq_consumer_and_h100_gpus.csv"],
        ["llmq"],
        {"gradient_dtype": "bf16"}),
}


BASE = "its framework's facts and uncalibrated rates"


def toml_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else f'"{value}"'


def fit(name):
    description, cluster, files, sources, facts = STACKS[name]
    with tempfile.TemporaryDirectory() as folder:
        base = pathlib.Path(folder) / f"{name}.toml"
        defaults = "\n".join(f"{key} = {toml_value(value)}" for key, value in facts.items())
        base.write_text(f'name = "{BASE}"\nbase = "uncalibrated"\ndescription = "{description}"\n'
                        f'origin = "the uncalibrated profile"\ncluster = "{cluster}"\n'
                        f"sources = {json.dumps(sources)}\n\n"
                        f"[defaults]\n{defaults}\n")
        subprocess.run([PROGRAM, "calibrate", "--from", *(RUNS / file for file in files),
                        "--base", base, "--name", name,
                        "--out", ROOT / "catalog" / "stacks" / f"{name}.toml"], check=True)


def main():
    names = sys.argv[1:] or list(STACKS)
    unknown = [name for name in names if name not in STACKS]
    if unknown:
        sys.exit(f"fit_stacks: unknown profile {', '.join(unknown)}; known: {', '.join(STACKS)}")
    if not RUNS.is_dir():
        sys.exit(f"fit_stacks: no runs in {RUNS}; set KUMIHIMO_RUNS to their folder")
    if not PROGRAM.exists():
        sys.exit("fit_stacks: build/kumihimo is missing; run `make build`")
    for name in names:
        fit(name)


if __name__ == "__main__":
    main()
