#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/training_options.hpp"
#include "layout/rank_mapping.hpp"
#include "tensor/device_queue.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo {

/// Where a parameter stands in the file that Hugging Face's transformers reads: `rows` x `cols`
/// elements of the tensor `name` (of whole_rows x whole_cols; whole_cols 0 means one dimension)
/// from first_row, first_col on. `transposed`: the file holds [in, out] (GPT-2's Conv1D), rows and
/// columns here being those of the file.
struct StoredSlice {
  std::string name;
  std::int64_t whole_rows = 0;
  std::int64_t whole_cols = 0;
  std::int64_t first_row = 0;
  std::int64_t first_col = 0;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  bool transposed = false;
};

/// One rank's part of a named parameter: `rows` x `cols` at `offset` of its unit.
struct Parameter {
  std::string name;  ///< of the whole parameter, in Hugging Face's Llama spelling
  std::int64_t offset = 0;
  std::int64_t rows = 1;
  std::int64_t cols = 0;
  std::int64_t whole_cols = 0;  ///< of the whole parameter [whole_rows, whole_cols]
  std::int64_t first_row = 0;   ///< of this part in the whole
  std::int64_t first_col = 0;
  std::int64_t valid_rows = 1;  ///< the rest pads the vocabulary: zero for ever
  int index = 0;  ///< place of the whole parameter in the model: seeds its first values
  bool is_norm_weight = false;  ///< starts as ones
  bool is_bias = false;         ///< starts as zeros
  bool counted = true;  ///< this rank stands for all that hold the same elements: norm, files
  StoredSlice stored;

  std::int64_t elements() const { return rows * cols; }
  bool decays() const { return !is_norm_weight && !is_bias; }
};

enum class UnitKind : std::uint8_t { table, positions, layer, final_norm, head };

/// Parameters that are gathered, reduced and sharded together: a transformer layer, the embedding
/// table, the position table, the final norm, the head. One flat piece of memory each, in which
/// what all tensor-parallel ranks hold (norms, biases of row-parallel products) comes first.
struct ParameterUnit {
  UnitKind kind = UnitKind::layer;
  int layer = 0;          ///< of the whole model, for UnitKind::layer
  int virtual_stage = 0;  ///< that computes it
  std::int64_t elements = 0;
  /// Leading elements that every tensor-parallel rank holds. Under sequence parallelism each has
  /// the gradient of its own tokens only: to be summed over the tensor group.
  std::int64_t replicated = 0;
  /// Weights and biases of keys and values. Where there are more tensor-parallel ranks than
  /// key/value heads, neighbours hold the same head, each with the gradient from its own queries.
  std::int64_t kv_weights_offset = 0, kv_weights = 0;
  std::int64_t kv_biases_offset = 0, kv_biases = 0;
  bool tied_copy = false;  ///< the last stage's copy of the first one's table
  std::vector<Parameter> parameters;

  /// Whether nothing but one product a micro-batch gives the parameter's gradient, so that the
  /// first of a step may overwrite what lies there. Look-ups add to a table's here and there.
  bool gradient_is_product(const Parameter& parameter) const {
    return (kind == UnitKind::layer || kind == UnitKind::head) && parameter.decays();
  }
  /// Of the first `count` elements of flat gradients, those that no such product overwrites.
  std::vector<ElementRange> gradients_not_products(std::int64_t count) const;
};

/// The units of this rank, by virtual stage and within it in forward order.
std::vector<ParameterUnit> parameter_units(const TrainingOptions& options,
                                           const RankCoordinates& place);

/// Fills the values with which training starts, in fp32: norms 1, biases 0, matrices uniform with
/// standard deviation 0.02. Element (r, c) of the whole parameter is a function of (seed, index of
/// the parameter, r, c) alone, so that every layout starts from the same state: output number
/// r x cols + c of splitmix64 (Steele et al. 2014) seeded with seed x 1000003 + index x 7919, of
/// which the top 24 bits make the number.
void initial_values(const Parameter& parameter, std::uint64_t seed, float* values);

// --- The same memory, by the names that layers use

/// Weights, or gradients, of a layer: views into a unit's flat memory; biases may be empty.
struct LayerParameters {
  Matrix attention_norm, attention_norm_bias;
  Matrix qkv, qkv_bias;        ///< [(heads + 2 kv_heads) x head_dim, hidden]
  Matrix output, output_bias;  ///< [hidden, heads x head_dim]
  Matrix mlp_norm, mlp_norm_bias;
  Matrix up, up_bias;      ///< [2 ffn, hidden], gate above up; or [ffn, hidden]
  Matrix down, down_bias;  ///< [hidden, ffn]
};
LayerParameters layer_parameters_in(const ParameterUnit& unit, const Matrix& flat);

/// Gradients of a layer, fp32. `products`: whether those of matrices are added to, or hold nothing
/// yet and are overwritten; norms' and biases' are always added to.
struct LayerGradients : LayerParameters {
  Accumulate products = Accumulate::yes;
};

struct NormParameters {
  Matrix weight, bias;
};
NormParameters norm_parameters_in(const ParameterUnit& unit, const Matrix& flat);

/// The only matrix of a table, position or head unit.
Matrix matrix_in(const ParameterUnit& unit, const Matrix& flat);

}  // namespace kumihimo
