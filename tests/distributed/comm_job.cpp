#include "distributed/comm_job.hpp"

#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "unit/comm/sample.hpp"

namespace kumihimo {
namespace {

/// 17 MiB: reductions go in pieces of 16 MiB, the last of which is then a small one.
void large_matrices(World& world) {
  const std::int64_t rows = 17 * world.size();
  const std::int64_t cols = (1 << 20) / 4 / world.size() + 1;
  const auto group = world.make_group(all_ranks(world));
  const Storage summed(rows, cols, DType::int32), scattered(rows, cols, DType::int32);
  for (const Storage* x : {&summed, &scattered}) {
    auto* numbers = static_cast<std::int32_t*>(x->matrix().data);
    for (std::int64_t i = 0; i < rows * cols; ++i) {
      numbers[i] = static_cast<std::int32_t>(i) + world.rank();
    }
  }
  group->all_reduce(summed.matrix());
  const Matrix own = rows_of(scattered.matrix(), world.rank() * 17, 17);
  group->reduce_scatter(scattered.matrix(), own);
  group->all_gather(own, scattered.matrix());
  const auto* sums = static_cast<const std::int32_t*>(summed.matrix().data);
  for (std::int64_t i = 0; i < rows * cols; ++i) {
    const auto expected = i * world.size() + world.size() * (world.size() - 1) / 2;
    expect(sums[i] == static_cast<std::int32_t>(expected), "size x i + 0 + 1 + ... + (size - 1)");
  }
  expect(scattered.bytes() == summed.bytes(), "the same from reduce_scatter and all_gather");
}

}  // namespace

void run_all_checks(World& world, ConformanceCheck more) {
  const auto everybody = world.make_group(all_ranks(world));
  std::vector<ConformanceCheck> checks{more, {"LargeMatrices", large_matrices}};
  checks.insert(checks.end(), conformance_checks().begin(), conformance_checks().end());
  for (const ConformanceCheck& check : checks) {
    try {
      check.run(world);
    } catch (const std::exception& error) {
      throw std::runtime_error(std::string(check.name) + ": " + error.what());
    }
    everybody->barrier();
    if (world.rank() == 0) std::printf("passed: %s\n", std::string(check.name).c_str());
  }
}

void fail_on_rank_1(World& world) {
  const Storage x = filled(300, 300, DType::fp32, world.rank());
  const auto own = world.make_group(all_ranks(world));
  const auto stream = world.make_stream();
  const auto group = world.make_group(all_ranks(world), stream.get());
  if (world.rank() == 1) {
    stream->start_all_reduce(*group, x.matrix());
    throw std::runtime_error("no more");
  }
  own->barrier();
}

}  // namespace kumihimo
