#include "base/check.hpp"
#include "tensor/cuda/simt/over_pieces.hpp"
#include "tensor/cuda/simt/reductions.hpp"
#include "tensor/cuda/simt_kernels.hpp"

namespace KUMIHIMO_CUDA_NAMESPACE {
namespace {

// --- Squares

template <class T>
struct Summed {
  const T* x;
};

/// In fp64 from the first product on: bound by memory where a GPU's fp64 rate is half of its fp32.
template <class T>
__global__ void __launch_bounds__(piece_threads)
    sum_of_squares_kernel(const __grid_constant__ PieceList<Summed<T>> list, double* sums) {
  SharedMemory shared;
  const auto scratch = shared.take<double>(scratch_for(1));
  double sum = 0;
  visit_pieces<wide<T>>(
      list, [&](auto chosen, const Summed<T>& piece, std::int64_t first, std::int64_t count) {
        constexpr int width = decltype(chosen)::value;
        const Floats<width> values = load<width>(piece.x + first, count);
#pragma unroll
        for (int i = 0; i < width; ++i) {
          const double value = values.values[i];
          sum += value * value;
        }
      });
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

/// One block: sum += all of sums.
__global__ void __launch_bounds__(piece_threads)
    add_sums_kernel(std::int64_t count, const double* sums, double* sum) {
  SharedMemory shared;
  const auto scratch = shared.take<double>(scratch_for(1));
  double mine = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) mine += sums[i];
  mine = block_sum(mine, scratch);
  if (threadIdx.x == 0) *sum += mine;
}

/// Blocks that put sums of a list down. About a thousand at the most: one block adds them up.
unsigned summing_blocks(std::int64_t chunks) {
  return static_cast<unsigned>(std::min<std::int64_t>(chunks, 1024));
}

// --- Updates

/// `weights` may be null.
template <class W>
struct Updated {
  const float* gradient;
  float* master;
  float* m;
  float* v;
  W* weights;
  float weight_decay;
};

/// What both optimizers do last.
template <int width, class W>
__device__ __forceinline__ void store_weights(const Floats<width>& master, const Updated<W>& piece,
                                              std::int64_t first, std::int64_t count) {
  store(piece.master + first, master, count);
  if (piece.weights != nullptr) store(piece.weights + first, master, count);
}

template <int width, class W>
__device__ __forceinline__ void update(const AdamW& step, const Updated<W>& piece, std::int64_t at,
                                       std::int64_t count) {
  const Floats<width> g = load<width>(piece.gradient + at, count);
  Floats<width> first = load<width>(piece.m + at, count);
  Floats<width> second = load<width>(piece.v + at, count);
  Floats<width> w = load<width>(piece.master + at, count);
  const float kept = 1 - step.learning_rate * piece.weight_decay;
#pragma unroll
  for (int i = 0; i < width; ++i) {
    const float scaled = g.values[i] * step.gradient_scale;
    first.values[i] = step.beta1 * first.values[i] + (1 - step.beta1) * scaled;
    second.values[i] = step.beta2 * second.values[i] + (1 - step.beta2) * scaled * scaled;
    const float direction = first.values[i] / step.correction1 /
                            (sqrtf(second.values[i] / step.correction2) + step.epsilon);
    w.values[i] = w.values[i] * kept - step.learning_rate * direction;
  }
  store(piece.m + at, first, count);
  store(piece.v + at, second, count);
  store_weights(w, piece, at, count);
}

template <int width, class W>
__device__ __forceinline__ void update(const Sgd& step, const Updated<W>& piece, std::int64_t at,
                                       std::int64_t count) {
  const Floats<width> g = load<width>(piece.gradient + at, count);
  Floats<width> velocity = load<width>(piece.m + at, count);
  Floats<width> w = load<width>(piece.master + at, count);
  const float kept = 1 - step.learning_rate * piece.weight_decay;
#pragma unroll
  for (int i = 0; i < width; ++i) {
    velocity.values[i] = step.momentum * velocity.values[i] + g.values[i] * step.gradient_scale;
    w.values[i] = w.values[i] * kept - step.learning_rate * velocity.values[i];
  }
  store(piece.m + at, velocity, count);
  store_weights(w, piece, at, count);
}

/// `Step`: AdamW or Sgd.
template <class Step, class W>
__global__ void __launch_bounds__(piece_threads)
    update_kernel(const __grid_constant__ PieceList<Updated<W>> list, Step step) {
  visit_pieces<wide<float>>(
      list, [&](auto chosen, const Updated<W>& piece, std::int64_t first, std::int64_t count) {
        update<decltype(chosen)::value>(step, piece, first, count);
      });
}

/// Where weights are to be written besides master; of master's own place there is no need.
Matrix separate_weights(const OptimizerPiece& piece) {
  return piece.weights.data == piece.master.data ? Matrix{} : piece.weights;
}

template <class T>
T* data_of(const Matrix& matrix) {
  return static_cast<T*>(matrix.data);
}

template <class Step>
void update_all(Stream stream, const Step& step, std::span<const OptimizerPiece> pieces) {
  const auto launch_for = [&]<class W>(std::span<const OptimizerPiece> alike, W /*zero*/) {
    const auto add = [](const OptimizerPiece& piece, PieceList<Updated<W>>& list) {
      const Matrix weights = separate_weights(piece);
      const Updated<W> updated{data_of<const float>(piece.gradient),
                               data_of<float>(piece.master),
                               data_of<float>(piece.m),
                               data_of<float>(piece.v),
                               data_of<W>(weights),
                               piece.weight_decay};
      add_piece<wide<float>>(list, updated, piece.master, piece.gradient, piece.m, piece.v,
                             weights);
    };
    for_piece_lists<Updated<W>>(alike, add, [&](const PieceList<Updated<W>>& list) {
      launch(update_kernel<Step, W>, {{blocks(list.chunks())}, piece_threads}, stream, list, step);
    });
  };
  // Weights are of one type in all pieces, as a rule.
  while (!pieces.empty()) {
    const DType dtype = separate_weights(pieces.front()).dtype;
    std::size_t alike = 1;
    while (alike < pieces.size() && separate_weights(pieces[alike]).dtype == dtype) ++alike;
    with_type(dtype, [&](auto zero) { launch_for(pieces.first(alike), zero); });
    pieces = pieces.subspan(alike);
  }
}

}  // namespace

void SimtKernels::sum_of_squares(std::span<const Matrix> matrices, const Matrix& sum) {
  KUMIHIMO_CHECK(has_shape(sum, 1, 1) && sum.dtype == DType::fp64);
  if (matrices.empty()) return;
  const DType dtype = matrices.front().dtype;
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    using List = PieceList<Summed<T>>;
    const auto add = [&](const Matrix& x, List& list) {
      KUMIHIMO_CHECK(x.contiguous() && x.dtype == dtype);
      add_piece<wide<T>>(list, {data_of<const T>(x)}, reshaped(x, 1, x.elements()));
    };
    const Workspace::Scope scope(workspace_);
    constexpr std::size_t scratch = scratch_for(1) * sizeof(double);
    for_piece_lists<Summed<T>>(matrices, add, [&](const List& list) {
      const unsigned sums = summing_blocks(list.chunks());
      const Matrix partial = workspace_.take(1, sums, DType::fp64);
      launch(sum_of_squares_kernel<T>, {{sums}, piece_threads, scratch}, stream_, list,
             data_of<double>(partial));
      launch(add_sums_kernel, {{1}, piece_threads, scratch}, stream_, sums,
             data_of<const double>(partial), data_of<double>(sum));
    });
  });
}

void SimtKernels::adamw(const AdamW& step, std::span<const OptimizerPiece> pieces) {
  for (const OptimizerPiece& piece : pieces) check_piece(piece, true);
  update_all(stream_, step, pieces);
}

void SimtKernels::sgd(const Sgd& step, std::span<const OptimizerPiece> pieces) {
  for (const OptimizerPiece& piece : pieces) check_piece(piece, false);
  update_all(stream_, step, pieces);
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE
