#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "comm/process_group.hpp"
#include "tensor/gpu.hpp"

namespace kumihimo {

/// What a connection carries. A message holds multiprocessors of the GPU until its peer comes,
/// while the rank computes on the others.
enum class Traffic : std::uint8_t { collectives, messages };

/// One rank's end of a library's connection among GPUs, all of whose work is done on one queue. No
/// call waits for the GPU, but the first ones may wait for the other members. Members call the same
/// functions in the same order.
class GpuCommunicator {
 public:
  virtual ~GpuCommunicator() = default;

  virtual void all_reduce(const Matrix& x, Reduction reduction) = 0;
  virtual void all_gather(const Matrix& part, const Matrix& whole) = 0;
  virtual void reduce_scatter(const Matrix& whole, const Matrix& part) = 0;
  virtual void broadcast(const Matrix& x, int root) = 0;
  virtual void barrier() = 0;
  /// Of a connection for messages. The queue goes on when the peer has taken, or given, the data.
  virtual void send(const Matrix& x, int peer) = 0;
  virtual void receive(const Matrix& x, int peer) = 0;

  /// Throws PeerFailure if the library has noticed that the connection is broken.
  virtual void check() = 0;
  /// Ends what is under way, whatever the peers do. Only to be destroyed afterwards. Any thread. It
  /// may wait for all that the GPU is doing: see GpuConnector::break_off.
  virtual void break_off() noexcept = 0;
};

/// The library that connects GPUs (NCCL), loaded when it is asked for.
class GpuConnector {
 public:
  virtual ~GpuConnector() = default;
  /// "NCCL 2.28.9".
  virtual std::string version() const = 0;
  /// Names a connection to be made: one member asks for it and tells the others.
  virtual std::vector<std::byte> new_id() const = 0;
  virtual std::size_t id_bytes() const = 0;
  /// Called by all members with one id; returns when they have found each other. `queue` is of
  /// `gpu`. Here and whenever a call waits for other members, `watch` is called now and then with
  /// the seconds waited, on the waiting thread, and ends the wait by an exception. The
  /// communicator keeps it.
  virtual std::unique_ptr<GpuCommunicator> join(std::span<const std::byte> id, int rank, int size,
                                                Gpu& gpu, DeviceQueue& queue, Traffic traffic,
                                                std::function<void(double)> watch) const = 0;
  /// Breaks off all connections of a GPU, of which none has to end before the others do.
  virtual void break_off(
      std::span<const std::shared_ptr<GpuCommunicator>> connections) const noexcept {
    for (const auto& each : connections) each->break_off();
  }
};

/// An Error, with a remedy, where the program was built without NCCL, or cannot load it.
Expected<std::shared_ptr<GpuConnector>> load_nccl();

}  // namespace kumihimo
