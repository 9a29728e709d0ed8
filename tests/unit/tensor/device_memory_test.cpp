#include "tensor/device_memory.hpp"

#include <cstdint>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <utility>

namespace kumihimo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

DeviceMemory memory_of(Bytes budget) { return DeviceMemory(make_host_memory(), budget); }

TEST(DeviceMemory, CountsEveryByteByCategory) {
  DeviceMemory memory = memory_of(0);
  {
    const Buffer weights(memory, MemoryCategory::weights, 1000);
    const Buffer more_weights(memory, MemoryCategory::weights, 24);
    const Buffer gradients(memory, MemoryCategory::gradients, 7);
    EXPECT_EQ(memory.held()[MemoryCategory::weights], 1000 + 24);
    EXPECT_EQ(memory.held()[MemoryCategory::gradients], 7);
    EXPECT_EQ(memory.held().total(), 1000 + 24 + 7);
  }
  EXPECT_EQ(memory.held().total(), 0);
  EXPECT_EQ(memory.allocations(), 3);
}

TEST(DeviceMemory, PeaksOfCategoriesAndOfAllAreOfDifferentMoments) {
  DeviceMemory memory = memory_of(0);
  { const Buffer first(memory, MemoryCategory::activations, 300); }
  { const Buffer second(memory, MemoryCategory::workspace, 200); }
  EXPECT_EQ(memory.peak()[MemoryCategory::activations], 300);
  EXPECT_EQ(memory.peak()[MemoryCategory::workspace], 200);
  EXPECT_EQ(memory.peak_total(), 300);  // never both at once
}

TEST(DeviceMemory, IsAlignedAndZeroed) {
  DeviceMemory memory = memory_of(0);
  for (const Bytes bytes : {1, 64, 100, 4097}) {
    const Buffer buffer(memory, MemoryCategory::weights, bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0u);
    const auto* data = static_cast<const unsigned char*>(buffer.data());
    for (Bytes i = 0; i < bytes; ++i) ASSERT_EQ(data[i], 0) << i;
  }
}

TEST(DeviceMemory, ABufferMovesWithItsMemory) {
  DeviceMemory memory = memory_of(0);
  Buffer first(memory, MemoryCategory::weights, 100);
  void* const data = first.data();
  Buffer second(std::move(first));
  EXPECT_EQ(second.data(), data);
  EXPECT_EQ(second.size(), 100);
  EXPECT_EQ(memory.held().total(), 100);
  second = Buffer();
  EXPECT_EQ(memory.held().total(), 0);
  EXPECT_EQ(Buffer(memory, MemoryCategory::weights, 0).data(), nullptr);
}

TEST(DeviceMemory, FillsItsBudgetToTheByteAndNoFurther) {
  DeviceMemory memory = memory_of(1000);
  const Buffer most(memory, MemoryCategory::weights, 999);
  const Buffer last(memory, MemoryCategory::gradients, 1);
  EXPECT_THROW(Buffer(memory, MemoryCategory::workspace, 1), OutOfMemory);
  EXPECT_EQ(memory.held().total(), 1000);  // what failed is not counted
  EXPECT_EQ(memory.allocations(), 2);
}

TEST(DeviceMemory, OutOfMemoryTellsWhatWasAskedForAndWhatIsHeld) {
  DeviceMemory memory = memory_of(Bytes{3} << 30);
  const Buffer weights(memory, MemoryCategory::weights, Bytes{1} << 20);
  const Buffer optimizer(memory, MemoryCategory::optimizer, Bytes{2} << 20);
  try {
    const Buffer logits(memory, MemoryCategory::activations, Bytes{4} << 30);
    FAIL() << "4 GiB in a budget of 3";
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(error.category, MemoryCategory::activations);
    EXPECT_EQ(error.asked, Bytes{4} << 30);
    EXPECT_EQ(error.budget, Bytes{3} << 30);
    EXPECT_EQ(error.held[MemoryCategory::optimizer], Bytes{2} << 20);
    EXPECT_THAT(std::string(error.what()),
                AllOf(HasSubstr("4.00 GiB more for activations does not fit into 3.00 GiB"),
                      HasSubstr("weights 1.00 MiB"), HasSubstr("optimizer 2.00 MiB"),
                      HasSubstr("gradients 0 B"), HasSubstr("together 3.00 MiB")));
  }
}

TEST(Workspace, GivesPiecesBackInTheOrderOfAStack) {
  DeviceMemory memory = memory_of(0);
  Workspace workspace(memory);
  const Workspace::Scope outer(workspace);
  workspace.take(1, 16, DType::fp32);  // 64 bytes
  {
    const Workspace::Scope inner(workspace);
    workspace.take(2, 16, DType::fp32);
    workspace.take(1, 1, DType::bf16);  // 64 bytes, too: pieces are aligned
    EXPECT_EQ(memory.held()[MemoryCategory::workspace], 64 + 128 + 64);
  }
  EXPECT_EQ(memory.held()[MemoryCategory::workspace], 64);
}

/// Takes two pieces, then one nested, then one more: 128 + 64 + max(256, 64) at the most.
void step(Workspace& workspace) {
  const Workspace::Scope outer(workspace);
  const Matrix first = workspace.take(2, 16, DType::fp32);
  const Matrix second = workspace.take(1, 16, DType::fp32);
  {
    const Workspace::Scope inner(workspace);
    const Matrix nested = workspace.take(4, 16, DType::fp32);
    EXPECT_NE(nested.data, first.data);
    EXPECT_NE(nested.data, second.data);
  }
  const Matrix last = workspace.take(1, 16, DType::fp32);
  for (const Matrix& each : {first, second, last}) {
    EXPECT_TRUE(each.contiguous());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(each.data) % 64, 0u);
  }
}

TEST(Workspace, AllocatesNothingOnceSettled) {
  DeviceMemory memory = memory_of(0);
  Workspace workspace(memory);
  step(workspace);
  EXPECT_EQ(memory.allocations(), 4);
  EXPECT_EQ(memory.held().total(), 0);
  workspace.settle();
  EXPECT_EQ(memory.held()[MemoryCategory::workspace], 128 + 64 + 256);
  const std::int64_t settled = memory.allocations();
  for (int i = 0; i < 3; ++i) step(workspace);
  workspace.settle();
  EXPECT_EQ(memory.allocations(), settled);
  EXPECT_EQ(memory.peak()[MemoryCategory::workspace], 128 + 64 + 256);
}

TEST(Workspace, NestedPiecesDoNotOverlapAndScopesReuseTheirPlace) {
  DeviceMemory memory = memory_of(0);
  Workspace workspace(memory);
  step(workspace);
  workspace.settle();
  const Workspace::Scope outer(workspace);
  const Matrix kept = workspace.take(2, 16, DType::fp32);
  const void* place = nullptr;
  for (int i = 0; i < 2; ++i) {
    const Workspace::Scope inner(workspace);
    const Matrix nested = workspace.take(4, 16, DType::fp32);
    EXPECT_GE(static_cast<std::byte*>(nested.data), static_cast<std::byte*>(kept.data) + 128);
    EXPECT_TRUE(i == 0 || nested.data == place);
    place = nested.data;
  }
}

TEST(Workspace, AStepThatNeedsMoreStillWorksAndIsSettledNextTime) {
  DeviceMemory memory = memory_of(0);
  Workspace workspace(memory);
  step(workspace);
  workspace.settle();
  const auto larger_step = [&] {
    const Workspace::Scope scope(workspace);
    const Matrix large = workspace.take(100, 16, DType::fp32);
    static_cast<float*>(large.data)[large.elements() - 1] = 1;  // its last element is there
  };
  larger_step();
  EXPECT_EQ(memory.held()[MemoryCategory::workspace], 128 + 64 + 256);  // the piece went
  workspace.settle();
  EXPECT_EQ(memory.held()[MemoryCategory::workspace], 100 * 16 * 4);
  const std::int64_t settled = memory.allocations();
  larger_step();
  step(workspace);
  EXPECT_EQ(memory.allocations(), settled);
}

TEST(Workspace, SettlingWithinAScopeIsAMistake) {
  DeviceMemory memory = memory_of(0);
  Workspace workspace(memory);
  const Workspace::Scope scope(workspace);
  workspace.take(1, 1, DType::fp32);
  EXPECT_THROW(workspace.settle(), InvariantError);
}

TEST(Workspace, IsWithinTheBudget) {
  DeviceMemory memory = memory_of(100);
  Workspace workspace(memory);
  const Workspace::Scope scope(workspace);
  workspace.take(1, 16, DType::fp32);
  EXPECT_THROW(workspace.take(1, 16, DType::fp32), OutOfMemory);
}

}  // namespace
}  // namespace kumihimo
