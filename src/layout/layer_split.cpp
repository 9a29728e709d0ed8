#include "layout/layer_split.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/ceil_divide.hpp"
#include "model/sharded_parameters.hpp"

namespace kumihimo {

std::vector<int> even_layer_split(std::int64_t layers, int virtual_stages) {
  KUMIHIMO_CHECK(virtual_stages >= 1);
  KUMIHIMO_CHECK(layers >= 0 && layers < std::numeric_limits<int>::max());
  const int smaller = static_cast<int>(layers) / virtual_stages;
  const int larger_stages = static_cast<int>(layers) % virtual_stages;
  std::vector<int> split(static_cast<std::size_t>(virtual_stages), smaller);
  const auto first_larger = split.begin() + (virtual_stages - larger_stages) / 2;
  std::fill(first_larger, first_larger + larger_stages, smaller + 1);
  return split;
}

// Layers are alike and only counts matter, so placing them one by one on the lightest stage gives
// the least maximum: suppose a split were better. The heaviest stage of ours was the lightest when
// it got its last layer, so without that layer no stage of ours is lighter than it; the better
// split must give that stage fewer layers, hence some other stage more than we gave it, and that
// stage then weighs at least as much as our heaviest. The inner stages have equal loads and are
// kept as one even block.
std::vector<int> balanced_layer_split(std::int64_t layers, int stages, double embedding_as_layers,
                                      double head_as_layers) {
  KUMIHIMO_CHECK(std::isfinite(embedding_as_layers) && embedding_as_layers >= 0);
  KUMIHIMO_CHECK(std::isfinite(head_as_layers) && head_as_layers >= 0);
  if (stages <= 1) return even_layer_split(layers, stages);

  const int inner_stages = stages - 2;
  int first = 0, last = 0, inner = 0;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const double first_load = embedding_as_layers + first;
    const double last_load = head_as_layers + last;
    if (inner_stages > 0 && inner / inner_stages <= std::min(first_load, last_load)) {
      ++inner;
    } else if (first_load <= last_load) {
      ++first;
    } else {
      ++last;
    }
  }
  std::vector<int> split{first};
  if (inner_stages > 0) {
    const std::vector<int> even = even_layer_split(inner, inner_stages);
    split.insert(split.end(), even.begin(), even.end());
  }
  split.push_back(last);
  return split;
}

std::vector<int> framework_layer_split(std::int64_t layers, int stages) {
  if (stages <= 1 || layers < stages) return balanced_layer_split(layers, stages, 1, 1);
  const int pieces = static_cast<int>(layers) + 2;
  const int left_over = pieces % stages;
  std::vector<int> split(static_cast<std::size_t>(stages), pieces / stages);
  std::for_each(split.begin(), split.begin() + left_over, [](int& count) { ++count; });
  --split.front();
  --split.back();
  return split;
}

std::vector<int> default_layer_split(LayerBalance balance, const TransformerShape& model,
                                     int stages) {
  switch (balance) {
    case LayerBalance::layers: break;
    case LayerBalance::blocks: return framework_layer_split(model.layers, stages);
    case LayerBalance::parameters:
      return balanced_layer_split(
          model.layers, stages, 0,
          static_cast<double>(head_parameters(model, model.vocab, 1, false)) /
              static_cast<double>(layer_parameters(model, 1)));
  }
  return even_layer_split(model.layers, stages);
}

std::vector<int> stage_layers(const ParallelLayout& layout, const TrainingJob& job) {
  if (!layout.layer_split.empty()) return layout.layer_split;
  return even_layer_split(job.model.layers, layout.virtual_stages());
}

std::int64_t padded_vocab(const TrainingJob& job, int tensor_parallel) {
  const std::int64_t multiple = job.vocab_multiple * tensor_parallel;
  KUMIHIMO_CHECK(multiple >= 1);
  return ceil_divide(job.model.vocab, multiple) * multiple;
}

}  // namespace kumihimo
