#include "support/emulated_cuda.hpp"

#include <string>

#include "tensor/cuda/simt/simt.hpp"
#include "tensor/cuda/simt_kernels.hpp"

namespace kumihimo::testing {
namespace {

class EmulatedCudaKernels final : public emulated_cuda::SimtKernels {
 public:
  EmulatedCudaKernels(Workspace& workspace, std::uint64_t seed)
      : SimtKernels(workspace, &gpu_), products_(make_reference_kernels(workspace)) {
    gpu_.machine.set_seed(seed);
  }

  std::string description() const override { return "CUDA kernels, emulated"; }

  void upload(const void* host, const Matrix& out) override { products_->upload(host, out); }
  void download(const Matrix& in, void* host) override { products_->download(in, host); }

  void matmul(const Matrix& a, Transpose transpose_a, const Matrix& b, Transpose transpose_b,
              const Matrix& c, Accumulate accumulate, float alpha) override {
    products_->matmul(a, transpose_a, b, transpose_b, c, accumulate, alpha);
  }

 protected:
  void batched_matmul(std::int64_t count, const emulated_cuda::MatrixBatch& a,
                      Transpose transpose_a, const emulated_cuda::MatrixBatch& b,
                      Transpose transpose_b, const emulated_cuda::MatrixBatch& c,
                      Accumulate accumulate, float alpha) override {
    const auto number = [](const emulated_cuda::MatrixBatch& batch, std::int64_t i) {
      Matrix matrix = batch.first;
      matrix.data = static_cast<std::byte*>(matrix.data) + i * batch.step * bytes_of(matrix.dtype);
      return matrix;
    };
    for (std::int64_t i = 0; i < count; ++i) {
      matmul(number(a, i), transpose_a, number(b, i), transpose_b, number(c, i), accumulate, alpha);
    }
  }

 private:
  CUstream_st gpu_;
  std::unique_ptr<Kernels> products_;
};

}  // namespace

std::unique_ptr<Kernels> make_emulated_cuda_kernels(Workspace& workspace, std::uint64_t seed) {
  return std::make_unique<EmulatedCudaKernels>(workspace, seed);
}

int largest_flash_head(DType dtype, Bytes block_bytes) {
  return emulated_cuda::largest_flash_head(dtype, block_bytes);
}

}  // namespace kumihimo::testing
