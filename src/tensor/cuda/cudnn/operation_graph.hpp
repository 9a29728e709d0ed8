#pragma once

#include <algorithm>
#include <cstdint>
#include <cudnn.h>
#include <cudnn_graph.h>
#include <iterator>
#include <memory>
#include <source_location>
#include <utility>
#include <vector>

#include "tensor/cuda/cuda_call.hpp"
#include "tensor/cuda/library_scratch.hpp"
#include "tensor/device_memory.hpp"

// cuDNN's graph API in C, as far as attention needs it: tensors and operations on them, which the
// library may run as one kernel.

namespace kumihimo::cuda {

inline void check(cudnnStatus_t status,
                  std::source_location where = std::source_location::current()) {
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

  const std::vector<const Descriptor*>& operations() const { return operations_; }

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
    void* scratch = take_scratch(workspace, workspace_bytes_);
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

}  // namespace kumihimo::cuda
