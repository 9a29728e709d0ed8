#include "tensor/cuda/library_scratch.hpp"

#include <gtest/gtest.h>

namespace kumihimo::cuda {
namespace {

TEST(LibraryScratch, IsAlignedWhereverTheWorkspaceStandsAndAllItsOwn) {
  constexpr std::int64_t bytes = 1000;
  DeviceMemory memory(make_host_memory());
  Workspace workspace(memory);
  for (const bool settled : {false, true}) {
    if (settled) workspace.settle();
    for (std::int64_t before = 0; before < 5; ++before) {
      const Workspace::Scope scope(workspace);
      for (std::int64_t i = 0; i < before; ++i) workspace.take(1, 1, DType::fp32);
      auto* const scratch = static_cast<std::byte*>(take_scratch(workspace, bytes));
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(scratch) % 256, 0u) << before;
      const auto* const next = static_cast<std::byte*>(workspace.take(1, 1, DType::fp32).data);
      EXPECT_TRUE(next < scratch || next >= scratch + bytes) << before;
    }
  }
  EXPECT_EQ(take_scratch(workspace, 0), nullptr);
}

}  // namespace
}  // namespace kumihimo::cuda
