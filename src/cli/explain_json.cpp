#include "cli/explain_json.hpp"

#include <nlohmann/json.hpp>

#include "cli/planner_json.hpp"
#include "layout/layer_split.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::ordered_json;

std::string_view key_of(Resource resource) {
  switch (resource) {
    case Resource::arithmetic: return "arithmetic";
    case Resource::memory_bandwidth: return "memory_bandwidth";
    case Resource::network: return "communication";
    case Resource::host_link: return "host_link";
    case Resource::pipeline: return "pipeline";
    case Resource::host: return "host";
  }
  return "?";
}

Json time_json(const StepBreakdown& breakdown) {
  Json parts = Json::object();
  for (const TimePart& part : breakdown.parts()) {
    parts[std::string(part.key) + "_s"] = part.seconds;
  }
  return {{"pipeline_rank", breakdown.pipeline_rank},
          {"parts", std::move(parts)},
          {"hidden",
           {{"collectives_s", breakdown.hidden_layer_comm_s},
            {"gradient_reduction_s", breakdown.hidden_reduce_s},
            {"weight_gathering_s", breakdown.hidden_gather_s},
            {"pipeline_messages_s", breakdown.hidden_pipeline_comm_s}}}};
}

Json neighbour_json(const Explanation& e, const ExplainedNeighbour& explained) {
  const Neighbour& n = explained.neighbour;
  Json json{
      {"knob", n.knob}, {"from", n.from},       {"to", n.to},     {"layout", layout_json(n.layout)},
      {"fits", n.fits}, {"predicted", nullptr}, {"why", n.reason}};
  if (n.prediction) json["predicted"] = prediction_json(*n.prediction);
  if (n.fits) json["why"] = change_text(e.breakdown, explained.breakdown);
  return json;
}

Json hardware_json(const Explanation& e) {
  Json gains = Json::array();
  for (const HardwareGain& gain : e.hardware) {
    gains.push_back({{"figure", key_of(gain.figure)},
                     {"speed_with_a_tenth_more", gain.a_tenth},
                     {"speed_with_twice_as_much", gain.twice}});
  }
  return gains;
}

}  // namespace

Json explain_json(const Explanation& e) {
  Json memory = Json::array();
  for (const MemoryUse& use : e.prediction.memory) memory.push_back(memory_json(use));
  Json neighbours = Json::array();
  for (const ExplainedNeighbour& neighbour : e.neighbours) {
    neighbours.push_back(neighbour_json(e, neighbour));
  }
  return {{"schema", "kumihimo.explain/1"},
          {"kind", "predicted"},
          {"job", job_json(e.planned)},
          {"layout", layout_json(e.layout)},
          {"stage_layers", stage_layers(e.layout, e.planned.job)},
          {"predicted", prediction_json(e.prediction)},
          {"time", time_json(e.breakdown)},
          {"memory", std::move(memory)},
          {"memory_capacity_bytes", e.planned.cluster.device.memory},
          {"binding", {{"resource", key_of(e.binding.resource)}, {"share", e.binding.share}}},
          {"hardware", hardware_json(e)},
          {"neighbours", std::move(neighbours)}};
}

}  // namespace kumihimo
