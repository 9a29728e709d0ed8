#include "simulator/trace.hpp"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <nlohmann/json.hpp>

#include "step_example.hpp"

namespace kumihimo {
namespace {

using testing_example::play;
using testing_example::uniform_cost;

nlohmann::json slices_named(const nlohmann::json& trace, std::string_view name) {
  nlohmann::json found = nlohmann::json::array();
  for (const auto& event : trace["traceEvents"]) {
    if (event["ph"] == "X" && event["name"] == name) found.push_back(event);
  }
  return found;
}

class Trace : public testing::Test {
 protected:
  Trace() {
    cost_.ranks[0].reduce_s = 0.5;
    cost_.ranks[1].reduce_s = 1.0;
    cost_.ranks[0].optimizer_s = cost_.ranks[1].optimizer_s = 0.25;
    cost_.ranks[1].gather_s = 0.125;
    cost_.fixed_s = 2;
    played_ = play(schedule_, cost_);
    trace_ = nlohmann::json::parse(chrome_trace(schedule_, cost_, played_, "a \"model\"\n"));
  }

  Schedule schedule_ = *make_schedule(ScheduleKind::one_forward_one_backward, 2, 1, 3);
  StepCost cost_ = uniform_cost(2, 1, 3);
  SimulatedStep played_;
  nlohmann::json trace_;
};

TEST_F(Trace, HoldsEveryPassWithItsTime) {
  EXPECT_EQ(slices_named(trace_, "forward").size(), 2u * 3u);
  const nlohmann::json backward = slices_named(trace_, "backward");
  ASSERT_EQ(backward.size(), 2u * 3u);
  for (const auto& slice : backward) EXPECT_EQ(slice["dur"], 2e6);
  // The second rank starts when the first one's 1 s forward has arrived.
  const auto forward = slices_named(trace_, "forward");
  for (const auto& slice : forward) {
    if (slice["tid"] == 1 && slice["args"]["micro_batch"] == 0) {
      EXPECT_EQ(slice["ts"], 1e6);
      EXPECT_EQ(slice["args"]["virtual_stage"], 1);
    }
  }
}

TEST_F(Trace, EndsWhereTheStepEnds) {
  double end = 0;
  for (const auto& event : trace_["traceEvents"]) {
    if (event["ph"] == "X")
      end = std::max(end, event["ts"].get<double>() + event["dur"].get<double>());
  }
  EXPECT_NEAR(end, played_.step_s * 1e6, 0.01);
}

/// Perfetto drops a slice that begins before the one before it has ended.
TEST_F(Trace, SlicesOfATrackDoNotOverlapByTheirRounding) {
  for (ChunkCost& chunk : cost_.chunks) chunk.forward_s = 0.0104156626;  // ends 0.6 ns into one
  played_ = play(schedule_, cost_);
  const auto trace = nlohmann::json::parse(chrome_trace(schedule_, cost_, played_, "model"));
  std::map<int, double> ended_ns;  // by track; slices stand in the order of time
  for (const auto& event : trace["traceEvents"]) {
    if (event["ph"] != "X") continue;
    const double start_ns = std::round(event["ts"].get<double>() * 1000);
    EXPECT_GE(start_ns, ended_ns[event["tid"]]) << event;
    ended_ns[event["tid"]] = start_ns + std::round(event["dur"].get<double>() * 1000);
  }
}

TEST_F(Trace, ShowsTheEndOfTheStepOnEachRank) {
  EXPECT_EQ(slices_named(trace_, "reduce gradients").size(), 2u);
  EXPECT_EQ(slices_named(trace_, "optimizer").size(), 2u);
  ASSERT_EQ(slices_named(trace_, "gather weights").size(), 1u);  // rank 0 gathers nothing
  EXPECT_EQ(slices_named(trace_, "gather weights")[0]["tid"], 1);
}

TEST_F(Trace, NamesItsTracksWhateverTheTitleHolds) {
  EXPECT_EQ(trace_["traceEvents"][0]["args"]["name"], "a \"model\"\n");
  EXPECT_EQ(trace_["traceEvents"][2]["args"]["name"], "pipeline rank 1");
}

}  // namespace
}  // namespace kumihimo
