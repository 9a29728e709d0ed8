#include "conformance.hpp"

#include <gtest/gtest.h>
#include <string>

namespace kumihimo {
namespace {

struct Backend {
  std::string name;
  void (*run)(int ranks, const RankBody& body);
};

const Backend threads{"Threads", run_threads};

class Conformance : public testing::TestWithParam<std::tuple<Backend, ConformanceCheck>> {};

TEST_P(Conformance, HoldsForAnyNumberOfRanks) {
  const auto& [backend, check] = GetParam();
  for (const int ranks : {1, 2, 3, 4, 5, 6, 7, 8, 16}) {
    EXPECT_NO_THROW(backend.run(ranks, check.run)) << ranks << " ranks";
  }
}

INSTANTIATE_TEST_SUITE_P(All, Conformance,
                         testing::Combine(testing::Values(threads),
                                          testing::ValuesIn(conformance_checks().begin(),
                                                            conformance_checks().end())),
                         [](const auto& instance) {
                           return std::get<0>(instance.param).name +
                                  std::string(std::get<1>(instance.param).name);
                         });

}  // namespace
}  // namespace kumihimo
