#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/precision.hpp"
#include "base/suggest.hpp"
#include "layout/framework_defaults.hpp"
#include "layout/parallel_layout.hpp"
#include "model/kernels.hpp"

namespace kumihimo {

template <class Enum>
struct Named {
  Enum value;
  std::string_view name;
};

/// The one table of an enum's names, in the order of its values: flags, layout texts, run files and
/// reports all read it.
template <class Enum>
struct NameTable;

template <>
struct NameTable<Recompute> {
  static constexpr std::array<Named<Recompute>, 3> rows{
      {{Recompute::none, "none"}, {Recompute::selective, "selective"}, {Recompute::full, "full"}}};
};

template <>
struct NameTable<AttentionKernel> {
  static constexpr std::array<Named<AttentionKernel>, 5> rows{
      {{AttentionKernel::unfused, "unfused"},
       {AttentionKernel::fused_softmax, "fused-softmax"},
       {AttentionKernel::flash1, "flash1"},
       {AttentionKernel::flash2, "flash2"},
       {AttentionKernel::flash3, "flash3"}}};
};

template <>
struct NameTable<NormKernel> {
  static constexpr std::array<Named<NormKernel>, 2> rows{
      {{NormKernel::unfused, "unfused"}, {NormKernel::fused, "fused"}}};
};

template <>
struct NameTable<ScheduleKind> {
  static constexpr std::array<Named<ScheduleKind>, 4> rows{
      {{ScheduleKind::gpipe, "gpipe"},
       {ScheduleKind::one_forward_one_backward, "1f1b"},
       {ScheduleKind::interleaved, "interleaved"},
       {ScheduleKind::zb_h1, "zb-h1"}}};
};

template <>
struct NameTable<LayerBalance> {
  static constexpr std::array<Named<LayerBalance>, 3> rows{
      {{LayerBalance::layers, "layers"},
       {LayerBalance::blocks, "blocks"},
       {LayerBalance::parameters, "parameters"}}};
};

template <>
struct NameTable<Precision> {
  static constexpr std::array<Named<Precision>, 5> rows{
      {{Precision::fp32, to_string(Precision::fp32)},
       {Precision::tf32, to_string(Precision::tf32)},
       {Precision::fp16, to_string(Precision::fp16)},
       {Precision::bf16, to_string(Precision::bf16)},
       {Precision::fp8, to_string(Precision::fp8)}}};
};

constexpr std::string_view to_string(Recompute value) {
  return NameTable<Recompute>::rows[static_cast<std::size_t>(value)].name;
}
constexpr std::string_view to_string(AttentionKernel value) {
  return NameTable<AttentionKernel>::rows[static_cast<std::size_t>(value)].name;
}
constexpr std::string_view to_string(NormKernel value) {
  return NameTable<NormKernel>::rows[static_cast<std::size_t>(value)].name;
}
constexpr std::string_view to_string(ScheduleKind value) {
  return NameTable<ScheduleKind>::rows[static_cast<std::size_t>(value)].name;
}

constexpr std::string_view to_string(LayerBalance value) {
  return NameTable<LayerBalance>::rows[static_cast<std::size_t>(value)].name;
}

/// All names of an enum, in the order of its values: what a flag accepts.
template <class Enum>
std::vector<std::string> names_of() {
  std::vector<std::string> names;
  for (const auto& row : NameTable<Enum>::rows) names.emplace_back(row.name);
  return names;
}

/// The value of that exact name; otherwise an error at `where` with the nearest name.
template <class Enum>
Expected<Enum> parse_name(std::string_view name, std::string_view where) {
  const auto& rows = NameTable<Enum>::rows;
  const auto row = std::ranges::find(rows, name, &Named<Enum>::name);
  if (row != rows.end()) return row->value;
  return Error{std::string(where), "\"" + std::string(name) + "\" is unknown",
               suggest(name, names_of<Enum>())};
}

}  // namespace kumihimo
