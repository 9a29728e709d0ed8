#include "conformance.hpp"

#include <gtest/gtest.h>
#include <string>

#include "backends.hpp"
#include "lazy_backends.hpp"

namespace kumihimo {
namespace {

std::vector<RankBackend> all_backends() {
  std::vector<RankBackend> all = backends();
  all.push_back(shared_gpu_backend());
  all.push_back(connected_gpus_backend());
  return all;
}

class Conformance : public ::testing::TestWithParam<std::tuple<RankBackend, ConformanceCheck>> {};

TEST_P(Conformance, HoldsForAnyNumberOfRanks) {
  const auto& [backend, check] = GetParam();
  for (const int ranks : {1, 2, 3, 4, 5, 6, 7, 8, 16}) {
    EXPECT_NO_THROW(backend.run(ranks, check.run)) << ranks << " ranks";
  }
}

INSTANTIATE_TEST_SUITE_P(All, Conformance,
                         ::testing::Combine(::testing::ValuesIn(all_backends()),
                                            ::testing::ValuesIn(conformance_checks().begin(),
                                                                conformance_checks().end())),
                         [](const auto& instance) {
                           return std::get<0>(instance.param).name +
                                  std::string(std::get<1>(instance.param).name);
                         });

}  // namespace
}  // namespace kumihimo
