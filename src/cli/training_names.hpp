#pragma once

#include <algorithm>
#include <array>
#include <string_view>

#include "cli/training_request.hpp"
#include "layout/names.hpp"

namespace kumihimo {

// The names of the trainer's choices, for flags and JSON.

template <>
struct NameTable<RankKind> {
  static constexpr std::array<Named<RankKind>, 4> rows{{{RankKind::threads, "threads"},
                                                        {RankKind::mpi, "mpi"},
                                                        {RankKind::tcp, "tcp"},
                                                        {RankKind::emulated, "emulated"}}};
};

template <>
struct NameTable<Backend> {
  static constexpr std::array<Named<Backend>, 3> rows{
      {{Backend::cpu, "cpu"}, {Backend::cuda, "cuda"}, {Backend::reference, "reference"}}};
};

template <>
struct NameTable<OptimizerKind> {
  static constexpr std::array<Named<OptimizerKind>, 2> rows{
      {{OptimizerKind::adamw, "adamw"}, {OptimizerKind::sgd, "sgd"}}};
};

template <>
struct NameTable<LearningRateShape> {
  static constexpr std::array<Named<LearningRateShape>, 3> rows{
      {{LearningRateShape::constant, "constant"},
       {LearningRateShape::cosine, "cosine"},
       {LearningRateShape::wsd, "wsd"}}};
};

template <>
struct NameTable<Fp8Scaling> {
  static constexpr std::array<Named<Fp8Scaling>, 2> rows{
      {{Fp8Scaling::delayed, "delayed"}, {Fp8Scaling::current, "current"}}};
};

template <class Enum>
std::string_view name_of(Enum value) {
  return std::ranges::find(NameTable<Enum>::rows, value, &Named<Enum>::value)->name;
}

}  // namespace kumihimo
