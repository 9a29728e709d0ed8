#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tensor/device_memory.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo::testing {

/// Matrices of the host, beside copies in a GPU's memory: what overlaps there overlaps here, gaps
/// between rows are copied too, and addresses have the same remainder of 64, so that alignment is
/// what it was.
class Mirror {
 public:
  Mirror(DeviceMemory& memory, Kernels& kernels, std::vector<Matrix> matrices) : kernels_(kernels) {
    std::sort(matrices.begin(), matrices.end(),
              [](const Matrix& a, const Matrix& b) { return bytes_at(a) < bytes_at(b); });
    for (const Matrix& matrix : matrices) {
      if (matrix.empty() || matrix.elements() == 0) continue;
      std::byte* const begin = bytes_at(matrix);
      std::byte* const end =
          begin + ((matrix.rows - 1) * matrix.stride + matrix.cols) * bytes_of(matrix.dtype);
      if (!pieces_.empty() && begin < pieces_.back().end) {
        pieces_.back().end = std::max(pieces_.back().end, end);
      } else {
        pieces_.push_back({begin, end, {}});
      }
    }
    for (Piece& piece : pieces_) {
      piece.buffer =
          Buffer(memory, MemoryCategory::activations, piece.end - piece.begin + alignment);
      kernels_.upload(piece.begin, copy_of(piece));
    }
  }

  /// Brings everything back.
  void finish() {
    for (const Piece& piece : pieces_) kernels_.download(copy_of(piece), piece.begin);
  }

  Matrix operator()(const Matrix& matrix) const {
    Matrix copy = matrix;
    for (const Piece& piece : pieces_) {
      if (piece.begin <= bytes_at(matrix) && bytes_at(matrix) < piece.end) {
        copy.data = static_cast<std::byte*>(copy_of(piece).data) + (bytes_at(matrix) - piece.begin);
      }
    }
    return copy;
  }

 private:
  static constexpr std::int64_t alignment = 64;
  struct Piece {
    std::byte* begin;
    std::byte* end;
    Buffer buffer;
  };

  static std::byte* bytes_at(const Matrix& matrix) { return static_cast<std::byte*>(matrix.data); }

  static Matrix copy_of(const Piece& piece) {
    const auto offset = reinterpret_cast<std::uintptr_t>(piece.begin) % alignment;
    return matrix_at(static_cast<std::byte*>(piece.buffer.data()) + offset, 1,
                     piece.end - piece.begin, DType::fp8_e4m3);  // bytes
  }

  Kernels& kernels_;
  std::vector<Piece> pieces_;
};

/// A GPU's kernels for matrices of the host: every call brings its matrices there and back.
class MirroredKernels final : public Kernels {
 public:
  MirroredKernels(DeviceMemory& memory, std::unique_ptr<Kernels> kernels)
      : memory_(memory), kernels_(std::move(kernels)) {}

  std::string description() const override { return kernels_->description(); }

  // The host's memory is this back end's memory, as its user sees it.
  void upload(const void* host, const Matrix& out) override {
    std::copy_n(static_cast<const std::byte*>(host), out.bytes(),
                static_cast<std::byte*>(out.data));
  }
  void download(const Matrix& in, void* host) override {
    std::copy_n(static_cast<const std::byte*>(in.data), in.bytes(), static_cast<std::byte*>(host));
  }

  void matmul(const Matrix& a, Transpose transpose_a, const Matrix& b, Transpose transpose_b,
              const Matrix& c, Accumulate accumulate, const ProductEpilogue& epilogue) override {
    const ProductEpilogue& e = epilogue;
    run({a, b, c, e.scale_a, e.scale_b, e.bias}, [&](const Mirror& on) {
      kernels_->matmul(on(a), transpose_a, on(b), transpose_b, on(c), accumulate,
                       {e.alpha, on(e.scale_a), on(e.scale_b), on(e.bias)});
    });
  }
  void add_bias(const Matrix& x, const Matrix& bias) override {
    run({x, bias}, [&](const Mirror& on) { kernels_->add_bias(on(x), on(bias)); });
  }
  void bias_backward(const Matrix& d_y, const Matrix& d_bias) override {
    run({d_y, d_bias}, [&](const Mirror& on) { kernels_->bias_backward(on(d_y), on(d_bias)); });
  }
  void norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                    const Matrix& bias, const Matrix& y, const NormSaved& saved) override {
    run(with({x, weight, bias, y}, saved), [&](const Mirror& on) {
      kernels_->norm_forward(norm, on(x), on(weight), on(bias), on(y), mirrored(on, saved));
    });
  }
  void add_norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& delta,
                        const Matrix& weight, const Matrix& bias, const Matrix& sum,
                        const Matrix& y, const NormSaved& saved) override {
    run(with({x, delta, weight, bias, sum, y}, saved), [&](const Mirror& on) {
      kernels_->add_norm_forward(norm, on(x), on(delta), on(weight), on(bias), on(sum), on(y),
                                 mirrored(on, saved));
    });
  }
  void norm_backward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                     const NormSaved& saved, const Matrix& d_y, const Matrix& d_residual,
                     const Matrix& d_x, const Matrix& d_weight, const Matrix& d_bias) override {
    run(with({x, weight, d_y, d_residual, d_x, d_weight, d_bias}, saved), [&](const Mirror& on) {
      kernels_->norm_backward(norm, on(x), on(weight), mirrored(on, saved), on(d_y), on(d_residual),
                              on(d_x), on(d_weight), on(d_bias));
    });
  }
  void rotate(const Matrix& x, std::int64_t heads, std::int64_t head_dim, std::int64_t seq_length,
              const Matrix& table, bool inverse) override {
    run({x, table}, [&](const Mirror& on) {
      kernels_->rotate(on(x), heads, head_dim, seq_length, on(table), inverse);
    });
  }
  void attention_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                         const Matrix& v, const Matrix& out, const AttentionSaved& saved) override {
    run({q, k, v, out, saved.probabilities, saved.log_sum_exp}, [&](const Mirror& on) {
      kernels_->attention_forward(shape, on(q), on(k), on(v), on(out), mirrored(on, saved));
    });
  }
  void attention_backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                          const Matrix& v, const Matrix& out, const AttentionSaved& saved,
                          const Matrix& d_out, const Matrix& d_q, const Matrix& d_k,
                          const Matrix& d_v) override {
    run({q, k, v, out, d_out, d_q, d_k, d_v, saved.probabilities, saved.log_sum_exp},
        [&](const Mirror& on) {
          kernels_->attention_backward(shape, on(q), on(k), on(v), on(out), mirrored(on, saved),
                                       on(d_out), on(d_q), on(d_k), on(d_v));
        });
  }
  void swiglu_forward(const Matrix& x, const Matrix& y) override {
    run({x, y}, [&](const Mirror& on) { kernels_->swiglu_forward(on(x), on(y)); });
  }
  void swiglu_backward(const Matrix& x, const Matrix& d_y, const Matrix& d_x) override {
    run({x, d_y, d_x},
        [&](const Mirror& on) { kernels_->swiglu_backward(on(x), on(d_y), on(d_x)); });
  }
  void gelu_forward(const Matrix& x, const Matrix& y) override {
    run({x, y}, [&](const Mirror& on) { kernels_->gelu_forward(on(x), on(y)); });
  }
  void gelu_backward(const Matrix& x, const Matrix& d_y, const Matrix& d_x) override {
    run({x, d_y, d_x}, [&](const Mirror& on) { kernels_->gelu_backward(on(x), on(d_y), on(d_x)); });
  }
  void embedding_forward(const Matrix& tokens, const Matrix& table, std::int64_t first_row,
                         const Matrix& out) override {
    run({tokens, table, out}, [&](const Mirror& on) {
      kernels_->embedding_forward(on(tokens), on(table), first_row, on(out));
    });
  }
  void embedding_backward(const Matrix& tokens, const Matrix& d_out, std::int64_t first_row,
                          const Matrix& d_table) override {
    run({tokens, d_out, d_table}, [&](const Mirror& on) {
      kernels_->embedding_backward(on(tokens), on(d_out), first_row, on(d_table));
    });
  }
  void add_positions(const Matrix& x, const Matrix& table, std::int64_t first_token,
                     std::int64_t seq_length) override {
    run({x, table}, [&](const Mirror& on) {
      kernels_->add_positions(on(x), on(table), first_token, seq_length);
    });
  }
  void positions_backward(const Matrix& d_x, std::int64_t first_token, std::int64_t seq_length,
                          const Matrix& d_table) override {
    run({d_x, d_table}, [&](const Mirror& on) {
      kernels_->positions_backward(on(d_x), first_token, seq_length, on(d_table));
    });
  }
  void cross_entropy_statistics(const Matrix& logits, const Matrix& targets, std::int64_t first_col,
                                std::int64_t valid_cols, const Matrix& statistics) override {
    run({logits, targets, statistics}, [&](const Mirror& on) {
      kernels_->cross_entropy_statistics(on(logits), on(targets), first_col, valid_cols,
                                         on(statistics));
    });
  }
  void cross_entropy_combine(const Matrix& statistics, std::int64_t parts,
                             const Matrix& log_sum_exp, const Matrix& loss_sum) override {
    run({statistics, log_sum_exp, loss_sum}, [&](const Mirror& on) {
      kernels_->cross_entropy_combine(on(statistics), parts, on(log_sum_exp), on(loss_sum));
    });
  }
  void cross_entropy_backward(const Matrix& logits, const Matrix& targets, std::int64_t first_col,
                              std::int64_t valid_cols, const Matrix& log_sum_exp,
                              float scale) override {
    run({logits, targets, log_sum_exp}, [&](const Mirror& on) {
      kernels_->cross_entropy_backward(on(logits), on(targets), first_col, valid_cols,
                                       on(log_sum_exp), scale);
    });
  }
  void add(const Matrix& a, const Matrix& b, const Matrix& out) override {
    run({a, b, out}, [&](const Mirror& on) { kernels_->add(on(a), on(b), on(out)); });
  }
  void copy(const Matrix& in, const Matrix& out) override {
    run({in, out}, [&](const Mirror& on) { kernels_->copy(on(in), on(out)); });
  }
  void fill(const Matrix& x, float value) override {
    run({x}, [&](const Mirror& on) { kernels_->fill(on(x), value); });
  }
  void scale(const Matrix& x, float factor) override {
    run({x}, [&](const Mirror& on) { kernels_->scale(on(x), factor); });
  }
  void sum_of_squares(std::span<const Matrix> matrices, const Matrix& sum) override {
    std::vector<Matrix> all(matrices.begin(), matrices.end());
    all.push_back(sum);
    run(all, [&](const Mirror& on) {
      for (Matrix& matrix : all) matrix = on(matrix);
      kernels_->sum_of_squares(std::span(all).first(matrices.size()), all.back());
    });
  }
  void adamw(const AdamW& step, std::span<const OptimizerPiece> pieces) override {
    run_pieces(pieces,
               [&](std::span<const OptimizerPiece> there) { kernels_->adamw(step, there); });
  }
  void sgd(const Sgd& step, std::span<const OptimizerPiece> pieces) override {
    run_pieces(pieces, [&](std::span<const OptimizerPiece> there) { kernels_->sgd(step, there); });
  }
  void fp8_scales(const Matrix& x, DType format, const Matrix& scales) override {
    run({x, scales}, [&](const Mirror& on) { kernels_->fp8_scales(on(x), format, on(scales)); });
  }
  void cast_to_fp8(const Matrix& x, const Fp8Cast& cast, const Fp8Codes& codes) override {
    run({x, cast.scales, cast.maximum, cast.counts, codes.straight, codes.transposed},
        [&](const Mirror& on) {
          kernels_->cast_to_fp8(on(x), {on(cast.scales), on(cast.maximum), on(cast.counts)},
                                {on(codes.straight), on(codes.transposed)});
        });
  }
  bool sums_fp8_along_rows() const override { return kernels_->sums_fp8_along_rows(); }

 private:
  template <class Call>
  void run(std::vector<Matrix> matrices, const Call& call) {
    Mirror mirror(memory_, *kernels_, std::move(matrices));
    call(std::as_const(mirror));
    mirror.finish();
  }

  /// call(the pieces' copies).
  template <class Call>
  void run_pieces(std::span<const OptimizerPiece> pieces, const Call& call) {
    std::vector<Matrix> matrices;
    for (const OptimizerPiece& piece : pieces) {
      for (const Matrix& each : {piece.gradient, piece.master, piece.m, piece.v, piece.weights}) {
        matrices.push_back(each);
      }
    }
    run(matrices, [&](const Mirror& on) {
      std::vector<OptimizerPiece> there(pieces.begin(), pieces.end());
      for (OptimizerPiece& piece : there) {
        for (Matrix* each : {&piece.gradient, &piece.master, &piece.m, &piece.v, &piece.weights}) {
          *each = on(*each);
        }
      }
      call(there);
    });
  }

  static std::vector<Matrix> with(std::vector<Matrix> matrices, const NormSaved& saved) {
    for (const Matrix& each :
         {saved.inverse_deviation, saved.mean, saved.widened, saved.normalised}) {
      matrices.push_back(each);
    }
    return matrices;
  }
  static NormSaved mirrored(const Mirror& on, const NormSaved& saved) {
    return {on(saved.inverse_deviation), on(saved.mean), on(saved.widened), on(saved.normalised)};
  }
  static AttentionSaved mirrored(const Mirror& on, const AttentionSaved& saved) {
    return {on(saved.probabilities), on(saved.log_sum_exp)};
  }

  DeviceMemory& memory_;
  std::unique_ptr<Kernels> kernels_;
};

}  // namespace kumihimo::testing
