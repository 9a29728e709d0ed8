// cuDNN's fused attention through its graph API, in C: a graph of matrix products, point-wise
// operations and reductions that the library recognises and runs as one kernel. Nothing else of the
// program knows of cuDNN.
//
// Which graph means attention is said in NVIDIA's cuDNN developer guide ("Fused Flash Attention
// fprop, bprop"). Dimensions are [batch, head, row, column] with any strides, so that matrices of
// tokens x features need no copy.

#include <cmath>
#include <cudnn.h>
#include <cudnn_graph.h>
#include <fmt/format.h>
#include <limits>
#include <map>
#include <source_location>
#include <tuple>
#include <utility>
#include <vector>

#include "base/check.hpp"
#include "tensor/cuda/fused_attention.hpp"

namespace kumihimo::cuda {
namespace {

void check(cudnnStatus_t status, std::source_location where = std::source_location::current()) {
  if (status != CUDNN_STATUS_SUCCESS) fail("cuDNN", cudnnGetErrorString(status), where);
}

using Extent = std::vector<std::int64_t>;  ///< of four dimensions: sizes, or strides

/// Owns a descriptor of the graph API.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) {
    check(cudnnBackendCreateDescriptor(type, &descriptor_));
  }
  ~Descriptor() {
    if (descriptor_ != nullptr) cudnnBackendDestroyDescriptor(descriptor_);
  }
  Descriptor(Descriptor&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, nullptr)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor& operator=(Descriptor&&) = delete;

  cudnnBackendDescriptor_t get() const { return descriptor_; }

  template <class Value>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const Value& value) {
    check(cudnnBackendSetAttribute(descriptor_, name, type, 1, &value));
  }
  template <class Value>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
           const std::vector<Value>& values) {
    check(cudnnBackendSetAttribute(descriptor_, name, type, std::ssize(values), values.data()));
  }
  void set(cudnnBackendAttributeName_t name, const Descriptor& other) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, other.descriptor_);
  }
  void finalize() { check(cudnnBackendFinalize(descriptor_)); }

 private:
  cudnnBackendDescriptor_t descriptor_ = nullptr;
};

/// A tensor of a graph.
struct Node {
  std::int64_t id = 0;
  Extent sizes, strides;
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  const Descriptor* descriptor = nullptr;
};

/// Where a tensor of a graph lies when the graph is run.
struct Place {
  std::int64_t id;
  void* data;
};

/// Builds a graph, operation by operation, and a plan to run it.
class Graph {
 public:
  enum class Kind { given, between, by_value };

  Node tensor(Kind kind, const Extent& sizes, const Extent& strides, cudnnDataType_t type) {
    constexpr std::int64_t alignment = 16;
    Descriptor descriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    const std::int64_t id = ++last_id_;
    descriptor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id);
    descriptor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type);
    descriptor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, alignment);
    descriptor.set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, sizes);
    descriptor.set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, strides);
    descriptor.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, kind == Kind::between);
    descriptor.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, kind == Kind::by_value);
    descriptor.finalize();
    return {id, sizes, strides, type, &keep(std::move(descriptor))};
  }
  Node given(const Extent& sizes, const Extent& strides, cudnnDataType_t type) {
    return tensor(Kind::given, sizes, strides, type);
  }
  Node between(const Extent& sizes, const Extent& strides,
               cudnnDataType_t type = CUDNN_DATA_FLOAT) {
    return tensor(Kind::between, sizes, strides, type);
  }
  Node value() { return tensor(Kind::by_value, {1, 1, 1, 1}, {1, 1, 1, 1}, CUDNN_DATA_FLOAT); }

  /// c = a b, summed in fp32.
  void product(const Node& a, const Node& b, const Node& c) {
    Descriptor how(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    how.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
    how.finalize();
    Descriptor operation(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, *a.descriptor);
    operation.set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, *b.descriptor);
    operation.set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, *c.descriptor);
    operation.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, keep(std::move(how)));
    add(std::move(operation));
  }

  /// y = mode(x), or mode(x, b), or b where t says no.
  void pointwise(cudnnPointwiseMode_t mode, const Node& x, const Node* b, const Node* t,
                 const Node& y, cudnnDataType_t compute = CUDNN_DATA_FLOAT,
                 std::int64_t axis = -1) {
    Descriptor how(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode);
    how.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, compute);
    if (axis >= 0) how.set(CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, axis);
    how.finalize();
    Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, keep(std::move(how)));
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, *x.descriptor);
    if (b != nullptr) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b->descriptor);
    if (t != nullptr) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, *t->descriptor);
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, *y.descriptor);
    add(std::move(operation));
  }
  /// The same into a new tensor between operations.
  Node pointwise(cudnnPointwiseMode_t mode, const Node& x, const Node* b = nullptr) {
    const Node y = between(x.sizes, x.strides);
    pointwise(mode, x, b, nullptr, y);
    return y;
  }

  void reduce(cudnnReduceTensorOp_t how_to, const Node& x, const Node& y) {
    Descriptor how(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    how.set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, how_to);
    how.set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
    how.finalize();
    Descriptor operation(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, *x.descriptor);
    operation.set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, *y.descriptor);
    operation.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, keep(std::move(how)));
    add(std::move(operation));
  }

  /// The same elements with rows and columns exchanged.
  Node transposed(const Node& x, cudnnDataType_t type) {
    const Node y = between({x.sizes[0], x.sizes[1], x.sizes[3], x.sizes[2]},
                           {x.strides[0], x.strides[1], x.strides[3], x.strides[2]}, type);
    Descriptor operation(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, *x.descriptor);
    operation.set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, *y.descriptor);
    add(std::move(operation));
    return y;
  }

  /// False where no engine of the library can run it.
  bool plan(cudnnHandle_t handle) {
    Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    std::vector<cudnnBackendDescriptor_t> operations;
    for (const Descriptor* each : operations_) operations.push_back(each->get());
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, operations);
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle);
    if (cudnnBackendFinalize(graph.get()) != CUDNN_STATUS_SUCCESS) return false;

    Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, CUDNN_HEUR_MODE_A);
    if (cudnnBackendFinalize(heuristics.get()) != CUDNN_STATUS_SUCCESS) return false;
    constexpr std::int64_t most_proposals = 8;
    std::vector<Descriptor> proposals;
    std::vector<cudnnBackendDescriptor_t> filled;
    for (std::int64_t i = 0; i < most_proposals; ++i) {
      filled.push_back(proposals.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
    }
    std::int64_t found = 0;
    if (cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                 CUDNN_TYPE_BACKEND_DESCRIPTOR, most_proposals, &found,
                                 filled.data()) != CUDNN_STATUS_SUCCESS) {
      return false;
    }
    keep(std::move(graph));
    for (std::int64_t i = 0; i < std::min(found, most_proposals); ++i) {
      auto plan = std::make_unique<Descriptor>(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      plan->set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, handle);
      plan->set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, proposals[static_cast<std::size_t>(i)]);
      if (cudnnBackendFinalize(plan->get()) != CUDNN_STATUS_SUCCESS) continue;
      std::int64_t count = 0;
      check(cudnnBackendGetAttribute(plan->get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                     CUDNN_TYPE_INT64, 1, &count, &workspace_bytes_));
      plan_ = std::move(plan);
      keep(std::move(proposals[static_cast<std::size_t>(i)]));
      return true;
    }
    return false;
  }

  void run(cudnnHandle_t handle, const std::vector<Place>& places, Workspace& workspace) const {
    std::vector<std::int64_t> ids;
    std::vector<void*> pointers;
    for (const Place& place : places) {
      ids.push_back(place.id);
      pointers.push_back(place.data);
    }
    void* scratch =
        workspace_bytes_ == 0 ? nullptr : workspace.take(1, workspace_bytes_, DType::fp8_e4m3).data;
    Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, ids);
    pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, pointers);
    pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, scratch);
    pack.finalize();
    check(cudnnBackendExecute(handle, plan_->get(), pack.get()));
  }

 private:
  const Descriptor& keep(Descriptor descriptor) {
    return *kept_.emplace_back(std::make_unique<Descriptor>(std::move(descriptor)));
  }
  void add(Descriptor operation) {
    operation.finalize();
    operations_.push_back(&keep(std::move(operation)));
  }

  std::int64_t last_id_ = 0;
  std::vector<std::unique_ptr<Descriptor>> kept_;
  std::vector<const Descriptor*> operations_;
  std::unique_ptr<Descriptor> plan_;
  std::int64_t workspace_bytes_ = 0;
};

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
  }

  bool plan(cudnnHandle_t handle) {
    build_forward();
    build_backward();
    return forward_.plan(handle) && backward_.plan(handle);
  }

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
    cuda::check(
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
    constexpr std::int64_t row_grain = 128, dim_grain = 8, most_dim = 128;
    const auto aligned = [](const Matrix& x) {
      return reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0 && x.stride % dim_grain == 0;
    };
    if (q.dtype != DType::bf16 || shape.seq_length % row_grain != 0 ||
        shape.head_dim % dim_grain != 0 || shape.head_dim > most_dim || k.stride != v.stride ||
        !aligned(q) || !aligned(k) || !aligned(v)) {
      return nullptr;
    }
    const Key key{shape.sequences, shape.seq_length, shape.heads, shape.kv_heads,
                  shape.head_dim,  q.stride,         k.stride,    v.stride};
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
