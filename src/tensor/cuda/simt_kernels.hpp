#pragma once

#include <cstdint>

#include "tensor/cuda/simt_namespace.hpp"
#include "tensor/kernels.hpp"

struct CUstream_st;  // what a cudaStream_t points to

namespace KUMIHIMO_CUDA_NAMESPACE {

/// The stream on which a rank's kernels run, in order: a cudaStream_t, without CUDA's headers.
using Stream = CUstream_st*;

/// Matrices of one shape in one memory: number i starts i x step elements after the first.
struct MatrixBatch {
  Matrix first;
  std::int64_t step = 0;
};

/// The largest heads, in elements, that the flash attention kernels take where a block of threads
/// may have so much shared memory; 0: none. dtype: fp32 or bf16.
int largest_flash_head(DType dtype, Bytes block_bytes);

/// Every operation that is not a plain matrix product, in kernels of our own. They are launched on
/// the stream and not waited for. Temporaries come from the workspace; nothing else is allocated.
/// No atomics: same input, same bits on every run and on every GPU, since how work is cut follows
/// from shapes alone. What each operation does is said in tensor/kernels.hpp.
///
/// The kernels (simt/*.cu) are written in the vocabulary of tensor/cuda/simt/simt.hpp, so that they
/// compile for a GPU and, in the tests, for an emulation of one on the host.
class SimtKernels : public Kernels {
 public:
  // Left to the derived class: description, upload, download, matmul, sums_fp8_along_rows, and
  // batched_matmul below.

  // column_sums.cu, elementwise.cu
  void add_bias(const Matrix& x, const Matrix& bias) override;
  void bias_backward(const Matrix& d_y, const Matrix& d_bias) override;

  // norms.cu: checks shapes, and computes what is fused; else calls unfused_* below.
  void norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                    const Matrix& bias, const Matrix& y, const NormSaved& saved) override;
  void add_norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& delta,
                        const Matrix& weight, const Matrix& bias, const Matrix& sum,
                        const Matrix& y, const NormSaved& saved) override;
  void norm_backward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                     const NormSaved& saved, const Matrix& d_y, const Matrix& d_residual,
                     const Matrix& d_x, const Matrix& d_weight, const Matrix& d_bias) override;

  // rotary.cu
  void rotate(const Matrix& x, std::int64_t heads, std::int64_t head_dim, std::int64_t seq_length,
              const Matrix& table, bool inverse) override;

  // attention.cu: checks shapes, then calls flash_* or materialised_* below.
  void attention_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                         const Matrix& v, const Matrix& out, const AttentionSaved& saved) final;
  void attention_backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                          const Matrix& v, const Matrix& out, const AttentionSaved& saved,
                          const Matrix& d_out, const Matrix& d_q, const Matrix& d_k,
                          const Matrix& d_v) final;

  // mlp.cu
  void swiglu_forward(const Matrix& x, const Matrix& y) override;
  void swiglu_backward(const Matrix& x, const Matrix& d_y, const Matrix& d_x) override;
  void gelu_forward(const Matrix& x, const Matrix& y) override;
  void gelu_backward(const Matrix& x, const Matrix& d_y, const Matrix& d_x) override;

  // embedding.cu
  void embedding_forward(const Matrix& tokens, const Matrix& table, std::int64_t first_row,
                         const Matrix& out) override;
  void embedding_backward(const Matrix& tokens, const Matrix& d_out, std::int64_t first_row,
                          const Matrix& d_table) override;
  void add_positions(const Matrix& x, const Matrix& table, std::int64_t first_token,
                     std::int64_t seq_length) override;
  void positions_backward(const Matrix& d_x, std::int64_t first_token, std::int64_t seq_length,
                          const Matrix& d_table) override;

  // loss.cu
  void cross_entropy_statistics(const Matrix& logits, const Matrix& targets, std::int64_t first_col,
                                std::int64_t valid_cols, const Matrix& statistics) override;
  void cross_entropy_combine(const Matrix& statistics, std::int64_t parts,
                             const Matrix& log_sum_exp, const Matrix& loss_sum) override;
  void cross_entropy_backward(const Matrix& logits, const Matrix& targets, std::int64_t first_col,
                              std::int64_t valid_cols, const Matrix& log_sum_exp,
                              float scale) override;

  // elementwise.cu
  void add(const Matrix& a, const Matrix& b, const Matrix& out) override;
  void copy(const Matrix& in, const Matrix& out) override;
  void fill(const Matrix& x, float value) override;
  void scale(const Matrix& x, float factor) override;

  // optimizer.cu
  void sum_of_squares(std::span<const Matrix> matrices, const Matrix& sum) override;
  void adamw(const AdamW& step, std::span<const OptimizerPiece> pieces) override;
  void sgd(const Sgd& step, std::span<const OptimizerPiece> pieces) override;

  // fp8.cu
  void fp8_scales(const Matrix& x, DType format, const Matrix& scales) override;
  void cast_to_fp8(const Matrix& x, const Fp8Cast& cast, const Fp8Codes& codes) override;

 protected:
  /// The workspace's memory is the GPU's. Both outlive the kernels.
  SimtKernels(Workspace& workspace, Stream stream) : workspace_(workspace), stream_(stream) {}

  /// `count` products like Kernels::matmul, c[i] = alpha op(a[i]) op(b[i]) (+ c[i]), on the stream:
  /// of the attention kernels that hold all scores. a and b: both fp32 or both bf16; c: theirs, or
  /// fp32.
  virtual void batched_matmul(std::int64_t count, const MatrixBatch& a, Transpose transpose_a,
                              const MatrixBatch& b, Transpose transpose_b, const MatrixBatch& c,
                              Accumulate accumulate, float alpha) = 0;

  // flash_forward.cu, flash_backward.cu: FlashAttention-2 (Dao 2023, arXiv:2307.08691), for
  // head_dim up to 128. Shapes and dtypes have been checked. log_sum_exp: fp32 [tokens, heads],
  // natural logarithm. A derived class may have something faster and fall back on these.
  virtual void flash_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                             const Matrix& v, const Matrix& out, const Matrix& log_sum_exp);
  virtual void flash_backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                              const Matrix& v, const Matrix& out, const Matrix& log_sum_exp,
                              const Matrix& d_out, const Matrix& d_q, const Matrix& d_k,
                              const Matrix& d_v);

  /// out, bf16, becomes in times scale, fp32 [1, 1] or empty: for products of fp8 where there are
  /// none. bf16 has every fp8 number, and its product with a power of two above 2^-110.
  void widen_fp8(const Matrix& in, const Matrix& scale, const Matrix& out);

  Workspace& workspace() const { return workspace_; }
  Stream stream() const { return stream_; }

 private:
  // materialised_attention.cu
  void materialised_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                            const Matrix& v, const Matrix& out, const Matrix& probabilities);
  void materialised_backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                             const Matrix& v, const Matrix& probabilities, const Matrix& d_out,
                             const Matrix& d_q, const Matrix& d_k, const Matrix& d_v);

  // unfused_norms.cu. Shapes and dtypes have been checked.
  void unfused_norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                            const Matrix& bias, const Matrix& y, const NormSaved& saved);
  void unfused_norm_backward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                             const NormSaved& saved, const Matrix& d_y, const Matrix& d_residual,
                             const Matrix& d_x, const Matrix& d_weight, const Matrix& d_bias);

  Workspace& workspace_;
  Stream stream_;
};

}  // namespace KUMIHIMO_CUDA_NAMESPACE
