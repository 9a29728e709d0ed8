#include "engine/parameter_units.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "layout/layer_split.hpp"

namespace kumihimo {
namespace {

/// How a whole parameter is split over tensor-parallel ranks.
enum class Split { none, rows, cols };

/// Hugging Face's file names and shapes of one model family.
class FileNames {
 public:
  explicit FileNames(const TransformerShape& model)
      : gpt2_(model.norm == NormKind::layer_norm), model_(model) {}

  StoredSlice slice(const Parameter& p, std::int64_t whole_rows) const {
    StoredSlice slice{.name = p.name,
                      .whole_rows = whole_rows,
                      .whole_cols = p.whole_cols,
                      .first_row = p.first_row,
                      .first_col = p.first_col,
                      .rows = p.valid_rows,
                      .cols = p.cols};
    const bool vector = p.is_norm_weight || p.is_bias;
    if (vector) {
      slice = {.name = p.name,
               .whole_rows = p.whole_cols,
               .whole_cols = 0,
               .first_row = p.first_col,
               .rows = p.cols,
               .cols = 1};
    }
    if (gpt2_) rename(slice, vector);
    return slice;
  }

 private:
  /// GPT-2 stores queries, keys and values as one matrix, and every layer's matrices as [in, out].
  void rename(StoredSlice& slice, bool vector) const {
    const auto replace = [&slice](std::string_view from, std::string_view to) {
      const std::size_t at = slice.name.find(from);
      if (at == std::string::npos) return false;
      slice.name.replace(at, from.size(), to);
      return true;
    };
    replace("model.embed_tokens", "transformer.wte");
    replace("model.embed_positions", "transformer.wpe");
    replace("model.norm", "transformer.ln_f");
    if (!replace("model.layers", "transformer.h")) return;
    replace("input_layernorm", "ln_1");
    replace("post_attention_layernorm", "ln_2");
    replace("self_attn.o_proj", "attn.c_proj");
    replace("mlp.up_proj", "mlp.c_fc");
    replace("mlp.down_proj", "mlp.c_proj");

    const std::int64_t query = model_.heads * model_.head_dim;
    const std::int64_t key_value = model_.kv_heads * model_.head_dim;
    std::int64_t before = -1;
    if (replace("self_attn.q_proj", "attn.c_attn")) before = 0;
    if (replace("self_attn.k_proj", "attn.c_attn")) before = query;
    if (replace("self_attn.v_proj", "attn.c_attn")) before = query + key_value;
    if (before >= 0) {
      slice.first_row += before;
      slice.whole_rows = query + 2 * key_value;
    }
    if (vector) return;
    slice.transposed = true;
    std::swap(slice.whole_rows, slice.whole_cols);
    std::swap(slice.first_row, slice.first_col);
    std::swap(slice.rows, slice.cols);
  }

  bool gpt2_;
  const TransformerShape& model_;
};

/// Appends parameters to a unit, as this rank holds them.
class UnitBuilder {
 public:
  UnitBuilder(const TrainingOptions& options, const RankCoordinates& place, UnitKind kind,
              int virtual_stage)
      : names_(options.job.model),
        tensor_parallel_(options.layout.tensor_parallel),
        tensor_rank_(place.tensor),
        kv_heads_(options.job.model.kv_heads) {
    unit_.kind = kind;
    unit_.virtual_stage = virtual_stage;
  }

  ParameterUnit& unit() { return unit_; }

  /// A vector that every tensor-parallel rank holds.
  void replicated(std::string name, std::int64_t width, int index, bool is_norm_weight) {
    Parameter p = part(std::move(name), 1, width, index, Split::none);
    p.is_norm_weight = is_norm_weight;
    p.is_bias = !is_norm_weight;
    add(std::move(p), 1);
    unit_.replicated += width;
  }

  void matrix(std::string name, std::int64_t rows, std::int64_t cols, int index, Split split) {
    add(part(std::move(name), rows, cols, index, split), rows);
  }

  /// A bias of a column-parallel product: split as its rows are.
  void split_bias(std::string name, std::int64_t width, int index) {
    Parameter p = part(std::move(name), 1, width, index, Split::cols);
    p.is_bias = true;
    add(std::move(p), 1);
  }

  /// Rows (or a bias) of keys or values: where there are more ranks than heads, neighbours share a
  /// head.
  void key_value(std::string name, std::int64_t head_dim, std::int64_t cols, int index,
                 bool is_bias) {
    const std::int64_t whole = kv_heads_ * head_dim;
    const bool shared = tensor_parallel_ > kv_heads_;
    Parameter p;
    if (!shared) {
      p = is_bias ? part(std::move(name), 1, whole, index, Split::cols)
                  : part(std::move(name), whole, cols, index, Split::rows);
    } else {
      const std::int64_t head = tensor_rank_ * kv_heads_ / tensor_parallel_;
      p = is_bias ? part(std::move(name), 1, head_dim, index, Split::none)
                  : part(std::move(name), head_dim, cols, index, Split::none);
      (is_bias ? p.first_col : p.first_row) = head * head_dim;
      if (is_bias) p.whole_cols = whole;
      p.counted = tensor_rank_ % (tensor_parallel_ / kv_heads_) == 0;
    }
    p.is_bias = is_bias;
    std::int64_t& offset = is_bias ? unit_.kv_biases_offset : unit_.kv_weights_offset;
    std::int64_t& elements = is_bias ? unit_.kv_biases : unit_.kv_weights;
    if (elements == 0) offset = unit_.elements;
    elements += p.elements();
    add(std::move(p), is_bias ? 1 : whole);
  }

  /// Rows of a table of the vocabulary, padded to `padded` rows.
  void vocabulary(std::string name, std::int64_t vocab, std::int64_t padded, std::int64_t cols,
                  int index) {
    Parameter p = part(std::move(name), padded, cols, index, Split::rows);
    p.valid_rows = std::clamp<std::int64_t>(vocab - p.first_row, 0, p.rows);
    p.counted = !unit_.tied_copy;
    add(std::move(p), vocab);
  }

 private:
  Parameter part(std::string name, std::int64_t rows, std::int64_t cols, int index, Split split) {
    Parameter p{
        .name = std::move(name), .rows = rows, .cols = cols, .whole_cols = cols, .index = index};
    if (split == Split::rows) {
      p.rows /= tensor_parallel_;
      p.first_row = tensor_rank_ * p.rows;
    } else if (split == Split::cols) {
      p.cols /= tensor_parallel_;
      p.first_col = tensor_rank_ * p.cols;
    } else {
      p.counted = tensor_rank_ == 0;
    }
    p.valid_rows = p.rows;
    return p;
  }

  void add(Parameter p, std::int64_t whole_rows) {
    p.offset = unit_.elements;
    p.stored = names_.slice(p, whole_rows);
    unit_.elements += p.elements();
    unit_.parameters.push_back(std::move(p));
  }

  FileNames names_;
  int tensor_parallel_;
  int tensor_rank_;
  std::int64_t kv_heads_;
  ParameterUnit unit_;
};

/// Numbers parameters in the model's own order, in which the first is the embedding.
struct LayerIndices {
  int attention_norm, attention_norm_bias, q, k, v, q_bias, k_bias, v_bias, output, output_bias;
  int mlp_norm, mlp_norm_bias, gate, gate_bias, up, up_bias, down, down_bias;
  int end;
};

LayerIndices layer_indices(const TransformerShape& model, int first) {
  int next = first;
  const auto take = [&next](bool present) { return present ? next++ : -1; };
  LayerIndices i{};
  i.attention_norm = take(true);
  i.attention_norm_bias = take(model.norm_bias);
  i.q = take(true);
  i.k = take(true);
  i.v = take(true);
  i.q_bias = take(model.qkv_bias);
  i.k_bias = take(model.qkv_bias);
  i.v_bias = take(model.qkv_bias);
  i.output = take(true);
  i.output_bias = take(model.output_bias);
  i.mlp_norm = take(true);
  i.mlp_norm_bias = take(model.norm_bias);
  const bool gated = model.activation == Activation::swiglu;
  i.gate = take(gated);
  i.gate_bias = take(gated && model.mlp_bias);
  i.up = take(true);
  i.up_bias = take(model.mlp_bias);
  i.down = take(true);
  i.down_bias = take(model.mlp_bias);
  i.end = next;
  return i;
}

ParameterUnit layer_unit(const TrainingOptions& options, const RankCoordinates& place, int layer,
                         int virtual_stage, const LayerIndices& i) {
  const TransformerShape& model = options.job.model;
  const std::string prefix = fmt::format("model.layers.{}.", layer);
  const std::int64_t hidden = model.hidden, query = model.heads * model.head_dim;
  const bool gated = model.activation == Activation::swiglu;
  UnitBuilder build(options, place, UnitKind::layer, virtual_stage);
  build.unit().layer = layer;

  build.replicated(prefix + "input_layernorm.weight", hidden, i.attention_norm, true);
  if (model.norm_bias) {
    build.replicated(prefix + "input_layernorm.bias", hidden, i.attention_norm_bias, false);
  }
  build.replicated(prefix + "post_attention_layernorm.weight", hidden, i.mlp_norm, true);
  if (model.norm_bias) {
    build.replicated(prefix + "post_attention_layernorm.bias", hidden, i.mlp_norm_bias, false);
  }
  if (model.output_bias) {
    build.replicated(prefix + "self_attn.o_proj.bias", hidden, i.output_bias, false);
  }
  if (model.mlp_bias) {
    build.replicated(prefix + "mlp.down_proj.bias", hidden, i.down_bias, false);
  }

  build.matrix(prefix + "self_attn.q_proj.weight", query, hidden, i.q, Split::rows);
  build.key_value(prefix + "self_attn.k_proj.weight", model.head_dim, hidden, i.k, false);
  build.key_value(prefix + "self_attn.v_proj.weight", model.head_dim, hidden, i.v, false);
  if (model.qkv_bias) {
    build.split_bias(prefix + "self_attn.q_proj.bias", query, i.q_bias);
    build.key_value(prefix + "self_attn.k_proj.bias", model.head_dim, 0, i.k_bias, true);
    build.key_value(prefix + "self_attn.v_proj.bias", model.head_dim, 0, i.v_bias, true);
  }
  build.matrix(prefix + "self_attn.o_proj.weight", hidden, query, i.output, Split::cols);
  if (gated) {
    build.matrix(prefix + "mlp.gate_proj.weight", model.ffn_hidden, hidden, i.gate, Split::rows);
  }
  build.matrix(prefix + "mlp.up_proj.weight", model.ffn_hidden, hidden, i.up, Split::rows);
  if (model.mlp_bias) {
    if (gated) build.split_bias(prefix + "mlp.gate_proj.bias", model.ffn_hidden, i.gate_bias);
    build.split_bias(prefix + "mlp.up_proj.bias", model.ffn_hidden, i.up_bias);
  }
  build.matrix(prefix + "mlp.down_proj.weight", hidden, model.ffn_hidden, i.down, Split::cols);
  return std::move(build.unit());
}

std::uint64_t splitmix64(std::uint64_t state) {
  state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9u;
  state = (state ^ (state >> 27)) * 0x94D049BB133111EBu;
  return state ^ (state >> 31);
}

const Parameter* find(const ParameterUnit& unit, std::string_view ending) {
  const auto found = std::ranges::find_if(
      unit.parameters, [&](const Parameter& p) { return p.name.ends_with(ending); });
  return found == unit.parameters.end() ? nullptr : &*found;
}

Matrix view(const Matrix& flat, const Parameter& p, std::int64_t rows) {
  return reshaped(cols_of(flat, p.offset, rows * p.cols), rows, p.cols);
}

}  // namespace

std::vector<ParameterUnit> parameter_units(const TrainingOptions& options,
                                           const RankCoordinates& place) {
  const TransformerShape& model = options.job.model;
  const ParallelLayout& layout = options.layout;
  const std::vector<int> split = stage_layers(layout, options.job);
  const std::int64_t padded = padded_vocab(options.job, layout.tensor_parallel);
  const int last_stage = layout.virtual_stages() - 1;
  const auto is_mine = [&](int stage) {
    return stage % layout.pipeline_parallel == place.pipeline;
  };

  std::vector<ParameterUnit> units;
  int index = 0;
  const int table_index = index++;
  const int positions_index = model.positions == Positions::learned ? index++ : -1;
  const auto add_table = [&](int stage, UnitKind kind, std::string name, int table, bool copy) {
    UnitBuilder build(options, place, kind, stage);
    build.unit().tied_copy = copy;
    build.vocabulary(std::move(name), model.vocab, padded, model.hidden, table);
    units.push_back(std::move(build.unit()));
  };

  if (is_mine(0)) {
    add_table(0, UnitKind::table, "model.embed_tokens.weight", table_index, false);
    if (positions_index >= 0) {
      UnitBuilder build(options, place, UnitKind::positions, 0);
      build.matrix("model.embed_positions.weight", model.max_positions, model.hidden,
                   positions_index, Split::none);
      build.unit().replicated = build.unit().elements;
      units.push_back(std::move(build.unit()));
    }
  }
  int layer = 0;
  for (int stage = 0; stage <= last_stage; ++stage) {
    for (int end = layer + split[static_cast<std::size_t>(stage)]; layer < end; ++layer) {
      const LayerIndices indices = layer_indices(model, index);
      index = indices.end;
      if (is_mine(stage)) units.push_back(layer_unit(options, place, layer, stage, indices));
    }
  }
  if (is_mine(last_stage)) {
    UnitBuilder build(options, place, UnitKind::final_norm, last_stage);
    build.replicated("model.norm.weight", model.hidden, index, true);
    if (model.norm_bias) build.replicated("model.norm.bias", model.hidden, index + 1, false);
    units.push_back(std::move(build.unit()));
    const int head_index = index + (model.norm_bias ? 2 : 1);
    if (!model.tied_embeddings) {
      add_table(last_stage, UnitKind::head, "lm_head.weight", head_index, false);
    } else if (!is_mine(0)) {
      add_table(last_stage, UnitKind::head, "model.embed_tokens.weight", table_index, true);
    }
  }
  return units;
}

std::vector<ElementRange> ParameterUnit::gradients_not_products(std::int64_t count) const {
  std::vector<ElementRange> ranges;
  std::int64_t kept_from = 0;
  const auto keep_until = [&](std::int64_t end) {
    if (end > kept_from) ranges.push_back({kept_from, end - kept_from});
  };
  for (const Parameter& parameter : parameters) {
    if (!gradient_is_product(parameter)) continue;
    keep_until(parameter.offset);
    kept_from = parameter.offset + parameter.elements();
  }
  keep_until(count);
  return ranges;
}

void initial_values(const Parameter& parameter, std::uint64_t seed, float* values) {
  if (parameter.is_norm_weight || parameter.is_bias) {
    std::fill_n(values, parameter.elements(), parameter.is_norm_weight ? 1.0f : 0.0f);
    return;
  }
  constexpr std::uint64_t golden = 0x9E3779B97F4A7C15u;
  const float width = static_cast<float>(0.02 * std::sqrt(3.0));
  const std::uint64_t start = seed * 1000003u + static_cast<std::uint64_t>(parameter.index) * 7919u;
  for (std::int64_t row = 0; row < parameter.rows; ++row) {
    float* out = values + row * parameter.cols;
    if (row >= parameter.valid_rows) {
      std::fill_n(out, parameter.cols, 0.0f);
      continue;
    }
    std::uint64_t number = static_cast<std::uint64_t>(
        (parameter.first_row + row) * parameter.whole_cols + parameter.first_col);
    for (std::int64_t col = 0; col < parameter.cols; ++col) {
      const std::uint64_t bits = splitmix64(start + ++number * golden) >> 40;
      out[col] = (static_cast<float>(bits) * 0x1p-23f - 1.0f) * width;
    }
  }
}

LayerParameters layer_parameters_in(const ParameterUnit& unit, const Matrix& flat) {
  // Pieces that one product reads together stand one below the other in the unit.
  const auto piece = [&](std::string_view ending, std::int64_t rows = 0) {
    const Parameter* p = find(unit, ending);
    if (p == nullptr) return Matrix{};
    return view(flat, *p, rows > 0 ? rows : p->rows);
  };
  const auto rows = [&](std::string_view ending) {
    const Parameter* p = find(unit, ending);
    return p == nullptr ? 0 : p->rows;
  };
  const auto bias = [&](std::initializer_list<std::string_view> endings) {
    std::int64_t width = 0;
    for (const std::string_view ending : endings) {
      const Parameter* p = find(unit, ending);
      if (p == nullptr) return Matrix{};
      width += p->cols;
    }
    return cols_of(flat, find(unit, *endings.begin())->offset, width);
  };
  const bool gated = find(unit, "gate_proj.weight") != nullptr;
  return {
      .attention_norm = piece("input_layernorm.weight"),
      .attention_norm_bias = piece("input_layernorm.bias"),
      .qkv = piece("q_proj.weight", rows("q_proj.weight") + 2 * rows("k_proj.weight")),
      .qkv_bias = bias({"q_proj.bias", "k_proj.bias", "v_proj.bias"}),
      .output = piece("o_proj.weight"),
      .output_bias = piece("o_proj.bias"),
      .mlp_norm = piece("post_attention_layernorm.weight"),
      .mlp_norm_bias = piece("post_attention_layernorm.bias"),
      .up =
          gated ? piece("gate_proj.weight", 2 * rows("gate_proj.weight")) : piece("up_proj.weight"),
      .up_bias = gated ? bias({"gate_proj.bias", "up_proj.bias"}) : piece("up_proj.bias"),
      .down = piece("down_proj.weight"),
      .down_bias = piece("down_proj.bias"),
  };
}

NormParameters norm_parameters_in(const ParameterUnit& unit, const Matrix& flat) {
  const Parameter& weight = unit.parameters.front();
  NormParameters norm{view(flat, weight, 1), {}};
  if (unit.parameters.size() > 1) norm.bias = view(flat, unit.parameters[1], 1);
  return norm;
}

Matrix matrix_in(const ParameterUnit& unit, const Matrix& flat) {
  return view(flat, unit.parameters.front(), unit.parameters.front().rows);
}

}  // namespace kumihimo
