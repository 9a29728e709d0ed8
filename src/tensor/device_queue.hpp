#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/units.hpp"
#include "tensor/matrix.hpp"
#include "tensor/recorded_work.hpp"

namespace kumihimo {

enum class Reduction : std::uint8_t { sum, max };

/// Elements first .. first + count - 1 of a matrix.
struct ElementRange {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// Work on a rank's memory in the order in which it was given. A GPU's queue (a CUDA stream) does
/// it later; the host's own has done it when the call returns. What process groups need of a
/// device, and no more. For any thread, one at a time.
class DeviceQueue {
 public:
  /// A place in a queue's order, reached when all that was given before it is done.
  class Point {
   public:
    virtual ~Point() = default;
    /// Seconds from another point of this device to this one, by the device's clock. Requires both
    /// to have been reached, the other one earlier (CUDA does not say what it tells of events the
    /// other way round), and to have been asked for with their time.
    virtual double seconds_since(const Point& earlier) const = 0;
  };

  virtual ~DeviceQueue() = default;

  virtual void copy(const void* from, void* to, Bytes bytes) = 0;
  /// As reduce_in_rank_order (comm/rank_order.hpp): outputs[k][i] = ((inputs[0][i] + inputs[1][i])
  /// + ...) for i of `range`.
  virtual void reduce(std::span<const std::byte* const> inputs, std::span<std::byte* const> outputs,
                      ElementRange range, DType dtype, Reduction reduction) = 0;

  /// The present end of the queue. Null where work is done when it is given.
  virtual std::shared_ptr<const Point> point() = 0;
  /// The same, for seconds_since.
  virtual std::shared_ptr<const Point> timed_point() = 0;
  /// What is given from now on starts after `point`, of any queue of the same device. Null: now.
  virtual void wait_for(const std::shared_ptr<const Point>& point) = 0;
  /// Returns when all is done. Throws what the device's watch throws (tensor/gpu.hpp).
  virtual void synchronize() = 0;
  /// Calls `give` and keeps what the queue is given meanwhile instead of doing it. Null, and
  /// nothing is called, where work is done when it is given. Kernels, copies and sums can be kept;
  /// a point, a wait, a memory's allocation or a copy between host and device throws NotRecordable.
  /// After an exception nothing is kept.
  virtual std::unique_ptr<RecordedWork> record(const std::function<void()>& give) = 0;
  /// The back end's own handle (a cudaStream_t), or null.
  virtual void* native() = 0;
};

}  // namespace kumihimo
