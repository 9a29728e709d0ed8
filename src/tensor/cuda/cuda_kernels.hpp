#pragma once

#include <memory>
#include <string>

#include "tensor/cuda/cuda_memory.hpp"
#include "tensor/cuda/fp8_support.hpp"
#include "tensor/cuda/fused_attention.hpp"
#include "tensor/cuda/products.hpp"
#include "tensor/cuda/simt_kernels.hpp"
#include "tensor/gpu.hpp"

namespace kumihimo::cuda {

/// The back end on a GPU: NVIDIA's libraries for matrix products and, where it can, for flash
/// attention; our own kernels for everything else.
class CudaKernels final : public SimtKernels {
 public:
  CudaKernels(Workspace& workspace, std::shared_ptr<CudaQueue> queue, const GpuFacts& facts,
              const GpuOptions& options, std::shared_ptr<AlgorithmCache> algorithms);

  std::string description() const override;
  void upload(const void* host, const Matrix& out) override;
  void download(const Matrix& in, void* host) override;
  void matmul(const Matrix& a, Transpose transpose_a, const Matrix& b, Transpose transpose_b,
              const Matrix& c, Accumulate accumulate, const ProductEpilogue& epilogue) override;
  bool sums_fp8_along_rows() const override;

 protected:
  void batched_matmul(std::int64_t count, const MatrixBatch& a, Transpose transpose_a,
                      const MatrixBatch& b, Transpose transpose_b, const MatrixBatch& c,
                      Accumulate accumulate, float alpha) override;
  void flash_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k, const Matrix& v,
                     const Matrix& out, const Matrix& log_sum_exp) override;
  void flash_backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                      const Matrix& v, const Matrix& out, const Matrix& log_sum_exp,
                      const Matrix& d_out, const Matrix& d_q, const Matrix& d_k,
                      const Matrix& d_v) override;

 private:
  bool has_fp8_product(const Product& product) const;
  void check_own_attention(const AttentionShape& shape, DType dtype) const;
  bool has_fp8_products() const { return cuda::has_fp8_products(facts_.major, facts_.minor); }

  std::shared_ptr<CudaQueue> queue_;
  GpuFacts facts_;
  GpuOptions options_;
  Staging staging_;
  Products products_;
  std::unique_ptr<FusedAttention> attention_;  ///< none: our own kernels
};

}  // namespace kumihimo::cuda
