#include "tensor/cuda/cuda_kernels.hpp"

#include <fmt/format.h>
#include <utility>

#include "base/check.hpp"
#include "tensor/cuda/fp8_support.hpp"
#include "tensor/fp8_cast.hpp"
#include "tensor/gpu_attention.hpp"

namespace kumihimo::cuda {
namespace {

/// What the library's fp8 products ask of an operand: rows of whole 16 bytes.
bool is_aligned(const Matrix& x) {
  constexpr std::int64_t grain = 16;
  return x.rows % grain == 0 && x.cols % grain == 0 && x.stride % grain == 0 &&
         reinterpret_cast<std::uintptr_t>(x.data) % grain == 0;
}

}  // namespace

CudaKernels::CudaKernels(Workspace& workspace, std::shared_ptr<CudaQueue> queue,
                         const GpuFacts& facts, const GpuOptions& options,
                         std::shared_ptr<AlgorithmCache> algorithms)
    : SimtKernels(workspace, queue->stream()),
      queue_(queue),
      facts_(facts),
      options_(options),
      staging_(queue),
      products_(queue, std::move(algorithms), options.tf32, options.tune_products) {
  if (options.library_attention) attention_ = make_fused_attention(queue);
}

std::string CudaKernels::description() const {
  const std::string attention =
      attention_ ? attention_->description() + " attention where it can, else our own"
      : options_.library_attention ? "our own attention (built without cuDNN)"
                                   : "our own attention";
  return fmt::format("cuda: {}, cuBLASLt {}{}, {}{}", facts_.name, cublaslt_version(),
                     options_.tf32 ? " (fp32 products in tf32)" : "", attention,
                     has_fp8_products() ? "" : ", fp8 products in bf16");
}

void CudaKernels::upload(const void* host, const Matrix& out) {
  KUMIHIMO_CHECK(out.contiguous());
  staging_.upload(host, out.data, static_cast<std::size_t>(out.bytes()));
}

void CudaKernels::download(const Matrix& in, void* host) {
  KUMIHIMO_CHECK(in.contiguous());
  staging_.download(in.data, host, static_cast<std::size_t>(in.bytes()));
}

void CudaKernels::matmul(const Matrix& a, Transpose transpose_a, const Matrix& b,
                         Transpose transpose_b, const Matrix& c, Accumulate accumulate,
                         const ProductEpilogue& epilogue) {
  check_bias(epilogue, c, accumulate);
  Product product{a, b, c, transpose_a, transpose_b, accumulate, epilogue.alpha};
  product.bias = epilogue.bias;
  const std::int64_t depth = transpose_a == Transpose::yes ? a.rows : a.cols;
  if (depth == 0) {  // a sum of nothing
    if (accumulate == Accumulate::no) fill(c, 0);
    if (!epilogue.bias.empty()) add_bias(c, epilogue.bias);
    return;
  }
  const Workspace::Scope scope(workspace());
  if (is_fp8(a.dtype) && has_fp8_product(product)) {
    product.scale_a = static_cast<const float*>(epilogue.scale_a.data);
    product.scale_b = static_cast<const float*>(epilogue.scale_b.data);
  } else if (is_fp8(a.dtype)) {
    const auto widened = [&](const Matrix& x, const Matrix& scale) {
      const Matrix wide = workspace().take(x.rows, x.cols, DType::bf16);
      widen_fp8(x, scale, wide);
      return wide;
    };
    use_device(queue_->ordinal());
    product.a = widened(a, epilogue.scale_a);
    product.b = widened(b, epilogue.scale_b);
  }
  if (!products_.run(product, workspace())) {
    product.bias = {};
    KUMIHIMO_CHECK(products_.run(product, workspace()));
    add_bias(c, epilogue.bias);
  }
}

/// Where the GPU, the formats, the shape or the order of the operands has none, the operands become
/// bf16, which holds every fp8 number: the sums are the same but for their order.
bool CudaKernels::has_fp8_product(const Product& product) const {
  const bool along_rows =
      product.transpose_a == Transpose::no && product.transpose_b == Transpose::yes;
  return has_fp8_products() && has_fp8_product_of(product.a.dtype, product.b.dtype) &&
         (along_rows || !sums_fp8_along_rows()) && is_aligned(product.a) && is_aligned(product.b) &&
         is_aligned(product.c);
}

bool CudaKernels::sums_fp8_along_rows() const {
  return cuda::sums_fp8_along_rows(facts_.major, facts_.minor);
}

void CudaKernels::batched_matmul(std::int64_t count, const MatrixBatch& a, Transpose transpose_a,
                                 const MatrixBatch& b, Transpose transpose_b, const MatrixBatch& c,
                                 Accumulate accumulate, float alpha) {
  const Product product{a.first, b.first, c.first, transpose_a, transpose_b, accumulate,
                        alpha,   count,   a.step,  b.step,      c.step};
  KUMIHIMO_CHECK(products_.run(product, workspace()));
}

/// Heads that only the library takes here, and it has no kernel for them after all: what the flags
/// were judged by could not tell.
void CudaKernels::check_own_attention(const AttentionShape& shape, DType dtype) const {
  const std::string why =
      why_no_flash_attention(facts_, false, dtype, shape.seq_length, shape.head_dim);
  if (!why.empty()) {
    throw CudaError(why + ", and cuDNN has no kernel for them: give --attention fused-softmax");
  }
}

void CudaKernels::flash_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                                const Matrix& v, const Matrix& out, const Matrix& log_sum_exp) {
  if (attention_ && attention_->supports(shape, q, k, v)) {
    return attention_->forward(shape, q, k, v, out, log_sum_exp, workspace());
  }
  check_own_attention(shape, q.dtype);
  SimtKernels::flash_forward(shape, q, k, v, out, log_sum_exp);
}

void CudaKernels::flash_backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                                 const Matrix& v, const Matrix& out, const Matrix& log_sum_exp,
                                 const Matrix& d_out, const Matrix& d_q, const Matrix& d_k,
                                 const Matrix& d_v) {
  if (attention_ && attention_->supports(shape, q, k, v)) {
    return attention_->backward(shape, q, k, v, out, log_sum_exp, d_out, d_q, d_k, d_v,
                                workspace());
  }
  check_own_attention(shape, q.dtype);
  SimtKernels::flash_backward(shape, q, k, v, out, log_sum_exp, d_out, d_q, d_k, d_v);
}

}  // namespace kumihimo::cuda
