// cuDNN's fused attention through its graph API, in C: a graph of matrix products, point-wise
// operations and reductions that the library recognises and runs as one kernel. Nothing else of the
// program knows of cuDNN.
//
// Which graph means attention is said in NVIDIA's cuDNN developer guide ("Fused Flash Attention
// fprop, bprop"). Dimensions are [batch, head, row, column] with any strides, so that matrices of
// tokens x features need no copy.

#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

#include "base/check.hpp"
#include "tensor/cuda/cudnn/operation_graph.hpp"
#include "tensor/cuda/fused_attention.hpp"
#include "tensor/gpu_attention.hpp"

namespace kumihimo::cuda {
namespace {

/// What a plan depends on: the shape, and the strides of q and of k and v.
using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                       std::int64_t, std::int64_t, std::int64_t>;

/// [batch, heads, tokens of a sequence, head_dim] in a matrix of tokens x features.
struct Heads {
  Extent sizes, strides;
  Heads(const AttentionShape& shape, std::int64_t heads, std::int64_t stride)
      : sizes{shape.sequences, heads, shape.seq_length, shape.head_dim},
        strides{shape.seq_length * stride, shape.head_dim, stride, 1} {}
  Extent transposed_sizes() const { return {sizes[0], sizes[1], sizes[3], sizes[2]}; }
  Extent transposed_strides() const { return {strides[0], strides[1], strides[3], strides[2]}; }
};

constexpr cudnnDataType_t stored = CUDNN_DATA_BFLOAT16;

/// Both passes of one shape. What lies in log_sum_exp is [batch, head, row].
class Attention {
 public:
  Attention(const AttentionShape& shape, std::int64_t q_stride, std::int64_t kv_stride)
      : shape_(shape), q_stride_(q_stride), kv_stride_(kv_stride) {
    scale_ = static_cast<float>(1 / std::sqrt(static_cast<double>(shape.head_dim)));
    build_forward();
    build_backward();
  }

  const Graph& forward_graph() const { return forward_; }
  const Graph& backward_graph() const { return backward_; }

  bool plan(cudnnHandle_t handle) { return forward_.plan(handle) && backward_.plan(handle); }

  void forward(cudnnHandle_t handle, const Matrix& q, const Matrix& k, const Matrix& v,
               const Matrix& out, const Matrix& log_sum_exp, Workspace& workspace) {
    const Workspace::Scope scope(workspace);
    forward_.run(handle,
                 {{f_.q.id, q.data},
                  {f_.k.id, k.data},
                  {f_.v.id, v.data},
                  {f_.out.id, out.data},
                  {f_.stats.id, log_sum_exp.data},
                  {f_.scale.id, &scale_},
                  {f_.masked.id, &masked_}},
                 workspace);
  }

  void backward(cudnnHandle_t handle, const Matrix& q, const Matrix& k, const Matrix& v,
                const Matrix& out, const Matrix& log_sum_exp, const Matrix& d_out,
                const Matrix& d_q, const Matrix& d_k, const Matrix& d_v, Workspace& workspace) {
    const Workspace::Scope scope(workspace);
    const std::int64_t rows = shape_.sequences * shape_.heads * shape_.seq_length;
    const Matrix sums = workspace.take(rows, 1, DType::fp32);
    const Matrix query_sums = workspace.take(rows, shape_.head_dim, DType::fp32);
    // Blocks add to these in any order, to what is there.
    cudaStream_t stream = nullptr;
    check(cudnnGetStream(handle, &stream));
    check(
        cudaMemsetAsync(query_sums.data, 0, static_cast<std::size_t>(query_sums.bytes()), stream));
    backward_.run(handle,
                  {{b_.q.id, q.data},
                   {b_.k.id, k.data},
                   {b_.v.id, v.data},
                   {b_.out.id, out.data},
                   {b_.d_out.id, d_out.data},
                   {b_.stats.id, log_sum_exp.data},
                   {b_.d_q.id, d_q.data},
                   {b_.d_k.id, d_k.data},
                   {b_.d_v.id, d_v.data},
                   {b_.sums.id, sums.data},
                   {b_.query_sums.id, query_sums.data},
                   {b_.scale.id, &scale_},
                   {b_.one.id, &one_},
                   {b_.masked.id, &masked_}},
                  workspace);
  }

 private:
  Heads queries() const { return {shape_, shape_.heads, q_stride_}; }
  Heads keys() const { return {shape_, shape_.kv_heads, kv_stride_}; }
  /// Of outputs and gradients of outputs, which are matrices of their own.
  Heads outputs() const { return {shape_, shape_.heads, shape_.heads * shape_.head_dim}; }
  Extent score_sizes() const {
    return {shape_.sequences, shape_.heads, shape_.seq_length, shape_.seq_length};
  }
  Extent score_strides() const {
    const std::int64_t s = shape_.seq_length;
    return {shape_.heads * s * s, s * s, s, 1};
  }
  Extent row_sizes() const { return {shape_.sequences, shape_.heads, shape_.seq_length, 1}; }
  Extent row_strides() const { return {shape_.heads * shape_.seq_length, shape_.seq_length, 1, 1}; }

  /// x where the column is not after the row, else `masked`.
  Node causal(Graph& graph, const Node& x, const Node& masked) const {
    const auto index = [&](std::int64_t axis) {
      const Node y = graph.between(x.sizes, x.strides, CUDNN_DATA_INT32);
      graph.pointwise(CUDNN_POINTWISE_GEN_INDEX, x, nullptr, nullptr, y, CUDNN_DATA_INT32, axis);
      return y;
    };
    const Node row = index(2), column = index(3);
    const Node seen = graph.between(x.sizes, x.strides, CUDNN_DATA_BOOLEAN);
    graph.pointwise(CUDNN_POINTWISE_CMP_GE, row, &column, nullptr, seen, CUDNN_DATA_BOOLEAN);
    const Node y = graph.between(x.sizes, x.strides);
    graph.pointwise(CUDNN_POINTWISE_BINARY_SELECT, x, &masked, &seen, y);
    return y;
  }

  void build_forward() {
    Graph& g = forward_;
    f_.q = g.given(queries().sizes, queries().strides, stored);
    f_.k = g.given(keys().transposed_sizes(), keys().transposed_strides(), stored);
    f_.v = g.given(keys().sizes, keys().strides, stored);
    f_.out = g.given(outputs().sizes, outputs().strides, stored);
    f_.stats = g.given(row_sizes(), row_strides(), CUDNN_DATA_FLOAT);
    f_.scale = g.value();
    f_.masked = g.value();

    const Node products = g.between(score_sizes(), score_strides());
    g.product(f_.q, f_.k, products);
    const Node scores = causal(g, g.pointwise(CUDNN_POINTWISE_MUL, products, &f_.scale), f_.masked);
    const Node largest = g.between(row_sizes(), row_strides());
    g.reduce(CUDNN_REDUCE_TENSOR_MAX, scores, largest);
    const Node exponentials =
        g.pointwise(CUDNN_POINTWISE_EXP, g.pointwise(CUDNN_POINTWISE_SUB, scores, &largest));
    const Node sum = g.between(row_sizes(), row_strides());
    g.reduce(CUDNN_REDUCE_TENSOR_ADD, exponentials, sum);
    const Node logarithm = g.pointwise(CUDNN_POINTWISE_LOG, sum);
    g.pointwise(CUDNN_POINTWISE_ADD, largest, &logarithm, nullptr, f_.stats);
    const Node probabilities = g.between(score_sizes(), score_strides(), stored);
    g.pointwise(CUDNN_POINTWISE_DIV, exponentials, &sum, nullptr, probabilities);
    g.product(probabilities, f_.v, f_.out);
  }

  void build_backward() {
    Graph& g = backward_;
    b_.q = g.given(queries().sizes, queries().strides, stored);
    b_.k = g.given(keys().transposed_sizes(), keys().transposed_strides(), stored);
    b_.v = g.given(keys().transposed_sizes(), keys().transposed_strides(), stored);
    b_.out = g.given(outputs().sizes, outputs().strides, stored);
    b_.d_out = g.given(outputs().sizes, outputs().strides, stored);
    b_.stats = g.given(row_sizes(), row_strides(), CUDNN_DATA_FLOAT);
    b_.d_q = g.given(queries().sizes, queries().strides, stored);
    b_.d_k = g.given(keys().sizes, keys().strides, stored);
    b_.d_v = g.given(keys().sizes, keys().strides, stored);
    b_.scale = g.value();
    b_.one = g.value();
    b_.masked = g.value();
    const Extent packed = {shape_.heads * shape_.seq_length * shape_.head_dim,
                           shape_.seq_length * shape_.head_dim, shape_.head_dim, 1};
    b_.sums = g.given(row_sizes(), row_strides(), CUDNN_DATA_FLOAT);
    b_.query_sums = g.given(queries().sizes, packed, CUDNN_DATA_FLOAT);

    // The sum of d_out out over each head.
    const Node overlap = g.between(queries().sizes, packed);
    g.pointwise(CUDNN_POINTWISE_MUL, b_.d_out, &b_.out, nullptr, overlap);
    const Node row_sum = g.between(row_sizes(), row_strides());
    g.reduce(CUDNN_REDUCE_TENSOR_ADD, overlap, row_sum);
    g.pointwise(CUDNN_POINTWISE_MUL, row_sum, &b_.one, nullptr, b_.sums);

    // The probabilities again, and with them the gradient of v.
    const Node products = g.between(score_sizes(), score_strides());
    g.product(b_.q, b_.k, products);
    const Node scaled = g.pointwise(CUDNN_POINTWISE_MUL, products, &b_.scale);
    const Node shifted = g.pointwise(CUDNN_POINTWISE_SUB, scaled, &b_.stats);
    const Node probabilities = g.pointwise(CUDNN_POINTWISE_EXP, causal(g, shifted, b_.masked));
    product_over_rows(probabilities, b_.d_out, b_.d_v, packed);

    // The gradient of the scores, and with it those of k and q.
    const Node d_probabilities = g.between(score_sizes(), score_strides());
    g.product(b_.d_out, b_.v, d_probabilities);
    const Node centred = g.pointwise(CUDNN_POINTWISE_SUB, d_probabilities, &b_.sums);
    const Node weighted = g.pointwise(CUDNN_POINTWISE_MUL, centred, &probabilities);
    const Node d_scores = g.pointwise(CUDNN_POINTWISE_MUL, weighted, &b_.scale);
    product_over_rows(d_scores, b_.q, b_.d_k, packed);
    g.product(d_scores, g.transposed(b_.k, stored), b_.query_sums);
    g.pointwise(CUDNN_POINTWISE_IDENTITY, b_.query_sums, nullptr, nullptr, b_.d_q);
  }

  /// result = x^T y, of each head; summed over the query heads of a key/value head.
  void product_over_rows(const Node& x, const Node& y, const Node& result, const Extent& packed) {
    Graph& g = backward_;
    const Node turned = g.transposed(x, stored);
    if (shape_.heads == shape_.kv_heads) return g.product(turned, y, result);
    const Node of_all_heads = g.between(queries().sizes, packed, stored);
    g.product(turned, y, of_all_heads);
    g.reduce(CUDNN_REDUCE_TENSOR_ADD, of_all_heads, result);
  }

  AttentionShape shape_;
  std::int64_t q_stride_, kv_stride_;
  float scale_;
  float one_ = 1;
  float masked_ = std::numeric_limits<float>::lowest();
  Graph forward_, backward_;
  struct {
    Node q, k, v, out, stats, scale, masked;
  } f_;
  struct {
    Node q, k, v, out, d_out, stats, d_q, d_k, d_v, scale, one, masked, sums, query_sums;
  } b_;
};

class CudnnAttention final : public FusedAttention {
 public:
  explicit CudnnAttention(std::shared_ptr<CudaQueue> queue) : queue_(std::move(queue)) {
    use_device(queue_->ordinal());
    check(cudnnCreate(&handle_));
    check(cudnnSetStream(handle_, queue_->stream()));
  }
  ~CudnnAttention() override {
    plans_.clear();
    cudnnDestroy(handle_);
  }
  CudnnAttention(const CudnnAttention&) = delete;
  CudnnAttention& operator=(const CudnnAttention&) = delete;

  bool supports(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                const Matrix& v) override {
    return plan_for(shape, q, k, v) != nullptr;
  }

  void forward(const AttentionShape& shape, const Matrix& q, const Matrix& k, const Matrix& v,
               const Matrix& out, const Matrix& log_sum_exp, Workspace& workspace) override {
    KUMIHIMO_CHECK(out.contiguous() && log_sum_exp.contiguous());
    plan_for(shape, q, k, v)->forward(handle_, q, k, v, out, log_sum_exp, workspace);
  }

  void backward(const AttentionShape& shape, const Matrix& q, const Matrix& k, const Matrix& v,
                const Matrix& out, const Matrix& log_sum_exp, const Matrix& d_out,
                const Matrix& d_q, const Matrix& d_k, const Matrix& d_v,
                Workspace& workspace) override {
    KUMIHIMO_CHECK(out.contiguous() && d_out.contiguous() && d_q.stride == q.stride &&
                   d_k.stride == k.stride && d_v.stride == v.stride);
    plan_for(shape, q, k, v)
        ->backward(handle_, q, k, v, out, log_sum_exp, d_out, d_q, d_k, d_v, workspace);
  }

  std::string description() const override { return "cuDNN " + fused_attention_version(); }

 private:
  /// Null where the library has no kernel for both passes.
  Attention* plan_for(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                      const Matrix& v) {
    constexpr std::int64_t dim_grain = 8;
    const auto aligned = [](const Matrix& x) {
      return reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0 && x.stride % dim_grain == 0;
    };
    if (!suits_library_attention(q.dtype, shape.seq_length, shape.head_dim) ||
        k.stride != v.stride || !aligned(q) || !aligned(k) || !aligned(v)) {
      return nullptr;
    }
    const Key key{shape.sequences, shape.seq_length, shape.heads, shape.kv_heads,
                  shape.head_dim,  q.stride,         k.stride,    v.stride};
    if (!plans_.contains(key)) queue_->refuse_in_recording("a new attention was planned");
    const auto [found, is_new] = plans_.try_emplace(key);
    if (is_new) {
      use_device(queue_->ordinal());
      try {
        auto attention = std::make_unique<Attention>(shape, q.stride, k.stride);
        if (attention->plan(handle_)) found->second = std::move(attention);
      } catch (const CudaError&) {  // no such operation in this version, or on this GPU
      }
    }
    return found->second.get();
  }

  std::shared_ptr<CudaQueue> queue_;
  cudnnHandle_t handle_ = nullptr;
  std::map<Key, std::unique_ptr<Attention>> plans_;
};

}  // namespace

std::unique_ptr<FusedAttention> make_fused_attention(std::shared_ptr<CudaQueue> queue) {
  return std::make_unique<CudnnAttention>(std::move(queue));
}

std::string fused_attention_version() {
  const std::size_t version = cudnnGetVersion();  // 91900: 9.19.0
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace kumihimo::cuda
