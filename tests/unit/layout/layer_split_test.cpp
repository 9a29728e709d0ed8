#include "layout/layer_split.hpp"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <numeric>

#include "example.hpp"

namespace kumihimo {
namespace {

using Split = std::vector<int>;

TEST(EvenLayerSplit, DividesEvenly) {
  EXPECT_EQ(even_layer_split(40, 4), (Split{10, 10, 10, 10}));
  EXPECT_EQ(even_layer_split(3, 1), (Split{3}));
}

TEST(EvenLayerSplit, PutsLargerStagesInTheMiddle) {
  EXPECT_EQ(even_layer_split(60, 8), (Split{7, 7, 8, 8, 8, 8, 7, 7}));  // 60 = 8 * 7 + 4
  EXPECT_EQ(even_layer_split(60, 16),                                   // 60 = 16 * 3 + 12
            (Split{3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 3, 3}));
  EXPECT_EQ(even_layer_split(9, 4), (Split{2, 3, 2, 2}));
  EXPECT_EQ(even_layer_split(10, 4), (Split{2, 3, 3, 2}));
  EXPECT_EQ(even_layer_split(11, 4), (Split{3, 3, 3, 2}));  // the head makes the last one heavy
}

TEST(EvenLayerSplit, SumsAndDiffersByOneAtMost) {
  for (int layers = 0; layers <= 130; ++layers) {
    for (int stages = 1; stages <= 40; ++stages) {
      const Split split = even_layer_split(layers, stages);
      ASSERT_EQ(std::ssize(split), stages);
      ASSERT_EQ(std::accumulate(split.begin(), split.end(), 0), layers);
      const auto [smallest, largest] = std::ranges::minmax_element(split);
      ASSERT_LE(*largest - *smallest, 1);
    }
  }
}

TEST(EvenLayerSplit, ChecksItsArguments) {
  EXPECT_THROW(even_layer_split(4, 0), InvariantError);
  EXPECT_THROW(even_layer_split(-1, 2), InvariantError);
  EXPECT_THROW(even_layer_split(std::numeric_limits<std::int64_t>::max(), 2), InvariantError);
}

TEST(BalancedLayerSplit, CountsEmbeddingAndHeadAsLayers) {
  EXPECT_EQ(balanced_layer_split(60, 8, 1, 1), (Split{6, 8, 8, 8, 8, 8, 8, 6}));
  EXPECT_EQ(balanced_layer_split(62, 8, 1, 1), (Split{7, 8, 8, 8, 8, 8, 8, 7}));
  EXPECT_EQ(balanced_layer_split(32, 4, 0, 2), (Split{8, 9, 9, 6}));
  EXPECT_EQ(balanced_layer_split(10, 2, 0, 4), (Split{7, 3}));
  EXPECT_EQ(balanced_layer_split(10, 1, 1, 1), (Split{10}));
  EXPECT_EQ(balanced_layer_split(4, 4, 3, 3), (Split{0, 2, 2, 0}));
}

TEST(BalancedLayerSplit, WithoutWeightsIsTheEvenSplit) {
  for (int layers = 0; layers <= 70; ++layers) {
    for (int stages = 1; stages <= 20; ++stages) {
      ASSERT_EQ(balanced_layer_split(layers, stages, 0, 0), even_layer_split(layers, stages))
          << layers << " over " << stages;
    }
  }
}

/// Lightest possible heaviest stage, by trying every number of layers on the first and last stage.
double least_maximum(int layers, int stages, double embedding, double head) {
  double least = std::numeric_limits<double>::infinity();
  for (int first = 0; first <= layers; ++first) {
    for (int last = 0; first + last <= layers; ++last) {
      const int inner = layers - first - last;
      if (stages == 2 && inner > 0) continue;
      const double inner_load = stages == 2 ? 0.0 : std::ceil(inner / (stages - 2.0));
      least = std::min(least, std::max({embedding + first, head + last, inner_load}));
    }
  }
  return least;
}

TEST(BalancedLayerSplit, NoSplitHasALighterHeaviestStage) {
  for (int layers = 2; layers <= 40; layers += 3) {
    for (int stages = 2; stages <= 9; ++stages) {
      for (const double embedding : {0.0, 0.3, 1.0, 2.5, 7.0}) {
        for (const double head : {0.0, 0.7, 1.0, 3.2, 9.0}) {
          const Split split = balanced_layer_split(layers, stages, embedding, head);
          ASSERT_EQ(std::accumulate(split.begin(), split.end(), 0), layers);
          std::vector<double> loads(split.begin(), split.end());
          loads.front() += embedding;
          loads.back() += head;
          ASSERT_DOUBLE_EQ(std::ranges::max(loads), least_maximum(layers, stages, embedding, head))
              << layers << " over " << stages << " with " << embedding << " and " << head;
        }
      }
    }
  }
}

TEST(BalancedLayerSplit, ChecksItsWeights) {
  EXPECT_THROW(balanced_layer_split(4, 2, -1, 0), InvariantError);
  EXPECT_THROW(balanced_layer_split(4, 2, 0, std::nan("")), InvariantError);
}

TEST(FrameworkLayerSplit, DealsEmbeddingAndHeadOutAsLayersLeftOversToTheFront) {
  EXPECT_EQ(framework_layer_split(60, 4), (Split{15, 16, 15, 14}));  // 16 16 15 15 pieces
  EXPECT_EQ(framework_layer_split(80, 8), (Split{10, 11, 10, 10, 10, 10, 10, 9}));
  EXPECT_EQ(framework_layer_split(40, 2), (Split{20, 20}));
  EXPECT_EQ(framework_layer_split(40, 1), (Split{40}));
}

TEST(DefaultLayerSplit, GoesByWhatTheFrameworkBalances) {
  TransformerShape model{.layers = 32,
                         .hidden = 4096,
                         .heads = 32,
                         .kv_heads = 32,
                         .head_dim = 128,
                         .ffn_hidden = 14336,
                         .vocab = 131072};
  EXPECT_EQ(default_layer_split(LayerBalance::layers, model, 4), (Split{8, 8, 8, 8}));
  EXPECT_EQ(default_layer_split(LayerBalance::blocks, model, 4), (Split{8, 9, 8, 7}));
  // The head has 2.2 layers' worth of parameters.
  EXPECT_EQ(default_layer_split(LayerBalance::parameters, model, 4), (Split{8, 9, 9, 6}));
  model.tied_embeddings = true;  // its product takes as long
  EXPECT_EQ(default_layer_split(LayerBalance::parameters, model, 4), (Split{8, 9, 9, 6}));
}

TEST(FrameworkLayerSplit, ItsHeaviestStageIsAsLightAsAnySplits) {
  for (int layers = 2; layers <= 60; ++layers) {
    for (int stages = 2; stages <= layers; ++stages) {
      const auto heaviest = [](Split split) {
        ++split.front();
        ++split.back();
        return std::ranges::max(split);
      };
      const Split split = framework_layer_split(layers, stages);
      ASSERT_EQ(std::accumulate(split.begin(), split.end(), 0), layers);
      ASSERT_GE(std::ranges::min(split), 0);
      ASSERT_EQ(heaviest(split), heaviest(balanced_layer_split(layers, stages, 1, 1)))
          << layers << " over " << stages;
    }
  }
}

TEST(StageLayers, PrefersTheLayoutsOwnSplit) {
  const TrainingJob job = testing::llama_13b();  // 40 layers
  ParallelLayout layout;
  layout.pipeline_parallel = 2;
  EXPECT_EQ(stage_layers(layout, job), (Split{20, 20}));
  layout.layer_split = {21, 19};
  EXPECT_EQ(stage_layers(layout, job), (Split{21, 19}));
  layout.layer_split.clear();
  layout.schedule = ScheduleKind::interleaved;
  layout.virtual_stages_per_rank = 4;
  EXPECT_EQ(stage_layers(layout, job), (Split(8, 5)));
}

TEST(PaddedVocab, IsAMultipleOfTensorRanks) {
  TrainingJob job = testing::llama_13b();
  EXPECT_EQ(padded_vocab(job, 8), 32000);  // 8 * 4000
  job.model.vocab = 50257;
  EXPECT_EQ(padded_vocab(job, 1), 50257);
  EXPECT_EQ(padded_vocab(job, 8), 50264);  // 8 * 6283
  job.vocab_multiple = 128;
  EXPECT_EQ(padded_vocab(job, 1), 50304);  // 128 * 393
  EXPECT_EQ(padded_vocab(job, 8), 51200);  // 1024 * 50
}

}  // namespace
}  // namespace kumihimo
