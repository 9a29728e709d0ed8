#pragma once

#include <cstdint>
#include <vector>

#include "layout/framework_defaults.hpp"
#include "layout/parallel_layout.hpp"

namespace kumihimo {

/// Transformer layers of each virtual stage, as even as possible: counts differ by one at most.
/// Where `layers` does not divide, the larger stages form one block in the middle, because the
/// first stage also holds the embedding and the last the head. The block leans to the front when it
/// cannot be centred: the head costs time, the embedding next to none.
/// 10 over 4: 2 3 3 2. 11 over 4: 3 3 3 2. 60 over 8: 7 7 8 8 8 8 7 7.
/// Requires virtual_stages >= 1 and layers >= 0; with fewer layers than stages some get none.
std::vector<int> even_layer_split(std::int64_t layers, int virtual_stages);

/// Transformer layers of each stage when the embedding weighs as much as `embedding_as_layers`
/// layers of the first stage and the head as `head_as_layers` of the last: the heaviest stage is as
/// light as any split can make it. Stages other than the first and last get at least one layer if
/// there are enough. With both weights zero it is even_layer_split.
/// 60 over 8 with weights 1 and 1: 6 8 8 8 8 8 8 6. 32 over 4 with weights 0 and 2: 8 9 9 6.
/// Requires finite weights >= 0.
std::vector<int> balanced_layer_split(std::int64_t layers, int stages, double embedding_as_layers,
                                      double head_as_layers);

/// Transformer layers of each stage when a framework deals out embedding, layers and head as equal
/// pieces and the first stages take what is left over: 60 over 4: 15 16 15 14. The heaviest stage
/// is that of balanced_layer_split with weights 1 and 1; early stages, which hold most
/// micro-batches, are heavier. Where there are fewer layers than stages it is that split itself.
std::vector<int> framework_layer_split(std::int64_t layers, int stages);

/// Transformer layers of each stage where a framework balances so: even_layer_split,
/// framework_layer_split, or balanced_layer_split with the head's parameters over those of a layer.
std::vector<int> default_layer_split(LayerBalance balance, const TransformerShape& model,
                                     int stages);

/// Layers of each virtual stage: the layout's own split, or else the even one.
std::vector<int> stage_layers(const ParallelLayout& layout, const TrainingJob& job);

/// Vocabulary rows after padding to a multiple of job.vocab_multiple x tensor_parallel, so that
/// every tensor rank holds equally many.
std::int64_t padded_vocab(const TrainingJob& job, int tensor_parallel);

}  // namespace kumihimo
