#include "engine/tensor_files.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <span>

#include "base/ceil_divide.hpp"
#include "tensor/float_formats.hpp"

namespace kumihimo {
namespace {

/// IEEE 754 binary16: 5 bits of exponent, 10 of mantissa. Exact.
float from_fp16(std::uint16_t code) {
  const int exponent = (code >> 10) & 0x1f;
  const int mantissa = code & 0x3ff;
  float magnitude = 0;
  if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(mantissa), -24);
  } else if (exponent < 31) {
    magnitude = std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
  } else {
    magnitude = std::bit_cast<float>(0x7f80'0000u | static_cast<std::uint32_t>(mantissa) << 13);
  }
  return (code & 0x8000) != 0 ? -magnitude : magnitude;
}

/// Moves consecutive elements between the file and every `step`-th of `values`.
template <class Stored, class Convert>
void write_run(SliceFile& file, std::int64_t offset, const StoredRun& run, const float* values,
               Convert convert) {
  std::vector<Stored> stored(static_cast<std::size_t>(run.count));
  const float* next = values + run.first;
  for (Stored& element : stored) {
    element = convert(*next);
    next += run.step;
  }
  const auto bytes = static_cast<std::int64_t>(sizeof(Stored));
  file.write(offset + run.in_file * bytes, stored.data(), run.count * bytes);
}

template <class Stored, class Convert>
void read_run(const SliceFile& file, std::int64_t offset, const StoredRun& run, float* values,
              Convert convert) {
  std::vector<Stored> stored(static_cast<std::size_t>(run.count));
  const auto bytes = static_cast<std::int64_t>(sizeof(Stored));
  file.read(offset + run.in_file * bytes, stored.data(), run.count * bytes);
  float* next = values + run.first;
  for (const Stored element : stored) {
    *next = convert(element);
    next += run.step;
  }
}

float same(float value) { return value; }

}  // namespace

Errors TensorFiles::add(const std::filesystem::path& path) {
  const Expected<SafetensorsHeader> header = read_safetensors_header(path);
  if (!header) return header.errors();
  Errors faults;
  for (const StoredTensor& tensor : header->tensors) {
    const auto [earlier, added] = tensors_.try_emplace(tensor.name, Place{paths_.size(), tensor});
    if (added) continue;
    faults.push_back({fmt::format("{}: tensor {}", path.string(), tensor.name),
                      fmt::format("stands in {} too", paths_[earlier->second.file].string()),
                      "keep one of the two files"});
  }
  paths_.push_back(path);
  return faults;
}

void TensorFiles::rename(const std::string& from, const std::string& to) {
  auto node = tensors_.extract(from);
  KUMIHIMO_CHECK(!node.empty());
  node.key() = to;
  node.mapped().tensor.name = to;
  KUMIHIMO_CHECK(tensors_.insert(std::move(node)).inserted);
}

const TensorFiles::Place* TensorFiles::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

bool is_readable_dtype(std::string_view dtype) {
  return dtype == "F32" || dtype == "BF16" || dtype == "F16";
}

std::vector<StoredRun> stored_runs(const OwnedPiece& piece) {
  const Parameter& p = *piece.parameter;
  const StoredSlice& stored = p.stored;
  const std::int64_t end = std::min(piece.first + piece.count, p.valid_rows * p.cols);
  const std::int64_t corner = stored.whole_cols == 0
                                  ? stored.first_row
                                  : stored.first_row * stored.whole_cols + stored.first_col;
  std::vector<StoredRun> runs;
  if (stored.transposed) {
    // A column of the part is a piece of a row of the file.
    for (std::int64_t col = 0; col < p.cols; ++col) {
      const std::int64_t first_row =
          ceil_divide(std::max<std::int64_t>(0, piece.first - col), p.cols);
      const std::int64_t end_row = ceil_divide(end - col, p.cols);
      if (first_row >= end_row) continue;
      runs.push_back({.first = first_row * p.cols + col - piece.first,
                      .step = p.cols,
                      .in_file = corner + col * stored.whole_cols + first_row,
                      .count = end_row - first_row});
    }
    return runs;
  }
  const bool whole_rows = stored.whole_cols == 0 || p.cols == stored.whole_cols;
  for (std::int64_t at = piece.first; at < end; at += runs.back().count) {
    const std::int64_t row = at / p.cols, col = at % p.cols;
    runs.push_back({.first = at - piece.first,
                    .in_file = corner + row * stored.whole_cols + col,
                    .count = whole_rows ? end - at : std::min(end - at, p.cols - col)});
  }
  return runs;
}

std::vector<OwnedPiece> in_parts(const OwnedPiece& piece, std::int64_t most) {
  std::vector<OwnedPiece> parts;
  for (std::int64_t done = 0; done < piece.count; done += most) {
    parts.push_back({piece.parameter, piece.first + done, std::min(most, piece.count - done),
                     piece.offset + done});
  }
  return parts;
}

void write_piece(SliceFile& file, const StoredTensor& tensor, const OwnedPiece& piece,
                 const float* values) {
  KUMIHIMO_CHECK(tensor.dtype == "F32" || tensor.dtype == "BF16");
  for (const StoredRun& run : stored_runs(piece)) {
    if (tensor.dtype == "BF16") {
      write_run<std::uint16_t>(file, tensor.offset, run, values, to_bf16);
    } else {
      write_run<float>(file, tensor.offset, run, values, same);
    }
  }
}

void read_piece(const SliceFile& file, const StoredTensor& tensor, const OwnedPiece& piece,
                float* values) {
  KUMIHIMO_CHECK(is_readable_dtype(tensor.dtype));
  std::fill_n(values, piece.count, 0.0f);
  for (const StoredRun& run : stored_runs(piece)) {
    if (tensor.dtype == "BF16") {
      read_run<std::uint16_t>(file, tensor.offset, run, values, from_bf16);
    } else if (tensor.dtype == "F16") {
      read_run<std::uint16_t>(file, tensor.offset, run, values, from_fp16);
    } else {
      read_run<float>(file, tensor.offset, run, values, same);
    }
  }
}

}  // namespace kumihimo
