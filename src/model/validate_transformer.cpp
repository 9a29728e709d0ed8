#include "model/validate_transformer.hpp"

#include <fmt/format.h>

#include "model/parameters.hpp"

namespace kumihimo {
namespace {

constexpr std::int64_t max_positions = 1'000'000'000;
constexpr double max_parameters = 1e15;

class Faults {
 public:
  explicit Faults(std::string_view where) : where_(where) {}

  void add(std::string_view key, std::string what, std::string fix) {
    errors_.push_back({where_.empty() ? std::string(key) : fmt::format("{}: {}", where_, key),
                       std::move(what), std::move(fix)});
  }

  /// True if `value` is in [1, most].
  bool in_range(std::string_view key, std::int64_t value, std::int64_t most) {
    if (value >= 1 && value <= most) return true;
    add(key, fmt::format("is {}", value), fmt::format("give a whole number from 1 to {}", most));
    return false;
  }

  Errors take() { return std::move(errors_); }
  bool none() const { return errors_.empty(); }

 private:
  std::string_view where_;
  Errors errors_;
};

}  // namespace

std::int64_t split_hidden(std::int64_t hidden, std::int64_t heads) {
  if (hidden < 1 || hidden > max_hidden || heads < 1) return 0;
  return hidden % heads == 0 ? hidden / heads : 0;
}

Errors validate(const TransformerShape& shape, std::string_view where, const ShapeKeys& keys) {
  Faults faults(where);
  faults.in_range(keys.layers, shape.layers, max_layers);
  faults.in_range(keys.ffn_hidden, shape.ffn_hidden, max_ffn_hidden);
  faults.in_range(keys.vocab, shape.vocab, max_vocab);
  faults.in_range(keys.max_positions, shape.max_positions, max_positions);
  const bool hidden_good = faults.in_range(keys.hidden, shape.hidden, max_hidden);
  const bool heads_good = faults.in_range(keys.heads, shape.heads, max_heads);
  const bool kv_heads_good = shape.kv_heads == shape.heads
                                 ? heads_good
                                 : faults.in_range(keys.kv_heads, shape.kv_heads, max_heads);

  if (heads_good && kv_heads_good && shape.heads % shape.kv_heads != 0)
    faults.add(
        keys.kv_heads,
        fmt::format("is {}, which does not divide {} {}", shape.kv_heads, keys.heads, shape.heads),
        fmt::format("give a divisor of {}", shape.heads));

  const bool head_dim_missing = shape.head_dim == 0;
  const bool hidden_splits = hidden_good && heads_good && shape.hidden % shape.heads == 0;
  if (head_dim_missing && hidden_good && heads_good && !hidden_splits) {
    faults.add(
        keys.heads,
        fmt::format("is {}, which does not divide {} {}", shape.heads, keys.hidden, shape.hidden),
        fmt::format("give a divisor of {}, or state {}", shape.hidden, keys.head_dim));
  } else if (!head_dim_missing || hidden_splits) {
    const bool good = faults.in_range(keys.head_dim, shape.head_dim, max_head_dim);
    if (good && shape.positions == Positions::rotary && shape.head_dim % 2 != 0)
      faults.add(keys.head_dim, fmt::format("gives heads of {} elements", shape.head_dim),
                 "rotary positions turn pairs of elements: make their number even");
  }

  // Written so that NaN fails.
  if (!(shape.norm_epsilon > 0 && shape.norm_epsilon < 1))
    faults.add(keys.norm_epsilon, fmt::format("is {}", shape.norm_epsilon),
               "give a number between 0 and 1, such as 1e-5");
  if (!(shape.rope_theta > 0 && shape.rope_theta <= 1e15))
    faults.add(keys.rope_theta, fmt::format("is {}", shape.rope_theta),
               "give a positive number, such as 10000");

  if (faults.none()) {
    const ParameterCount count = count_parameters(shape);
    const double total =
        static_cast<double>(shape.layers) * static_cast<double>(count.per_layer()) +
        static_cast<double>(count.total(0));
    if (total > max_parameters)
      faults.add(keys.layers,
                 fmt::format("of {} with {} {} and {} {} make {:.3g} parameters", shape.layers,
                             keys.hidden, shape.hidden, keys.ffn_hidden, shape.ffn_hidden, total),
                 "at most 1e15 can be planned: check the three numbers");
  }
  return faults.take();
}

}  // namespace kumihimo
