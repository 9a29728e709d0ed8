#include <exception>
#include <fmt/format.h>
#include <thread>

#include "comm/preconditions.hpp"
#include "comm/queued_stream.hpp"
#include "comm/solo_group.hpp"
#include "comm/threads/shared_gpu_world.hpp"
#include "comm/threads/thread_group.hpp"
#include "comm/threads/thread_world.hpp"
#include "tensor/device_memory.hpp"

namespace kumihimo {
namespace {

std::string text_of(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an exception of unknown type";
  }
}

/// Rethrows with the rank in front. The type is kept where callers tell types apart.
[[noreturn]] void rethrow_of_rank(int rank, const std::exception_ptr& exception) {
  const std::string text = fmt::format("rank {}: {}", rank, text_of(exception));
  try {
    std::rethrow_exception(exception);
  } catch (const OutOfMemory&) {
    throw;
  } catch (const InvariantError&) {
    throw InvariantError(text);
  } catch (...) {
    throw std::runtime_error(text);
  }
}

}  // namespace

std::unique_ptr<CommunicationStream> ThreadWorld::make_stream() {
  return std::make_unique<QueuedStream>(clock_, clock_, queue_, queue_, [this] { give_up(); });
}

std::unique_ptr<ProcessGroup> ThreadWorld::make_group(std::span<const int> ranks,
                                                      CommunicationStream* stream) {
  return on_stream(stream, make_own_group(ranks));
}

std::unique_ptr<ProcessGroup> ThreadWorld::make_own_group(std::span<const int> ranks,
                                                          DeviceQueue& queue) {
  const int place = place_among(ranks, rank_, size_);
  if (ranks.size() == 1) return std::make_unique<SoloGroup>(queue);
  std::vector<int> members(ranks.begin(), ranks.end());
  const int ordinal = groups_made_[members]++;
  return std::make_unique<ThreadGroup>(job_, job_.group_of(std::move(members), ordinal), place,
                                       static_cast<int>(ranks.size()), queue);
}

std::unique_ptr<World> ThreadWorld::sharing(Gpu& gpu) {
  return std::make_unique<SharedGpuWorld>(*this, gpu);
}

void run_thread_worlds(int ranks, const std::function<void(ThreadWorld& world)>& body) {
  KUMIHIMO_CHECK(ranks >= 1 && ranks <= Meeting::most_members);
  ThreadJob job;
  std::vector<std::exception_ptr> exceptions(static_cast<std::size_t>(ranks));
  const auto failed = [&](int rank) {
    exceptions[static_cast<std::size_t>(rank)] = std::current_exception();
    job.fail(rank, text_of(std::current_exception()));
  };
  {
    std::vector<std::jthread> threads;
    threads.reserve(static_cast<std::size_t>(ranks));
    for (int rank = 0; rank < ranks && !job.failed_rank(); ++rank) {
      try {
        threads.emplace_back([&, rank] {
          try {
            ThreadWorld world(job, rank, ranks);
            body(world);
          } catch (...) {
            failed(rank);
          }
        });
      } catch (...) {  // no more threads
        failed(rank);
      }
    }
  }
  if (const auto rank = job.failed_rank()) {
    const std::exception_ptr& exception = exceptions[static_cast<std::size_t>(*rank)];
    if (exception) rethrow_of_rank(*rank, exception);
    job.throw_peer_failure();  // it gave up, and then its body did not throw
  }
}

void run_threads(int ranks, const RankBody& body) {
  run_thread_worlds(ranks, [&](ThreadWorld& world) { body(world); });
}

}  // namespace kumihimo
