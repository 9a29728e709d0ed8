#pragma once

#include <cublasLt.h>
#include <map>
#include <memory>
#include <optional>

#include "tensor/cuda/algorithm_cache.hpp"
#include "tensor/cuda/cuda_queue.hpp"
#include "tensor/gpu.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo::cuda {

/// `count` products c = alpha op(a) op(b) (+ c) (+ bias) of one shape. Matrix number i of each
/// begins i times its step, in elements, after the first; a step of 0 reads one matrix for all.
struct Product {
  Matrix a, b, c;
  Transpose transpose_a = Transpose::no;
  Transpose transpose_b = Transpose::no;
  Accumulate accumulate = Accumulate::no;
  float alpha = 1;
  std::int64_t count = 1;
  std::int64_t step_a = 0, step_b = 0, step_c = 0;
  /// fp8: in the GPU's memory, multiply a and b. Null: 1.
  const float* scale_a = nullptr;
  const float* scale_b = nullptr;
  /// As ProductEpilogue's; only with count 1.
  Matrix bias = {};
};

/// Matrix products by cuBLASLt. Row-major c = a b is computed as column-major c^T = b^T a^T, which
/// is the same memory, so that nothing is transposed but what the caller asks for.
///
/// The first product of a shape times the algorithms that the library proposes, on the product's
/// own operands and into memory of its own; `tune` false takes the library's first. Algorithms that
/// add partial sums in c itself are never used: their rounding is that of c's format.
class Products {
 public:
  Products(std::shared_ptr<CudaQueue> queue, std::shared_ptr<AlgorithmCache> cache, bool tf32,
           bool tune);
  ~Products();
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  /// Both fp32, both bf16, or both fp8 of formats and in an order that the GPU has products of
  /// (fp8_support.hpp): along rows is transpose_a no and transpose_b yes. c: fp32 or bf16.
  /// False, and nothing is done, where the library does not add the bias to such a product.
  [[nodiscard]] bool run(const Product& product, Workspace& workspace);

 private:
  class Plan;
  Plan& plan_for(const Product& product);
  std::optional<ProductAlgorithm> choose(const Product& product, Plan& plan);
  double time_of(const Product& product, const Plan& plan, const ProductAlgorithm& algorithm,
                 void* output, void* scratch);
  void launch(const Product& product, const Plan& plan, const ProductAlgorithm& algorithm,
              void* output, void* scratch);

  std::shared_ptr<CudaQueue> queue_;
  std::shared_ptr<AlgorithmCache> cache_;
  bool tf32_;
  bool tune_;
  cublasLtHandle_t handle_ = nullptr;
  std::map<ProductKey, std::unique_ptr<Plan>> plans_;
};

/// "13.1.0"
std::string cublaslt_version();

}  // namespace kumihimo::cuda
