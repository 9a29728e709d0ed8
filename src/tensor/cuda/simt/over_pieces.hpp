#pragma once

#include <array>
#include <span>

#include "tensor/cuda/simt/elements.hpp"

// Many rows of different lengths in one launch. The list travels as the kernel's argument (at most
// 32,764 bytes since CUDA 12.1): nothing is uploaded, and a list that changes costs nothing.

namespace KUMIHIMO_CUDA_NAMESPACE {

inline constexpr unsigned piece_threads = 256;
/// A block takes a chunk of a piece at a time: eight vectors of fp32 a thread.
inline constexpr std::int64_t chunk_elements = 8 * piece_threads * std::int64_t{wide<float>};

/// `Piece`: what a kernel needs of a row, pointers to its first elements.
template <class Piece>
struct PieceList {
  static constexpr int most = 256;

  int count = 0;
  int chunk_ends[most];  ///< chunks of a piece and of those before it
  bool aligned[most];    ///< several elements can be moved at once
  std::int64_t elements[most];
  Piece pieces[most];

  std::int64_t chunks() const { return count == 0 ? 0 : chunk_ends[count - 1]; }
};

/// visit(std::integral_constant<int, width>(), piece, first, width) of every `width` neighbours in
/// the chunks of this block; with 1 for width at the end of a piece, and where it is not aligned.
template <int width, class Piece, class Visit>
__device__ __forceinline__ void visit_pieces(const PieceList<Piece>& list, const Visit& visit) {
  const int chunks = list.chunk_ends[list.count - 1];
  for (int chunk = static_cast<int>(blockIdx.x); chunk < chunks;
       chunk += static_cast<int>(gridDim.x)) {
    // The first piece that ends behind the chunk.
    int piece = 0;
    for (int last = list.count - 1; piece < last;) {
      const int middle = (piece + last) / 2;
      if (list.chunk_ends[middle] > chunk) {
        last = middle;
      } else {
        piece = middle + 1;
      }
    }
    const int before = piece == 0 ? 0 : list.chunk_ends[piece - 1];
    const std::int64_t begin = (chunk - before) * chunk_elements;
    const std::int64_t elements = list.elements[piece];
    const std::int64_t end = begin + chunk_elements < elements ? begin + chunk_elements : elements;
    const auto visit_by = [&](auto chosen) {
      constexpr int step = decltype(chosen)::value;
      for (std::int64_t i = begin + std::int64_t{threadIdx.x} * step; i < end;
           i += std::int64_t{blockDim.x} * step) {
        if (end - i >= step) {
          visit(chosen, list.pieces[piece], i, step);
        } else {
          for (std::int64_t j = i; j < end; ++j) {
            visit(std::integral_constant<int, 1>(), list.pieces[piece], j, 1);
          }
        }
      }
    };
    if (list.aligned[piece]) {
      visit_by(std::integral_constant<int, width>());
    } else {
      visit_by(std::integral_constant<int, 1>());
    }
  }
}

/// run(list) for lists of all items in their order, of as many as fit. add(item, list) is to call
/// add_piece, or not.
template <class Piece, class Item, class Add, class Run>
void for_piece_lists(std::span<const Item> items, const Add& add, const Run& run) {
  PieceList<Piece> list;
  for (const Item& item : items) {
    if (list.count == PieceList<Piece>::most) {
      run(list);
      list.count = 0;
    }
    add(item, list);
  }
  if (list.count > 0) run(list);
}

/// Appends a piece of one row or more, without gaps, whose matrices are all of one shape.
template <int width, class Piece, class... Matrices>
void add_piece(PieceList<Piece>& list, const Piece& piece, const Matrix& like,
               const Matrices&... others) {
  if (like.elements() == 0) return;
  const std::int64_t chunks = list.chunks() + pieces_of(like.elements(), chunk_elements);
  KUMIHIMO_CHECK(chunks <= 0x7fff'ffff);
  const int number = list.count++;
  list.chunk_ends[number] = static_cast<int>(chunks);
  list.aligned[number] = is_aligned(like, width) && (is_aligned(others, width) && ...);
  list.elements[number] = like.elements();
  list.pieces[number] = piece;
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE
