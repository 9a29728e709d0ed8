#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "support/lazy_queue.hpp"
#include "tensor/gpu.hpp"

namespace kumihimo::testing {

/// Host memory whose pieces are given back in the order of a queue, as a GPU's are.
class LazyMemory final : public RawMemory {
 public:
  explicit LazyMemory(LazyQueue& queue) : queue_(queue) {}
  void* allocate(Bytes bytes) override {
    queue_.refuse_in_recording("memory was allocated");
    return memory_->allocate(bytes);
  }
  void release(void* data, Bytes bytes) noexcept override {
    queue_.give([memory = memory_, data, bytes] { memory->release(data, bytes); });
  }

 private:
  LazyQueue& queue_;
  std::shared_ptr<RawMemory> memory_ = make_host_memory();
};

using MakeKernels = std::function<std::unique_ptr<Kernels>(Workspace& workspace)>;

/// Kernels of the host's memory, run by a queue some time after they are called.
class LazyKernels : public Kernels {
 public:
  LazyKernels(LazyQueue& queue, const MakeKernels& make)
      : queue_(queue), kernels_(make(workspace_)) {}
  ~LazyKernels() override { queue_.synchronize(); }

  std::string description() const override { return kernels_->description() + ", later"; }

  void upload(const void* host, const Matrix& out) override {
    queue_.refuse_in_recording("host memory was copied to the GPU");
    const auto* bytes = static_cast<const std::byte*>(host);
    later([this, copy = std::vector(bytes, bytes + out.bytes()), out] {
      kernels_->upload(copy.data(), out);
    });
  }
  void download(const Matrix& in, void* host) override {
    queue_.synchronize();
    kernels_->download(in, host);
  }

  void matmul(const Matrix& a, Transpose transpose_a, const Matrix& b, Transpose transpose_b,
              const Matrix& c, Accumulate accumulate, const ProductEpilogue& epilogue) override {
    later([=, this] { kernels_->matmul(a, transpose_a, b, transpose_b, c, accumulate, epilogue); });
  }
  void add_bias(const Matrix& x, const Matrix& bias) override {
    later([=, this] { kernels_->add_bias(x, bias); });
  }
  void bias_backward(const Matrix& d_y, const Matrix& d_bias) override {
    later([=, this] { kernels_->bias_backward(d_y, d_bias); });
  }
  void norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                    const Matrix& bias, const Matrix& y, const NormSaved& saved) override {
    later([=, this] { kernels_->norm_forward(norm, x, weight, bias, y, saved); });
  }
  void add_norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& delta,
                        const Matrix& weight, const Matrix& bias, const Matrix& sum,
                        const Matrix& y, const NormSaved& saved) override {
    later([=, this] { kernels_->add_norm_forward(norm, x, delta, weight, bias, sum, y, saved); });
  }
  void norm_backward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                     const NormSaved& saved, const Matrix& d_y, const Matrix& d_residual,
                     const Matrix& d_x, const Matrix& d_weight, const Matrix& d_bias) override {
    later([=, this] {
      kernels_->norm_backward(norm, x, weight, saved, d_y, d_residual, d_x, d_weight, d_bias);
    });
  }
  void rotate(const Matrix& x, std::int64_t heads, std::int64_t head_dim, std::int64_t seq_length,
              const Matrix& table, bool inverse) override {
    later([=, this] { kernels_->rotate(x, heads, head_dim, seq_length, table, inverse); });
  }
  void attention_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                         const Matrix& v, const Matrix& out, const AttentionSaved& saved) override {
    later([=, this] { kernels_->attention_forward(shape, q, k, v, out, saved); });
  }
  void attention_backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                          const Matrix& v, const Matrix& out, const AttentionSaved& saved,
                          const Matrix& d_out, const Matrix& d_q, const Matrix& d_k,
                          const Matrix& d_v) override {
    later([=, this] {
      kernels_->attention_backward(shape, q, k, v, out, saved, d_out, d_q, d_k, d_v);
    });
  }
  void swiglu_forward(const Matrix& x, const Matrix& y) override {
    later([=, this] { kernels_->swiglu_forward(x, y); });
  }
  void swiglu_backward(const Matrix& x, const Matrix& d_y, const Matrix& d_x) override {
    later([=, this] { kernels_->swiglu_backward(x, d_y, d_x); });
  }
  void gelu_forward(const Matrix& x, const Matrix& y) override {
    later([=, this] { kernels_->gelu_forward(x, y); });
  }
  void gelu_backward(const Matrix& x, const Matrix& d_y, const Matrix& d_x) override {
    later([=, this] { kernels_->gelu_backward(x, d_y, d_x); });
  }
  void embedding_forward(const Matrix& tokens, const Matrix& table, std::int64_t first_row,
                         const Matrix& out) override {
    later([=, this] { kernels_->embedding_forward(tokens, table, first_row, out); });
  }
  void embedding_backward(const Matrix& tokens, const Matrix& d_out, std::int64_t first_row,
                          const Matrix& d_table) override {
    later([=, this] { kernels_->embedding_backward(tokens, d_out, first_row, d_table); });
  }
  void add_positions(const Matrix& x, const Matrix& table, std::int64_t first_token,
                     std::int64_t seq_length) override {
    later([=, this] { kernels_->add_positions(x, table, first_token, seq_length); });
  }
  void positions_backward(const Matrix& d_x, std::int64_t first_token, std::int64_t seq_length,
                          const Matrix& d_table) override {
    later([=, this] { kernels_->positions_backward(d_x, first_token, seq_length, d_table); });
  }
  void cross_entropy_statistics(const Matrix& logits, const Matrix& targets, std::int64_t first_col,
                                std::int64_t valid_cols, const Matrix& statistics) override {
    later([=, this] {
      kernels_->cross_entropy_statistics(logits, targets, first_col, valid_cols, statistics);
    });
  }
  void cross_entropy_combine(const Matrix& statistics, std::int64_t parts,
                             const Matrix& log_sum_exp, const Matrix& loss_sum) override {
    later([=, this] { kernels_->cross_entropy_combine(statistics, parts, log_sum_exp, loss_sum); });
  }
  void cross_entropy_backward(const Matrix& logits, const Matrix& targets, std::int64_t first_col,
                              std::int64_t valid_cols, const Matrix& log_sum_exp,
                              float scale) override {
    later([=, this] {
      kernels_->cross_entropy_backward(logits, targets, first_col, valid_cols, log_sum_exp, scale);
    });
  }
  void add(const Matrix& a, const Matrix& b, const Matrix& out) override {
    later([=, this] { kernels_->add(a, b, out); });
  }
  void copy(const Matrix& in, const Matrix& out) override {
    later([=, this] { kernels_->copy(in, out); });
  }
  void fill(const Matrix& x, float value) override {
    later([=, this] { kernels_->fill(x, value); });
  }
  void scale(const Matrix& x, float factor) override {
    later([=, this] { kernels_->scale(x, factor); });
  }
  void sum_of_squares(std::span<const Matrix> matrices, const Matrix& sum) override {
    later([this, all = std::vector(matrices.begin(), matrices.end()), sum] {
      kernels_->sum_of_squares(all, sum);
    });
  }
  void adamw(const AdamW& step, std::span<const OptimizerPiece> pieces) override {
    later([this, step, all = std::vector(pieces.begin(), pieces.end())] {
      kernels_->adamw(step, all);
    });
  }
  void sgd(const Sgd& step, std::span<const OptimizerPiece> pieces) override {
    later([this, step, all = std::vector(pieces.begin(), pieces.end())] {
      kernels_->sgd(step, all);
    });
  }
  void fp8_scales(const Matrix& x, DType format, const Matrix& scales) override {
    later([=, this] { kernels_->fp8_scales(x, format, scales); });
  }
  void cast_to_fp8(const Matrix& x, const Fp8Cast& cast, const Fp8Codes& codes) override {
    later([=, this] { kernels_->cast_to_fp8(x, cast, codes); });
  }
  bool sums_fp8_along_rows() const override { return kernels_->sums_fp8_along_rows(); }

 private:
  void later(std::function<void()> task) { queue_.give(std::move(task)); }

  LazyQueue& queue_;
  // Temporaries of kernels that run beside the rank's thread.
  DeviceMemory memory_{make_host_memory()};
  Workspace workspace_{memory_};
  std::unique_ptr<Kernels> kernels_;
};

/// A GPU on the host: everything that is asked of it is done later, by other threads.
class LazyGpu final : public Gpu {
 public:
  explicit LazyGpu(int rank, MakeKernels make = make_reference_kernels)
      : make_(std::move(make)), seed_(static_cast<std::uint64_t>(rank) * 1000), queue_(seed_) {}

  const GpuFacts& facts() const override { return facts_; }
  std::unique_ptr<RawMemory> make_memory() override { return std::make_unique<LazyMemory>(queue_); }
  std::unique_ptr<RawMemory> make_host_memory() override { return kumihimo::make_host_memory(); }
  std::unique_ptr<Kernels> make_kernels(Workspace& /*workspace*/) override {
    return std::make_unique<LazyKernels>(queue_, make_);
  }
  DeviceQueue& queue() override { return queue_; }
  std::unique_ptr<DeviceQueue> make_queue() override {
    return std::make_unique<LazyQueue>(++seed_);
  }
  Bytes memory_in_use() override { return 0; }
  void set_watch(std::function<void(double)> /*watch*/) override {}

 private:
  GpuFacts facts_{.name = "a GPU that is none"};
  MakeKernels make_;
  std::uint64_t seed_;
  LazyQueue queue_;
};

}  // namespace kumihimo::testing
