// The module of NCCL: what load_nccl (comm/nccl_module) looks for.

#include <atomic>
#include <chrono>
#include <cstring>
#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <functional>
#include <mutex>
#include <nccl.h>
#include <thread>
#include <utility>

#include "base/check.hpp"
#include "comm/nccl_module_entry.hpp"
#include "comm/world.hpp"

namespace kumihimo {
namespace {

using namespace std::chrono_literals;

std::string text_of(ncclResult_t result, ncclComm_t communicator) {
  const char* detail = ncclGetLastError(communicator);
  return fmt::format("NCCL: {}{}{}", ncclGetErrorString(result),
                     detail == nullptr || *detail == '\0' ? "" : ": ",
                     detail == nullptr ? "" : detail);
}

/// A fault of the network or of a peer is a peer's; anything else is this rank's own.
[[noreturn]] void fail(ncclResult_t result, ncclComm_t communicator) {
  const std::string text = text_of(result, communicator);
  if (result == ncclRemoteError || result == ncclSystemError) throw PeerFailure(text);
  throw std::runtime_error(text);
}

ncclDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::fp64: return ncclFloat64;
    case DType::fp32: return ncclFloat32;
    case DType::bf16: return ncclBfloat16;
    case DType::int32: return ncclInt32;
    case DType::fp8_e4m3:
    case DType::fp8_e5m2: return ncclUint8;  // moved, never summed
  }
  KUMIHIMO_CHECK(false);
}

std::size_t count_of(const Matrix& x) { return static_cast<std::size_t>(x.elements()); }

void use_gpu(int ordinal) {
  const cudaError_t result = cudaSetDevice(ordinal);
  if (result != cudaSuccess) throw std::runtime_error(cudaGetErrorString(result));
}

/// Blocks of threads of a message, each of which fills a multiprocessor while it waits for the peer
/// or moves data. NCCL would take up to 32 over NVLink, a quarter of an H200: two sends that wait,
/// a receive and a reduction could leave nothing to compute on. Nobody has measured which number is
/// best.
constexpr int most_message_blocks = 8;

class NcclCommunicator final : public GpuCommunicator {
 public:
  NcclCommunicator(std::span<const std::byte> id, int rank, int size, Gpu& gpu, DeviceQueue& queue,
                   Traffic traffic, std::function<void(double)> watch)
      : ordinal_(gpu.facts().ordinal),
        stream_(static_cast<cudaStream_t>(queue.native())),
        watch_(std::move(watch)),
        exceptions_at_birth_(std::uncaught_exceptions()) {
    use_gpu(ordinal_);
    ncclUniqueId unique{};
    KUMIHIMO_CHECK(id.size() == sizeof unique);
    std::memcpy(&unique, id.data(), sizeof unique);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;  // so that a peer that never comes can be given up
    if (traffic == Traffic::messages) config.maxCTAs = most_message_blocks;
    try {
      finish(ncclCommInitRankConfig(&communicator_, size, unique, rank, &config));
      // In the stream's order: cudaMalloc may wait for all of the GPU, and with it for peers.
      if (cudaMallocAsync(&token_, sizeof(std::int32_t), stream_) != cudaSuccess) {
        throw std::bad_alloc();
      }
    } catch (...) {
      break_off();
      throw;
    }
  }

  ~NcclCommunicator() override {
    cudaSetDevice(ordinal_);
    // Peers that have failed never come to the end of what is under way.
    if (std::uncaught_exceptions() > exceptions_at_birth_) break_off();
    close();
    if (token_ != nullptr) cudaFreeAsync(token_, stream_);  // behind its last barrier
  }
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  void all_reduce(const Matrix& x, Reduction reduction) override {
    run([&] {
      return ncclAllReduce(x.data, x.data, count_of(x), data_type(x.dtype),
                           reduction == Reduction::sum ? ncclSum : ncclMax, communicator_, stream_);
    });
  }
  void all_gather(const Matrix& part, const Matrix& whole) override {
    run([&] {
      return ncclAllGather(part.data, whole.data, count_of(part), data_type(part.dtype),
                           communicator_, stream_);
    });
  }
  void reduce_scatter(const Matrix& whole, const Matrix& part) override {
    run([&] {
      return ncclReduceScatter(whole.data, part.data, count_of(part), data_type(part.dtype),
                               ncclSum, communicator_, stream_);
    });
  }
  void broadcast(const Matrix& x, int root) override {
    run([&] {
      return ncclBroadcast(x.data, x.data, count_of(x), data_type(x.dtype), root, communicator_,
                           stream_);
    });
  }
  void barrier() override {
    run([&] {
      return ncclAllReduce(token_, token_, 1, ncclInt32, ncclMax, communicator_, stream_);
    });
  }
  void send(const Matrix& x, int peer) override {
    run([&] {
      return ncclSend(x.data, count_of(x), data_type(x.dtype), peer, communicator_, stream_);
    });
  }
  void receive(const Matrix& x, int peer) override {
    run([&] {
      return ncclRecv(x.data, count_of(x), data_type(x.dtype), peer, communicator_, stream_);
    });
  }

  void check() override {
    const std::lock_guard lock(mutex_);
    if (communicator_ == nullptr) return;
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(communicator_, &state);
    if (asked != ncclSuccess) fail(asked, communicator_);
    if (state != ncclSuccess && state != ncclInProgress)
      throw PeerFailure(text_of(state, communicator_));
  }

  void break_off() noexcept override {
    aborted_ = true;
    const std::lock_guard lock(mutex_);
    if (communicator_ == nullptr) return;
    cudaSetDevice(ordinal_);
    ncclCommAbort(communicator_);
    communicator_ = nullptr;
  }

 private:
  /// Leaves when all members have come to the end of what is under way.
  void close() {
    const std::lock_guard lock(mutex_);
    if (communicator_ == nullptr) return;
    ncclResult_t state = ncclCommFinalize(communicator_);
    for (int waits = 0; state == ncclInProgress && waits < 10'000; ++waits) {
      std::this_thread::sleep_for(1ms);
      if (ncclCommGetAsyncError(communicator_, &state) != ncclSuccess) break;
    }
    if (state == ncclSuccess) {
      ncclCommDestroy(communicator_);
    } else {
      ncclCommAbort(communicator_);
    }
    communicator_ = nullptr;
  }

  /// A call of this communicator, which another thread may abort.
  template <class Call>
  void run(const Call& call) {
    {
      const std::lock_guard lock(mutex_);
      if (communicator_ == nullptr) throw PeerFailure("the connection of GPUs was given up");
      use_gpu(ordinal_);
      const ncclResult_t result = call();
      if (result == ncclSuccess) return;
      if (result != ncclInProgress) fail(result, communicator_);
    }
    finish(ncclInProgress);
  }

  /// Waits while the library is still at it. A thread of its own gives the GPU each operation, in
  /// some microseconds; the first use of a connection takes longer, since it needs all members. One
  /// that is gone never comes, so the job is looked after here as well.
  void finish(ncclResult_t state) {
    const auto begin = std::chrono::steady_clock::now();
    auto last_watch = begin;
    while (true) {
      if (state == ncclSuccess) return;
      if (state != ncclInProgress) fail(state, communicator_);
      if (aborted_) throw PeerFailure("the connection of GPUs was given up");
      const auto now = std::chrono::steady_clock::now();
      if (now - last_watch > 5ms) {
        last_watch = now;
        watch_(std::chrono::duration<double>(now - begin).count());
      }
      if (now - begin < 5ms) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(200us);
      }
      const std::lock_guard lock(mutex_);
      if (communicator_ == nullptr) throw PeerFailure("the connection of GPUs was given up");
      const ncclResult_t asked = ncclCommGetAsyncError(communicator_, &state);
      if (asked != ncclSuccess) fail(asked, communicator_);
    }
  }

  int ordinal_;
  cudaStream_t stream_;
  std::function<void(double)> watch_;
  int exceptions_at_birth_;
  std::mutex mutex_;  // of communicator_
  ncclComm_t communicator_ = nullptr;
  std::atomic<bool> aborted_ = false;
  void* token_ = nullptr;  ///< what a barrier sums
};

class NcclConnector final : public GpuConnector {
 public:
  std::string version() const override {
    int version = 0;  // 22809: 2.28.9
    ncclGetVersion(&version);
    return fmt::format("NCCL {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
  }
  std::vector<std::byte> new_id() const override {
    ncclUniqueId unique{};
    const ncclResult_t result = ncclGetUniqueId(&unique);
    if (result != ncclSuccess) fail(result, nullptr);
    const auto* bytes = reinterpret_cast<const std::byte*>(&unique);
    return {bytes, bytes + sizeof unique};
  }
  std::size_t id_bytes() const override { return sizeof(ncclUniqueId); }
  std::unique_ptr<GpuCommunicator> join(std::span<const std::byte> id, int rank, int size, Gpu& gpu,
                                        DeviceQueue& queue, Traffic traffic,
                                        std::function<void(double)> watch) const override {
    return std::make_unique<NcclCommunicator>(id, rank, size, gpu, queue, traffic,
                                              std::move(watch));
  }
  /// As one group: an abort frees memory, which waits for what other communicators have under way,
  /// and their peers may be gone as well (NVIDIA/nccl#1013; since NCCL 2.22).
  void break_off(
      std::span<const std::shared_ptr<GpuCommunicator>> connections) const noexcept override {
    ncclGroupStart();
    for (const auto& each : connections) each->break_off();
    ncclGroupEnd();
  }
};

}  // namespace
}  // namespace kumihimo

// Returns a C++ object: program and module come from one build.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wreturn-type-c-linkage"
#endif
extern "C" __attribute__((visibility("default"))) std::shared_ptr<kumihimo::GpuConnector>
kumihimo_nccl_connector(const char* version, kumihimo::Errors& faults) {
  if (std::strcmp(version, KUMIHIMO_VERSION) == 0) {
    return std::make_shared<kumihimo::NcclConnector>();
  }
  faults.push_back({kumihimo::nccl_module_file,
                    fmt::format("is of version {}, the program of {}", KUMIHIMO_VERSION, version),
                    "install both together"});
  return nullptr;
}
