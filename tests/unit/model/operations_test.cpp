#include "model/operations.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <stdexcept>
#include <string>

#include "model/parameters.hpp"

namespace kumihimo {
namespace {

using Operations = std::vector<Operation>;

// b sequences of s tokens through layers of hidden h in a heads of d, with f hidden in the MLP.
constexpr double b = 2, s = 8, h = 64, a = 4, d = 16, f = 96, v = 512;
constexpr double tokens = b * s;

TransformerShape llama() {
  return {.layers = 1,
          .hidden = 64,
          .heads = 4,
          .kv_heads = 4,
          .head_dim = 16,
          .ffn_hidden = 96,
          .vocab = 512};
}

/// The layer of arXiv:2205.05198: GELU MLP of 4 h, dropout, learned positions.
TransformerShape gpt() {
  TransformerShape shape = llama();
  shape.ffn_hidden = 4 * shape.hidden;
  shape.activation = Activation::gelu;
  shape.norm = NormKind::layer_norm;
  shape.positions = Positions::learned;
  shape.dropout = true;
  return shape;
}

LayerShard whole() { return {.micro_batch_size = 2, .seq_length = 8, .vocab = 512}; }

LayerShard split(int tensor_parallel, bool sequence_parallel = false) {
  LayerShard shard = whole();
  shard.tensor_parallel = tensor_parallel;
  shard.sequence_parallel = sequence_parallel;
  return shard;
}

const Operation& named(const Operations& operations, std::string_view name) {
  const auto found = std::ranges::find(operations, name, &Operation::name);
  if (found == operations.end()) throw std::out_of_range(std::string(name));
  return *found;
}

double sum_of(const Operations& operations, OperationKind kind, auto value) {
  double sum = 0;
  for (const Operation& operation : operations) {
    if (operation.kind == kind) sum += value(operation);
  }
  return sum;
}

double saved(const Operations& operations) {
  double sum = 0;
  for (const Operation& operation : operations) sum += operation.saved_bytes;
  return sum;
}

/// Bytes through every rank of a ring: twice for an all-reduce (Patarasuk & Yuan 2009).
double ring_volume(const Collective& collective, int ranks) {
  const double passes = collective.kind == CollectiveKind::none         ? 0
                        : collective.kind == CollectiveKind::all_reduce ? 2
                                                                        : 1;
  return passes * (ranks - 1) / ranks * collective.bytes;
}

TEST(LayerOperations, ProductsTakeTwoFlopsPerTokenAndWeight) {
  const double weights = h * 3 * h + h * h + 3 * h * f;  // qkv, output, gate and up and down
  const ParameterCount count = count_parameters(llama());
  ASSERT_EQ(weights, static_cast<double>(count.per_layer_attention + count.per_layer_mlp));

  const Operations operations = layer_operations(llama(), whole());
  const auto flops = [&](Work Operation::*pass) {
    return sum_of(operations, OperationKind::matmul,
                  [&](const Operation& operation) { return (operation.*pass).flops; });
  };
  EXPECT_DOUBLE_EQ(flops(&Operation::forward), 2 * tokens * weights);
  EXPECT_DOUBLE_EQ(flops(&Operation::backward_input), 2 * tokens * weights);
  EXPECT_DOUBLE_EQ(flops(&Operation::backward_weight), 2 * tokens * weights);
}

TEST(LayerOperations, FlashAttentionSkipsTheMaskedHalf) {
  LayerShard shard = whole();
  for (const AttentionKernel kernel :
       {AttentionKernel::flash1, AttentionKernel::flash2, AttentionKernel::flash3}) {
    shard.attention = kernel;
    const Operation core = named(layer_operations(llama(), shard), "attention core");
    EXPECT_EQ(core.attention, kernel);
    EXPECT_DOUBLE_EQ(core.forward.flops, 4 * tokens * s * h / 2);
    // Five products to forward's two: the scores are computed again.
    EXPECT_DOUBLE_EQ(core.backward_input.flops, 5 * 2 * tokens * s * h / 2);
    EXPECT_EQ(core.backward_weight.flops, 0);
  }
}

TEST(LayerOperations, StoredScoresAreAllComputed) {
  LayerShard shard = whole();
  for (const AttentionKernel kernel : {AttentionKernel::unfused, AttentionKernel::fused_softmax}) {
    shard.attention = kernel;
    const Operation core = named(layer_operations(llama(), shard), "attention core");
    EXPECT_DOUBLE_EQ(core.forward.flops, 4 * tokens * s * h);
    EXPECT_DOUBLE_EQ(core.backward_input.flops, 2 * 4 * tokens * s * h);
  }
}

TEST(LayerOperations, EachFusionSavesPassesOverTheScores) {
  const auto bytes = [](AttentionKernel kernel) {
    LayerShard shard = whole();
    shard.attention = kernel;
    return named(layer_operations(llama(), shard), "attention core").forward.bytes;
  };
  EXPECT_GT(bytes(AttentionKernel::unfused), bytes(AttentionKernel::fused_softmax));
  // Queries, keys and values in, the output out: nothing per score.
  EXPECT_DOUBLE_EQ(bytes(AttentionKernel::flash2), 2 * 4 * tokens * h);
  EXPECT_GT(bytes(AttentionKernel::fused_softmax),
            bytes(AttentionKernel::flash2) + 2 * 2 * a * tokens * s);
}

TEST(LayerOperations, TensorParallelismSplitsProductsAndAttention) {
  const auto flops = [](const Operations& operations, OperationKind kind) {
    return sum_of(operations, kind,
                  [](const Operation& operation) { return operation.forward.flops; });
  };
  const Operations alone = layer_operations(llama(), whole());
  const Operations quarter = layer_operations(llama(), split(4));
  for (const OperationKind kind : {OperationKind::matmul, OperationKind::attention}) {
    EXPECT_DOUBLE_EQ(flops(quarter, kind), flops(alone, kind) / 4);
  }
}

TEST(LayerOperations, AGptLayerKeepsWhatKorthikantiCounts) {
  LayerShard shard = whole();
  for (const AttentionKernel kernel : {AttentionKernel::unfused, AttentionKernel::fused_softmax}) {
    shard.attention = kernel;
    // In units of s b h: both norms' inputs 2 + 2, inputs of qkv and up projection 2 + 2, queries,
    // keys and values 6, input of the output projection 2, of GELU 8 and of the down projection 8,
    // two dropout masks 1 + 1. Beside them 5 a s^2 b, and 8 bytes of statistics, mean and
    // deviation, per token and norm.
    EXPECT_DOUBLE_EQ(
        saved(layer_operations(gpt(), shard)),
        (2 + 2 + 2 + 2 + 6 + 2 + 8 + 8 + 1 + 1) * s * b * h + 5 * a * s * s * b + 2 * 8 * s * b);
  }
}

TEST(LayerOperations, TensorParallelismLeavesTenOfThirtyFourUndivided) {
  LayerShard shard = split(4);
  shard.attention = AttentionKernel::unfused;
  EXPECT_DOUBLE_EQ(saved(layer_operations(gpt(), shard)),
                   s * b * h * (10 + 24.0 / 4) + 5 * a * s * s * b / 4 + 2 * 8 * s * b);
}

TEST(LayerOperations, SequenceParallelismDividesAllThirtyFour) {
  LayerShard shard = split(4, true);
  shard.attention = AttentionKernel::unfused;
  EXPECT_DOUBLE_EQ(saved(layer_operations(gpt(), shard)),
                   (34 * s * b * h + 5 * a * s * s * b + 2 * 8 * s * b) / 4);
}

TEST(LayerOperations, SequenceParallelismDividesTheWorkOfNormsAndResiduals) {
  const Operations together = layer_operations(llama(), split(4));
  const Operations apart = layer_operations(llama(), split(4, true));
  for (const char* name : {"attention norm", "attention residual", "mlp norm", "mlp residual"}) {
    EXPECT_DOUBLE_EQ(named(apart, name).forward.bytes, named(together, name).forward.bytes / 4);
    EXPECT_DOUBLE_EQ(named(apart, name).backward_input.bytes,
                     named(together, name).backward_input.bytes / 4);
  }
  for (const char* name : {"qkv projection", "attention core", "swiglu"}) {
    EXPECT_DOUBLE_EQ(named(apart, name).forward.bytes, named(together, name).forward.bytes);
  }
}

TEST(LayerOperations, AFlashLlamaLayerKeepsNoScores) {
  EXPECT_DOUBLE_EQ(saved(layer_operations(llama(), whole())),
                   2 * tokens * h * (1 + 1)        // inputs of both norms
                       + 2 * 4 * tokens            // their statistics
                       + 2 * tokens * h * (1 + 1)  // inputs of qkv and of gate and up
                       + 2 * tokens * 3 * h        // queries, keys, values
                       + 4 * tokens * a            // log-sum-exp of each query
                       + 2 * tokens * h            // input of the output projection
                       + 2 * tokens * f * (1 + 1)  // gate and up
                       + 2 * tokens * f);          // input of the down projection
}

TEST(LayerOperations, AnUnfusedNormKeepsTheFp32CopyAndTheNormalisedValues) {
  LayerShard shard = whole();
  const double fused = saved(layer_operations(llama(), shard));
  shard.norm = NormKernel::unfused;
  const Operations unfused = layer_operations(llama(), shard);
  EXPECT_DOUBLE_EQ(saved(unfused) - fused, 2 * (4 + 2) * tokens * h);
  EXPECT_GT(named(unfused, "mlp norm").forward.kernels, 1);
}

TEST(LayerOperations, WithoutDropoutTwoMasksAreMissing) {
  TransformerShape without = gpt();
  without.dropout = false;
  EXPECT_DOUBLE_EQ(
      saved(layer_operations(gpt(), whole())) - saved(layer_operations(without, whole())),
      2 * tokens * h);
}

TEST(LayerOperations, SelectiveRecomputationDropsTheScoresAlone) {
  const auto core_bytes = [](AttentionKernel kernel, int tensor_parallel, Precision precision) {
    LayerShard shard = split(tensor_parallel);
    shard.attention = kernel;
    shard.precision = precision;
    double bytes = 0;
    for (const Operation& operation : layer_operations(gpt(), shard)) {
      if (operation.attention_core) bytes += operation.saved_bytes;
    }
    return bytes;
  };
  const double pairs = a * s * s * b;
  EXPECT_DOUBLE_EQ(core_bytes(AttentionKernel::unfused, 1, Precision::bf16), 5 * pairs);
  EXPECT_DOUBLE_EQ(core_bytes(AttentionKernel::fused_softmax, 1, Precision::bf16), 5 * pairs);
  EXPECT_DOUBLE_EQ(core_bytes(AttentionKernel::unfused, 2, Precision::bf16), 5 * pairs / 2);
  EXPECT_DOUBLE_EQ(core_bytes(AttentionKernel::unfused, 1, Precision::fp32), (4 + 4 + 1) * pairs);
  EXPECT_DOUBLE_EQ(core_bytes(AttentionKernel::flash2, 1, Precision::bf16), 4 * a * s * b);
}

TEST(LayerOperations, GroupedKeysAndValuesShrinkTheirProjection) {
  TransformerShape grouped = llama();
  grouped.kv_heads = 2;
  const auto qkv_flops = [&](int tensor_parallel) {
    return named(layer_operations(grouped, split(tensor_parallel)), "qkv projection").forward.flops;
  };
  EXPECT_DOUBLE_EQ(qkv_flops(1), 2 * tokens * h * (4 + 2 * 2) * d);
  EXPECT_DOUBLE_EQ(qkv_flops(2), 2 * tokens * h * (2 + 2 * 1) * d);
  EXPECT_DOUBLE_EQ(qkv_flops(4), 2 * tokens * h * (1 + 2 * 1) * d);  // each kv head on two ranks

  // The core's products are those of the query heads.
  EXPECT_DOUBLE_EQ(named(layer_operations(grouped, whole()), "attention core").forward.flops,
                   named(layer_operations(llama(), whole()), "attention core").forward.flops);
}

TEST(LayerOperations, ContextParallelismSplitsTokensAndPassesKeysAndValuesRound) {
  LayerShard shard = whole();
  shard.context_parallel = 4;
  const Operations ring = layer_operations(llama(), shard);
  const Operations alone = layer_operations(llama(), whole());
  EXPECT_DOUBLE_EQ(named(ring, "qkv projection").forward.flops,
                   named(alone, "qkv projection").forward.flops / 4);
  const Operation core = named(ring, "attention core");
  // A quarter of the queries, each with all keys.
  EXPECT_DOUBLE_EQ(core.forward.flops, named(alone, "attention core").forward.flops / 4);
  EXPECT_EQ(core.forward_collective.kind, CollectiveKind::send_receive);
  EXPECT_EQ(core.forward_collective.axis, LayerAxis::context);
  // Keys and values of tokens / 4 in 16 bit go on to three other ranks, back with their gradients.
  EXPECT_DOUBLE_EQ(core.forward_collective.bytes, 3 * 2 * (2 * tokens / 4 * h));
  EXPECT_DOUBLE_EQ(core.backward_collective.bytes, 2 * core.forward_collective.bytes);
  EXPECT_DOUBLE_EQ(saved(ring), saved(alone) / 4);
}

TEST(LayerOperations, TensorParallelismReducesTwiceEachWay) {
  int forward = 0, backward = 0;
  for (const Operation& operation : layer_operations(llama(), split(4))) {
    for (const Collective& collective :
         {operation.forward_collective, operation.backward_collective}) {
      if (collective.kind == CollectiveKind::none) continue;
      EXPECT_EQ(collective.kind, CollectiveKind::all_reduce) << operation.name;
      EXPECT_EQ(collective.axis, LayerAxis::tensor);
      EXPECT_DOUBLE_EQ(collective.bytes, 2 * b * s * h);
    }
    forward += operation.forward_collective.kind != CollectiveKind::none;
    backward += operation.backward_collective.kind != CollectiveKind::none;
    EXPECT_EQ(operation.backward_weight_collective.kind, CollectiveKind::none);
  }
  EXPECT_EQ(forward, 2);
  EXPECT_EQ(backward, 2);

  for (const Operation& operation : layer_operations(llama(), whole())) {
    EXPECT_NE(operation.kind, OperationKind::collective) << operation.name;
  }
}

TEST(LayerOperations, SequenceParallelismMovesTheSameBytesAndGathersInputsOnceMore) {
  const auto volume = [](const Operations& operations, Collective Operation::*pass) {
    double bytes = 0;
    for (const Operation& operation : operations) bytes += ring_volume(operation.*pass, 4);
    return bytes;
  };
  const Operations reduced = layer_operations(llama(), split(4));
  const Operations gathered = layer_operations(llama(), split(4, true));
  const double all_reduces = 2 * (2 * 3.0 / 4 * 2 * b * s * h);
  for (const auto pass : {&Operation::forward_collective, &Operation::backward_collective}) {
    EXPECT_DOUBLE_EQ(volume(reduced, pass), all_reduces);
    EXPECT_DOUBLE_EQ(volume(gathered, pass), all_reduces);
  }
  EXPECT_DOUBLE_EQ(volume(gathered, &Operation::backward_weight_collective),
                   2 * (3.0 / 4 * 2 * b * s * h));
  EXPECT_EQ(named(gathered, "mlp input").forward_collective.kind, CollectiveKind::all_gather);
  EXPECT_EQ(named(gathered, "mlp output reduction").forward_collective.kind,
            CollectiveKind::reduce_scatter);
}

TEST(LayerOperations, Fp8CastsTheInputsOfItsProducts) {
  LayerShard shard = whole();
  shard.precision = Precision::fp8;
  const Operations operations = layer_operations(llama(), shard);
  double cast_bytes = 0;
  int products = 0, casts = 0;
  for (const Operation& operation : operations) {
    if (operation.kind == OperationKind::matmul) {
      EXPECT_EQ(operation.precision, Precision::fp8) << operation.name;
      ++products;
    }
    if (operation.name != "fp8 cast") continue;
    cast_bytes += operation.forward.bytes;
    ++casts;
  }
  EXPECT_EQ(products, 4);
  EXPECT_EQ(casts, 4);
  // Read in 16 bit, written plain and transposed, one byte each: inputs h, h, h and f wide.
  EXPECT_DOUBLE_EQ(cast_bytes, (2 + 1 + 1) * tokens * (h + h + h + f));
  // Operands of one byte, the result in 16 bit.
  EXPECT_DOUBLE_EQ(named(operations, "qkv projection").forward.bytes,
                   tokens * h + h * 3 * h + 2 * tokens * 3 * h);
  EXPECT_EQ(named(operations, "attention core").precision, Precision::bf16);
  EXPECT_DOUBLE_EQ(saved(operations), saved(layer_operations(llama(), whole())));
}

TEST(LayerOperations, Fp32DoublesWhatSixteenBitsMoveBetweenRanks) {
  LayerShard shard = split(4);
  shard.precision = Precision::fp32;
  EXPECT_DOUBLE_EQ(
      named(layer_operations(llama(), shard), "mlp output reduction").forward_collective.bytes,
      4 * b * s * h);
}

TEST(EmbeddingOperations, ASplitTableSumsItsRows) {
  EXPECT_EQ(embedding_operations(llama(), whole()).size(), 1u);
  EXPECT_EQ(saved(embedding_operations(llama(), whole())), 0);
  EXPECT_EQ(saved(embedding_operations(gpt(), whole())), tokens * h);  // dropout's mask
  const Operation sum = named(embedding_operations(llama(), split(4)), "embedding reduction");
  EXPECT_EQ(sum.forward_collective.kind, CollectiveKind::all_reduce);
  EXPECT_DOUBLE_EQ(sum.forward_collective.bytes, 2 * b * s * h);
}

TEST(HeadOperations, EachRankComputesItsShareOfTheLogits) {
  const Operation head = named(head_operations(llama(), split(4)), "head");
  EXPECT_DOUBLE_EQ(head.forward.flops, 2 * tokens * h * v / 4);
  EXPECT_DOUBLE_EQ(head.backward_weight.flops, 2 * tokens * h * v / 4);
}

TEST(HeadOperations, ThePaddedVocabularyCounts) {
  LayerShard shard = whole();
  shard.vocab = 1024;
  EXPECT_DOUBLE_EQ(named(head_operations(llama(), shard), "head").forward.flops,
                   2 * tokens * h * 1024);
}

TEST(HeadOperations, TheHeadStaysInSixteenBitsUnderFp8) {
  LayerShard shard = whole();
  shard.precision = Precision::fp8;
  EXPECT_EQ(named(head_operations(llama(), shard), "head").precision, Precision::bf16);
}

TEST(HeadOperations, GatheredLogitsAreHeldWholeByEveryRank) {
  LayerShard shard = split(4);
  const Operation own = named(head_operations(llama(), shard), "cross-entropy");
  EXPECT_EQ(own.kind, OperationKind::loss);
  // In 16 bit, as an fp32 copy, and its gradient.
  EXPECT_DOUBLE_EQ(own.saved_bytes, (2 + 4 + 4) * tokens * v / 4);

  shard.vocab_parallel_loss = false;
  const Operations gathered = head_operations(llama(), shard);
  const Collective gather = named(gathered, "logits gather").forward_collective;
  EXPECT_EQ(gather.kind, CollectiveKind::all_gather);
  EXPECT_DOUBLE_EQ(gather.bytes, 4 * tokens * v);
  EXPECT_GT(named(gathered, "cross-entropy").saved_bytes, (2 + 4 + 4) * tokens * v);

  shard = whole();  // one rank has nothing to gather
  shard.vocab_parallel_loss = false;
  EXPECT_DOUBLE_EQ(saved(head_operations(llama(), shard)),
                   saved(head_operations(llama(), whole())));
}

TEST(BoundaryBytes, AreOneActivationPerToken) {
  EXPECT_DOUBLE_EQ(boundary_bytes(llama(), split(4), false), 2 * b * s * h);
  EXPECT_DOUBLE_EQ(boundary_bytes(llama(), split(4), true), 2 * b * s * h / 4);
  EXPECT_DOUBLE_EQ(boundary_bytes(llama(), split(4, true), false), 2 * b * s * h / 4);
  EXPECT_DOUBLE_EQ(layer_input_bytes(llama(), split(4)), 2 * b * s * h);
  EXPECT_DOUBLE_EQ(layer_input_bytes(llama(), split(4, true)), 2 * b * s * h / 4);
}

}  // namespace
}  // namespace kumihimo
