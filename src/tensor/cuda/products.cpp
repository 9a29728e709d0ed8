#include "tensor/cuda/products.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <limits>
#include <source_location>
#include <vector>

#include "base/check.hpp"
#include "tensor/cuda/fp8_support.hpp"
#include "tensor/cuda/library_scratch.hpp"

namespace kumihimo::cuda {
namespace {

/// What NVIDIA recommends for Hopper; the algorithms of large products use it, those of small ones
/// ask for less.
constexpr std::size_t most_workspace_bytes = std::size_t{32} << 20;
constexpr int most_candidates = 8;
constexpr int timed_runs = 3;
/// Below this many FLOPs a launch takes longer than the product, whatever the algorithm.
constexpr double worth_timing_flop = 1e8;
constexpr std::int64_t best_alignment = 256;

void check(cublasStatus_t status, std::source_location where = std::source_location::current()) {
  if (status != CUBLAS_STATUS_SUCCESS) fail("cuBLASLt", cublasLtGetStatusString(status), where);
}

cudaDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::fp32: return CUDA_R_32F;
    case DType::bf16: return CUDA_R_16BF;
    case DType::fp8_e4m3: return CUDA_R_8F_E4M3;
    case DType::fp8_e5m2: return CUDA_R_8F_E5M2;
    case DType::fp64:
    case DType::int32: break;
  }
  KUMIHIMO_CHECK(false && "a dtype that has products");
}

/// Bytes of which the address of every row, of every matrix of the batch, is a multiple.
std::int64_t alignment_of(const Matrix& x, std::int64_t step) {
  const std::int64_t bits = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(x.data)) |
                            step * bytes_of(x.dtype) | best_alignment;
  return bits & -bits;
}

/// A row of one element may state any stride.
std::int64_t leading_dimension(const Matrix& x) { return std::max(x.stride, x.cols); }

class Layout {
 public:
  Layout(const Matrix& x, std::int64_t count, std::int64_t step) {
    // Column-major: the row-major matrix's rows are its columns.
    check(cublasLtMatrixLayoutCreate(&layout_, data_type(x.dtype),
                                     static_cast<std::uint64_t>(x.cols),
                                     static_cast<std::uint64_t>(x.rows), leading_dimension(x)));
    if (count == 1) return;
    const auto batches = static_cast<std::int32_t>(count);
    check(cublasLtMatrixLayoutSetAttribute(layout_, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batches,
                                           sizeof batches));
    check(cublasLtMatrixLayoutSetAttribute(layout_, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                           &step, sizeof step));
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(layout_); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;

  cublasLtMatrixLayout_t get() const { return layout_; }

 private:
  cublasLtMatrixLayout_t layout_ = nullptr;
};

class Operation {
 public:
  Operation(const Product& product, bool tf32) {
    const bool fast = tf32 && product.a.dtype == DType::fp32;
    check(cublasLtMatmulDescCreate(
        &operation_, fast ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F));
    // The library's first operand is our second.
    set(CUBLASLT_MATMUL_DESC_TRANSA, as_library(product.transpose_b));
    set(CUBLASLT_MATMUL_DESC_TRANSB, as_library(product.transpose_a));
  }
  ~Operation() { cublasLtMatmulDescDestroy(operation_); }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, Value value) const {
    check(cublasLtMatmulDescSetAttribute(operation_, attribute, &value, sizeof value));
  }
  cublasLtMatmulDesc_t get() const { return operation_; }

 private:
  static cublasOperation_t as_library(Transpose transpose) {
    return transpose == Transpose::yes ? CUBLAS_OP_T : CUBLAS_OP_N;
  }
  cublasLtMatmulDesc_t operation_ = nullptr;
};

class Preference {
 public:
  Preference() { check(cublasLtMatmulPreferenceCreate(&preference_)); }
  ~Preference() { cublasLtMatmulPreferenceDestroy(preference_); }
  Preference(const Preference&) = delete;
  Preference& operator=(const Preference&) = delete;

  template <class Value>
  void set(cublasLtMatmulPreferenceAttributes_t attribute, Value value) {
    check(cublasLtMatmulPreferenceSetAttribute(preference_, attribute, &value, sizeof value));
  }
  cublasLtMatmulPreference_t get() const { return preference_; }

 private:
  cublasLtMatmulPreference_t preference_ = nullptr;
};

/// Memory of the stream for as long as a measurement lasts; nothing where there is none left.
class Scratch {
 public:
  Scratch(std::size_t bytes, cudaStream_t stream) : stream_(stream) {
    if (bytes == 0) return;
    if (cudaMallocAsync(&data_, bytes, stream) == cudaSuccess) return;
    data_ = nullptr;
    static_cast<void>(cudaGetLastError());
  }
  ~Scratch() {
    if (data_ != nullptr) cudaFreeAsync(data_, stream_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* data() const { return data_; }

 private:
  cudaStream_t stream_;
  void* data_ = nullptr;
};

ProductKey key_of(const Product& p, bool tf32) {
  const auto flags = static_cast<std::int64_t>(p.transpose_a == Transpose::yes) |
                     static_cast<std::int64_t>(p.transpose_b == Transpose::yes) << 1 |
                     static_cast<std::int64_t>(p.accumulate == Accumulate::yes) << 2 |
                     static_cast<std::int64_t>(tf32) << 3 |
                     static_cast<std::int64_t>(p.scale_a != nullptr || p.scale_b != nullptr) << 4 |
                     static_cast<std::int64_t>(!p.bias.empty()) << 5;
  const auto types = static_cast<std::int64_t>(p.a.dtype) |
                     static_cast<std::int64_t>(p.b.dtype) << 8 |
                     static_cast<std::int64_t>(p.c.dtype) << 16;
  return {p.a.rows,
          p.a.cols,
          leading_dimension(p.a),
          p.b.rows,
          p.b.cols,
          leading_dimension(p.b),
          p.c.rows,
          p.c.cols,
          leading_dimension(p.c),
          p.count,
          p.step_a,
          p.step_b,
          p.step_c,
          flags,
          types,
          alignment_of(p.a, p.step_a),
          alignment_of(p.b, p.step_b),
          alignment_of(p.c, p.step_c),
          p.bias.empty() ? 0 : alignment_of(p.bias, 0)};
}

/// To fp32 sums of fp8 products the library adds a bias of bf16 only. Epilogues have been seen to
/// read biases in vectors, whatever their address.
bool adds_bias(const Product& p) {
  constexpr std::int64_t vector_bytes = 16;
  return (!is_fp8(p.a.dtype) || p.c.dtype == DType::bf16) &&
         alignment_of(p.bias, 0) >= vector_bytes;
}

double flop_of(const Product& p) {
  const std::int64_t depth = p.transpose_a == Transpose::yes ? p.a.rows : p.a.cols;
  return 2.0 * static_cast<double>(p.count) * static_cast<double>(p.c.rows) *
         static_cast<double>(p.c.cols) * static_cast<double>(depth);
}

std::string text_of(const Product& p) {
  return fmt::format("{} x [{}, {}]{} [{}, {}]{} of {} and {} into {}", p.count, p.a.rows, p.a.cols,
                     p.transpose_a == Transpose::yes ? "^T" : "", p.b.rows, p.b.cols,
                     p.transpose_b == Transpose::yes ? "^T" : "", to_string(p.a.dtype),
                     to_string(p.b.dtype), to_string(p.c.dtype));
}

void check_shapes(const Product& p) {
  const auto shape = [](const Matrix& x, Transpose transpose) {
    return transpose == Transpose::yes ? std::pair(x.cols, x.rows) : std::pair(x.rows, x.cols);
  };
  const auto [rows, depth] = shape(p.a, p.transpose_a);
  const auto [depth_b, cols] = shape(p.b, p.transpose_b);
  KUMIHIMO_CHECK(depth == depth_b && rows == p.c.rows && cols == p.c.cols);
  KUMIHIMO_CHECK(p.a.dtype == p.b.dtype || (is_fp8(p.a.dtype) && is_fp8(p.b.dtype)));
  KUMIHIMO_CHECK(p.accumulate == Accumulate::no || p.c.dtype == DType::fp32);
  KUMIHIMO_CHECK(p.bias.empty() || p.count == 1);
}

}  // namespace

/// What the library wants to know of a product before it is given the data.
class Products::Plan {
 public:
  Plan(const Product& p, bool tf32)
      : operation(p, tf32),
        a(p.b, p.count, p.step_b),
        b(p.a, p.count, p.step_a),
        c(p.c, p.count, p.step_c) {}

  Operation operation;
  Layout a, b, c;  ///< as the library counts: a is our b
  std::optional<ProductAlgorithm> algorithm;
};

Products::Products(std::shared_ptr<CudaQueue> queue, std::shared_ptr<AlgorithmCache> cache,
                   bool tf32, bool tune)
    : queue_(std::move(queue)), cache_(std::move(cache)), tf32_(tf32), tune_(tune) {
  use_device(queue_->ordinal());
  check(cublasLtCreate(&handle_));
}

Products::~Products() {
  plans_.clear();
  cublasLtDestroy(handle_);
}

bool Products::run(const Product& product, Workspace& workspace) {
  check_shapes(product);
  if (product.c.elements() == 0 || product.count == 0) return true;
  if (!product.bias.empty() && !adds_bias(product)) return false;
  use_device(queue_->ordinal());
  Plan& plan = plan_for(product);
  if (!plan.algorithm) return false;
  const ProductAlgorithm& algorithm = *plan.algorithm;
  const Workspace::Scope scope(workspace);
  void* scratch = take_scratch(workspace, static_cast<std::int64_t>(algorithm.workspace_bytes));
  launch(product, plan, algorithm, product.c.data, scratch);
  return true;
}

Products::Plan& Products::plan_for(const Product& product) {
  const ProductKey key = key_of(product, tf32_);
  std::unique_ptr<Plan>& plan = plans_[key];
  if (plan) return *plan;
  queue_->refuse_in_recording("a new product was planned");
  auto made = std::make_unique<Plan>(product, tf32_);
  if (is_fp8(product.a.dtype)) {
    // Null pointers say 1, but whether there are any decides what is possible.
    made->operation.set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, product.scale_b);
    made->operation.set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, product.scale_a);
    made->operation.set(CUBLASLT_MATMUL_DESC_FAST_ACCUM,
                        static_cast<std::int8_t>(sums_fp8_fast(product.a.dtype, product.b.dtype)));
  }
  if (!product.bias.empty()) {
    made->operation.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    made->operation.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, data_type(product.bias.dtype));
    // Its alignment, too, decides.
    made->operation.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, product.bias.data);
  }
  made->algorithm = cache_->find(key);
  if (!made->algorithm) {
    made->algorithm = choose(product, *made);
    if (made->algorithm) made->algorithm = cache_->keep(key, *made->algorithm);
  }
  plan = std::move(made);
  return *plan;
}

/// None: of products with a bias alone.
std::optional<ProductAlgorithm> Products::choose(const Product& product, Plan& plan) {
  Preference preference;
  preference.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, most_workspace_bytes);
  preference.set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                 static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  const auto alignment = [](const Matrix& x, std::int64_t step) {
    return static_cast<std::uint32_t>(alignment_of(x, step));
  };
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(product.b, product.step_b));
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(product.a, product.step_a));
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(product.c, product.step_c));
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(product.c, product.step_c));

  std::vector<cublasLtMatmulHeuristicResult_t> found(most_candidates);
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      handle_, plan.operation.get(), plan.a.get(), plan.b.get(), plan.c.get(), plan.c.get(),
      preference.get(), most_candidates, found.data(), &count);
  if (status != CUBLAS_STATUS_SUCCESS || count == 0) {
    if (!product.bias.empty()) return std::nullopt;
    fail("cuBLASLt", fmt::format("has no algorithm for {}", text_of(product)),
         std::source_location::current());
  }
  found.resize(static_cast<std::size_t>(count));
  std::vector<ProductAlgorithm> candidates;
  for (const cublasLtMatmulHeuristicResult_t& each : found) {
    if (each.state == CUBLAS_STATUS_SUCCESS) {
      candidates.push_back({each.algo, each.workspaceSize});
    }
  }
  KUMIHIMO_CHECK(!candidates.empty());
  if (!tune_ || candidates.size() == 1 || flop_of(product) < worth_timing_flop) {
    return candidates.front();
  }

  // c is read where it is accumulated to, and must not change: results go elsewhere.
  const std::int64_t span =
      (product.count - 1) * product.step_c + product.c.rows * leading_dimension(product.c);
  const Scratch output(static_cast<std::size_t>(span * bytes_of(product.c.dtype)),
                       queue_->stream());
  const Scratch scratch(most_workspace_bytes, queue_->stream());
  if (output.data() == nullptr || scratch.data() == nullptr) return candidates.front();
  ProductAlgorithm best = candidates.front();
  double least_s = std::numeric_limits<double>::infinity();
  for (const ProductAlgorithm& candidate : candidates) {
    const double seconds = time_of(product, plan, candidate, output.data(), scratch.data());
    if (seconds >= least_s) continue;
    least_s = seconds;
    best = candidate;
  }
  return best;
}

/// The best of some runs, after one that loads the kernel; infinite where it cannot run.
double Products::time_of(const Product& product, const Plan& plan,
                         const ProductAlgorithm& algorithm, void* output, void* scratch) {
  double least_s = std::numeric_limits<double>::infinity();
  try {
    launch(product, plan, algorithm, output, scratch);
    for (int run = 0; run < timed_runs; ++run) {
      // Keeps the GPU busy while it is given what is timed: else that would begin when the first
      // event is reached, and the time that the host takes to launch be part of it.
      launch(product, plan, algorithm, output, scratch);
      const auto begin = queue_->timed_point();
      launch(product, plan, algorithm, output, scratch);
      const auto end = queue_->timed_point();
      queue_->synchronize();
      least_s = std::min(least_s, end->seconds_since(*begin));
    }
  } catch (const CudaError&) {              // the heuristic proposed what the library then refuses
    static_cast<void>(cudaGetLastError());  // and CUDA would tell whoever asks next
  }
  return least_s;
}

void Products::launch(const Product& product, const Plan& plan, const ProductAlgorithm& algorithm,
                      void* output, void* scratch) {
  if (product.scale_a != nullptr || product.scale_b != nullptr) {
    plan.operation.set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, product.scale_b);
    plan.operation.set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, product.scale_a);
  }
  if (!product.bias.empty()) {
    plan.operation.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, product.bias.data);
  }
  const float beta = product.accumulate == Accumulate::yes ? 1.0f : 0.0f;
  check(cublasLtMatmul(handle_, plan.operation.get(), &product.alpha, product.b.data, plan.a.get(),
                       product.a.data, plan.b.get(), &beta, product.c.data, plan.c.get(), output,
                       plan.c.get(), &algorithm.algorithm, scratch, algorithm.workspace_bytes,
                       queue_->stream()));
}

std::string cublaslt_version() {
  const std::size_t version = cublasLtGetVersion();  // 130100: 13.1.0
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace kumihimo::cuda
