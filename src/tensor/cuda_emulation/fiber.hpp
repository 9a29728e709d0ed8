#pragma once

#include <cstddef>

namespace kumihimo::cuda_emulation {

/// A flow of control with a stack of its own, on the calling OS thread: what runs it, and where it
/// stops, is decided by the code that calls resume. For one OS thread.
class Fiber {
 public:
  using Body = void (*)(void* argument);

  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Lets the next resume begin body(argument), which may not throw. What the fiber did before is
  /// forgotten, finished or not: objects on its stack are not destroyed.
  void prepare(Body body, void* argument);
  /// Runs the fiber until it suspends itself or its body returns.
  void resume();
  /// On the fiber itself: back to resume's caller.
  void suspend();

 private:
  static void enter(void* fiber);

  std::byte* stack_;
  void* inside_ = nullptr;   ///< stack pointer, or context, of the fiber
  void* outside_ = nullptr;  ///< that of resume's caller
  Body body_ = nullptr;
  void* argument_ = nullptr;
  // What the sanitizers want to know of stacks that they did not see coming.
  void* inside_shadow_ = nullptr;
  void* outside_shadow_ = nullptr;
  const void* outside_stack_ = nullptr;
  std::size_t outside_stack_bytes_ = 0;
};

}  // namespace kumihimo::cuda_emulation
