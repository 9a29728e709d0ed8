#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "engine/step_recorder.hpp"
#include "tensor/device_memory.hpp"
#include "tensor/device_queue.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo {

/// Work of one unit that is the same every time, but for where its memory lies.
enum class Pass : std::uint8_t {
  forward,
  recompute,
  backward,
  backward_input,
  backward_weights,
  head,  ///< loss, and gradients of the head
};

/// All that decides what a pass asks of the device: every piece of memory that it reads or writes,
/// unless that is the same for the whole run or a temporary of the pass, and what it does there.
struct PassKey {
  Pass pass = Pass::forward;
  int unit = 0;
  std::array<const void*, 6> memory{};
  Accumulate products = Accumulate::yes;  ///< gradients that products add to, or overwrite

  friend auto operator<=>(const PassKey&, const PassKey&) = default;
};

/// Spares the host most of what it does in a pass (CUDA graphs): work that comes again on the same
/// memory is recorded, and from then on given to the queue at one call.
///
/// A pass is recorded once it has run without allocating: by then workspaces have settled and
/// whatever depends on shapes and addresses, such as a product's algorithm, has been chosen. A pass
/// on other memory, or with its temporaries elsewhere, is another pass.
class RecordedPasses {
 public:
  /// `queue`: on which the kernels run; null: everything runs as it is called.
  RecordedPasses(DeviceQueue* queue, const DeviceMemory& memory, const Workspace& workspace,
                 StepRecorder& recorder)
      : queue_(queue), memory_(memory), workspace_(workspace), recorder_(recorder) {}

  /// Has the device do `work`, which only calls kernels. Its time is noted call by call, or, once
  /// it is recorded, as one Activity::recorded. Throws what the queue's record throws.
  void run(const PassKey& key, const std::function<void()>& work);

  /// Passes that have been recorded.
  std::size_t recordings() const;

 private:
  struct Known {
    bool settled = false;
    std::unique_ptr<RecordedWork> work;
  };

  DeviceQueue* queue_;
  const DeviceMemory& memory_;
  const Workspace& workspace_;
  StepRecorder& recorder_;
  std::map<std::pair<PassKey, const void*>, Known> known_;  ///< by where temporaries begin, too
};

}  // namespace kumihimo
