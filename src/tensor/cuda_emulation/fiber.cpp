#include "tensor/cuda_emulation/fiber.hpp"

#include <cstdint>
#include <cstring>
#include <new>
#include <sys/mman.h>

#include "base/check.hpp"

#if defined(__has_feature)
#define KUMIHIMO_HAS_FEATURE(feature) __has_feature(feature)
#else
#define KUMIHIMO_HAS_FEATURE(feature) 0
#endif
// The thread sanitizer is told nothing: its own fibers take microseconds to make, and without them
// it sees one thread whose calls return in another order, which is true.
#if defined(__SANITIZE_ADDRESS__) || KUMIHIMO_HAS_FEATURE(address_sanitizer)
#define KUMIHIMO_ADDRESS_SANITIZER 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define KUMIHIMO_ADDRESS_SANITIZER 0
#endif

// The thread sanitizer has fibers, too, which take microseconds to make. Without them it sees one
// thread whose calls return in another order, which is true; it must not see calls that never
// return.
#define KUMIHIMO_HIDE_FROM_THREAD_SANITIZER __attribute__((no_sanitize("thread")))

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace kumihimo::cuda_emulation {
namespace {

// Untouched pages cost nothing. Sanitized frames are several times as large.
constexpr std::size_t stack_bytes = std::size_t{256} << 10;

}  // namespace

#if defined(__x86_64__)

// swapcontext makes two system calls for the signal mask, which no kernel changes: a hundred times
// the cost of this. Keeps the registers that a called function must keep, on the stack that is
// left.
extern "C" void kumihimo_switch_stacks(void** leave, void* enter);
extern "C" void kumihimo_begin_on_stack();
asm(R"(
  .text
  .globl kumihimo_switch_stacks
  .type kumihimo_switch_stacks, @function
kumihimo_switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size kumihimo_switch_stacks, .-kumihimo_switch_stacks

  .globl kumihimo_begin_on_stack
  .type kumihimo_begin_on_stack, @function
kumihimo_begin_on_stack:
  movq %r12, %rdi
  callq *%r13
  ud2
  .size kumihimo_begin_on_stack, .-kumihimo_begin_on_stack
)");

namespace {

/// A stack on which kumihimo_switch_stacks finds its six registers and where to go.
void* fresh_stack(std::byte* stack, void (*enter)(void*), void* fiber) {
  void* frame[9] = {};
  frame[2] = reinterpret_cast<void*>(enter);  // r13
  frame[3] = fiber;                           // r12
  frame[6] = reinterpret_cast<void*>(&kumihimo_begin_on_stack);
  std::byte* top = stack + stack_bytes - sizeof frame;
  std::memcpy(top, frame, sizeof frame);
  return top;  // with seven words gone, two are left: aligned to 16 bytes, as calls want it
}

KUMIHIMO_HIDE_FROM_THREAD_SANITIZER void switch_stacks(void** leave, void* enter) {
  kumihimo_switch_stacks(leave, enter);
}
void release_context(void*&) {}

}  // namespace

#else

namespace {

struct Context {
  ucontext_t context;
  void (*enter)(void*);
  void* fiber;
};

void begin(unsigned high, unsigned low) {
  auto* context =
      reinterpret_cast<Context*>((static_cast<std::uintptr_t>(high) << 32) | std::uintptr_t{low});
  context->enter(context->fiber);
}

void* fresh_stack(std::byte* stack, void (*enter)(void*), void* fiber) {
  auto* context = new Context{{}, enter, fiber};
  KUMIHIMO_CHECK(getcontext(&context->context) == 0);
  context->context.uc_stack.ss_sp = stack;
  context->context.uc_stack.ss_size = stack_bytes;
  const auto bits = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(context));
  makecontext(&context->context, reinterpret_cast<void (*)()>(&begin), 2,
              static_cast<unsigned>(bits >> 32), static_cast<unsigned>(bits));
  return context;
}

KUMIHIMO_HIDE_FROM_THREAD_SANITIZER void switch_stacks(void** leave, void* enter) {
  if (*leave == nullptr) *leave = new Context{};
  swapcontext(&static_cast<Context*>(*leave)->context, &static_cast<Context*>(enter)->context);
}

void release_context(void*& context) {
  delete static_cast<Context*>(context);
  context = nullptr;
}

}  // namespace

#endif

Fiber::Fiber() {
  void* pages = mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  stack_ = static_cast<std::byte*>(pages);
}

Fiber::~Fiber() {
  release_context(inside_);
  release_context(outside_);
#if KUMIHIMO_ADDRESS_SANITIZER
  __asan_unpoison_memory_region(stack_, stack_bytes);
#endif
  munmap(stack_, stack_bytes);
}

void Fiber::prepare(Body body, void* argument) {
  body_ = body;
  argument_ = argument;
  release_context(inside_);
  inside_ = fresh_stack(stack_, &Fiber::enter, this);
#if KUMIHIMO_ADDRESS_SANITIZER
  __asan_unpoison_memory_region(stack_, stack_bytes);
  inside_shadow_ = nullptr;
#endif
}

void Fiber::resume() {
#if KUMIHIMO_ADDRESS_SANITIZER
  __sanitizer_start_switch_fiber(&outside_shadow_, stack_, stack_bytes);
#endif
  switch_stacks(&outside_, inside_);
#if KUMIHIMO_ADDRESS_SANITIZER
  __sanitizer_finish_switch_fiber(outside_shadow_, nullptr, nullptr);
#endif
}

KUMIHIMO_HIDE_FROM_THREAD_SANITIZER void Fiber::suspend() {
#if KUMIHIMO_ADDRESS_SANITIZER
  __sanitizer_start_switch_fiber(&inside_shadow_, outside_stack_, outside_stack_bytes_);
#endif
  switch_stacks(&inside_, outside_);
#if KUMIHIMO_ADDRESS_SANITIZER
  __sanitizer_finish_switch_fiber(inside_shadow_, &outside_stack_, &outside_stack_bytes_);
#endif
}

KUMIHIMO_HIDE_FROM_THREAD_SANITIZER void Fiber::enter(void* self) {
  auto* fiber = static_cast<Fiber*>(self);
#if KUMIHIMO_ADDRESS_SANITIZER
  __sanitizer_finish_switch_fiber(nullptr, &fiber->outside_stack_, &fiber->outside_stack_bytes_);
#endif
  fiber->body_(fiber->argument_);
  fiber->suspend();  // for good
}

}  // namespace kumihimo::cuda_emulation
