#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.hpp"
#include "model/transformer.hpp"

namespace kumihimo {

/// What the fields of a TransformerShape are called where the user wrote them, so that a message
/// names the file's key ("n_head") or the flag ("--heads").
struct ShapeKeys {
  std::string_view layers = "layers";
  std::string_view hidden = "hidden";
  std::string_view heads = "heads";
  std::string_view kv_heads = "kv_heads";
  std::string_view head_dim = "head_dim";
  std::string_view ffn_hidden = "ffn_hidden";
  std::string_view vocab = "vocab";
  std::string_view max_positions = "max_positions";
  std::string_view norm_epsilon = "norm_epsilon";
  std::string_view rope_theta = "rope_theta";
};

// An order of magnitude or more beyond any model: a larger number is a slip of the hand.
inline constexpr std::int64_t max_layers = 10'000;
inline constexpr std::int64_t max_hidden = 1'048'576;
inline constexpr std::int64_t max_heads = 65'536;
inline constexpr std::int64_t max_head_dim = max_hidden;
inline constexpr std::int64_t max_ffn_hidden = 16'777'216;
inline constexpr std::int64_t max_vocab = 100'000'000;

/// The head_dim of a model that does not state one: hidden / heads, or 0, which validate explains,
/// where either is out of range or the quotient is not whole.
std::int64_t split_hidden(std::int64_t hidden, std::int64_t heads);

/// Every fault of `shape`: a number out of range, heads that kv_heads do not divide, an odd rotary
/// head_dim, more than 10^15 parameters. A head_dim of 0 means "hidden / heads, which is not
/// whole". A shape without faults can be counted (parameters, bytes) in 64 bits without overflow.
/// Faults stand at "where: key", or at the key alone when `where` is empty.
Errors validate(const TransformerShape& shape, std::string_view where, const ShapeKeys& keys = {});

}  // namespace kumihimo
