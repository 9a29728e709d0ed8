#pragma once

#include <string>

#include "tensor/cpu/products.hpp"
#include "tensor/cpu/team.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo::cpu {

/// Products by oneDNN, everything else in vector code that Highway compiles for several instruction
/// sets and chooses from at run time. Each file holds its vector code first, per instruction set,
/// and then, once, the operations that cut the work for the team. What each operation does is said
/// in tensor/kernels.hpp.
class CpuKernels final : public Kernels {
 public:
  CpuKernels(Workspace& workspace, int threads);

  std::string description() const override;

  // cpu_kernels.cpp
  void upload(const void* host, const Matrix& out) override;
  void download(const Matrix& in, void* host) override;

  // products.cpp
  void matmul(const Matrix& a, Transpose transpose_a, const Matrix& b, Transpose transpose_b,
              const Matrix& c, Accumulate accumulate, const ProductEpilogue& epilogue) override;
  void add_bias(const Matrix& x, const Matrix& bias) override;
  void bias_backward(const Matrix& d_y, const Matrix& d_bias) override;

  // norms.cpp
  void norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                    const Matrix& bias, const Matrix& y, const NormSaved& saved) override;
  void add_norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& delta,
                        const Matrix& weight, const Matrix& bias, const Matrix& sum,
                        const Matrix& y, const NormSaved& saved) override;
  void norm_backward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                     const NormSaved& saved, const Matrix& d_y, const Matrix& d_residual,
                     const Matrix& d_x, const Matrix& d_weight, const Matrix& d_bias) override;

  // rotary.cpp
  void rotate(const Matrix& x, std::int64_t heads, std::int64_t head_dim, std::int64_t seq_length,
              const Matrix& table, bool inverse) override;

  // attention.cpp
  void attention_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                         const Matrix& v, const Matrix& out, const AttentionSaved& saved) override;
  void attention_backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                          const Matrix& v, const Matrix& out, const AttentionSaved& saved,
                          const Matrix& d_out, const Matrix& d_q, const Matrix& d_k,
                          const Matrix& d_v) override;

  // mlp.cpp
  void swiglu_forward(const Matrix& x, const Matrix& y) override;
  void swiglu_backward(const Matrix& x, const Matrix& d_y, const Matrix& d_x) override;
  void gelu_forward(const Matrix& x, const Matrix& y) override;
  void gelu_backward(const Matrix& x, const Matrix& d_y, const Matrix& d_x) override;

  // embedding.cpp
  void embedding_forward(const Matrix& tokens, const Matrix& table, std::int64_t first_row,
                         const Matrix& out) override;
  void embedding_backward(const Matrix& tokens, const Matrix& d_out, std::int64_t first_row,
                          const Matrix& d_table) override;
  void add_positions(const Matrix& x, const Matrix& table, std::int64_t first_token,
                     std::int64_t seq_length) override;
  void positions_backward(const Matrix& d_x, std::int64_t first_token, std::int64_t seq_length,
                          const Matrix& d_table) override;

  // loss.cpp
  void cross_entropy_statistics(const Matrix& logits, const Matrix& targets, std::int64_t first_col,
                                std::int64_t valid_cols, const Matrix& statistics) override;
  void cross_entropy_combine(const Matrix& statistics, std::int64_t parts,
                             const Matrix& log_sum_exp, const Matrix& loss_sum) override;
  void cross_entropy_backward(const Matrix& logits, const Matrix& targets, std::int64_t first_col,
                              std::int64_t valid_cols, const Matrix& log_sum_exp,
                              float scale) override;

  // elementwise.cpp
  void add(const Matrix& a, const Matrix& b, const Matrix& out) override;
  void copy(const Matrix& in, const Matrix& out) override;
  void fill(const Matrix& x, float value) override;
  void scale(const Matrix& x, float factor) override;

  // optimizer.cpp
  void sum_of_squares(std::span<const Matrix> matrices, const Matrix& sum) override;
  void adamw(const AdamW& step, std::span<const OptimizerPiece> pieces) override;
  void sgd(const Sgd& step, std::span<const OptimizerPiece> pieces) override;

  // fp8.cpp
  void fp8_scales(const Matrix& x, DType format, const Matrix& scales) override;
  void cast_to_fp8(const Matrix& x, const Fp8Cast& cast, const Fp8Codes& codes) override;
  bool sums_fp8_along_rows() const override { return false; }

 private:
  void materialised_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                            const Matrix& v, const Matrix& out, const Matrix& probabilities);
  void materialised_backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                             const Matrix& v, const Matrix& probabilities, const Matrix& d_out,
                             const Matrix& d_q, const Matrix& d_k, const Matrix& d_v);
  void flash_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k, const Matrix& v,
                     const Matrix& out, const Matrix& log_sum_exp);
  void flash_backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                      const Matrix& v, const Matrix& out, const Matrix& log_sum_exp,
                      const Matrix& d_out, const Matrix& d_q, const Matrix& d_k, const Matrix& d_v);

  Workspace& workspace_;
  Team team_;
  Products products_;
};

}  // namespace kumihimo::cpu
