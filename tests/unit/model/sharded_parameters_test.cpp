#include "model/sharded_parameters.hpp"

#include <gtest/gtest.h>

#include "model/model_catalog.hpp"
#include "model/parameters.hpp"

namespace kumihimo {
namespace {

constexpr std::int64_t h = 64, d = 16, f = 96, v = 256;

TransformerShape llama(std::int64_t kv_heads) {
  return {.layers = 3,
          .hidden = h,
          .heads = 8,
          .kv_heads = kv_heads,
          .head_dim = d,
          .ffn_hidden = f,
          .vocab = v};
}

TransformerShape gpt() {
  TransformerShape shape = llama(8);
  shape.activation = Activation::gelu;
  shape.norm = NormKind::layer_norm;
  shape.norm_bias = shape.qkv_bias = shape.output_bias = shape.mlp_bias = true;
  shape.positions = Positions::learned;
  shape.max_positions = 32;
  shape.tied_embeddings = true;
  return shape;
}

std::int64_t per_layer(const TransformerShape& shape) {
  return count_parameters(shape).per_layer();
}

TEST(LayerParameters, OneRankHoldsTheWholeLayer) {
  for (const TransformerShape& shape : {llama(8), llama(2), gpt()}) {
    EXPECT_EQ(layer_parameters(shape, 1), per_layer(shape));
  }
}

TEST(LayerParameters, RanksAddUpToTheLayerAndCopiesOfItsNorms) {
  for (const int ranks : {2, 4, 8}) {
    EXPECT_EQ(ranks * layer_parameters(llama(8), ranks) - (ranks - 1) * 2 * h, per_layer(llama(8)));
  }
}

TEST(LayerParameters, BiasesOfRowParallelProductsAreCopied) {
  // Two norms with bias, and the biases of the output and down projections.
  const std::int64_t copied = 2 * (h + h) + h + h;
  EXPECT_EQ(4 * layer_parameters(gpt(), 4) - 3 * copied, per_layer(gpt()));
}

TEST(LayerParameters, KeyValueHeadsAreCopiedWhenRanksExceedThem) {
  EXPECT_EQ(2 * layer_parameters(llama(2), 2) - 2 * h, per_layer(llama(2)));
  // Eight ranks hold one key and one value head each, of two of either kind.
  const std::int64_t copies = (8 - 2) * 2 * d * h;
  EXPECT_EQ(8 * layer_parameters(llama(2), 8) - 7 * 2 * h - copies, per_layer(llama(2)));

  TransformerShape biased = llama(2);
  biased.qkv_bias = true;
  EXPECT_EQ(8 * layer_parameters(biased, 8) - 7 * 2 * h - copies - (8 - 2) * 2 * d,
            per_layer(biased));
}

TEST(LayerParameters, NormsOfQueriesAndKeysAreCopied) {
  TransformerShape shape = llama(8);
  shape.qk_norm = true;
  EXPECT_EQ(4 * layer_parameters(shape, 4) - 3 * (2 * h + 2 * d), per_layer(shape));
}

TEST(EmbeddingParameters, RowsAreSplitAndPositionsCopied) {
  EXPECT_EQ(embedding_parameters(llama(8), v, 4), v / 4 * h);
  EXPECT_EQ(embedding_parameters(gpt(), v, 4), v / 4 * h + 32 * h);
  EXPECT_EQ(embedding_parameters(llama(8), v + 128, 4), (v + 128) / 4 * h);  // padding is stored
}

TEST(HeadParameters, ATiedHeadIsACopyUnlessTheTableIsThere) {
  EXPECT_EQ(head_parameters(llama(8), v, 4, false), h + v / 4 * h);
  EXPECT_EQ(head_parameters(gpt(), v, 4, false), 2 * h + v / 4 * h);
  EXPECT_EQ(head_parameters(gpt(), v, 4, true), 2 * h);
}

TEST(ShardedParameters, EightRanksHoldLlama2With70BillionWeights) {
  const Expected<TransformerShape> model = read_model("llama-2-70b");
  ASSERT_TRUE(model);
  const std::int64_t rank = 80 * layer_parameters(*model, 8) +
                            embedding_parameters(*model, 32000, 8) +
                            head_parameters(*model, 32000, 8, false);
  // Eight key/value heads on eight ranks: only the 2 x 80 + 1 norms are copied.
  EXPECT_EQ(8 * rank - 7 * (2 * 80 + 1) * 8192, 68'976'648'192);
}

}  // namespace
}  // namespace kumihimo
