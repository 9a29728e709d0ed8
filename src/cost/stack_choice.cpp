#include "cost/stack_choice.hpp"

#include <algorithm>
#include <array>
#include <fmt/ranges.h>
#include <string_view>
#include <vector>

#include "base/catalog.hpp"
#include "cluster/cluster_file.hpp"

namespace kumihimo {
namespace {

enum class Generation { v100, a100, h100, card, cpu };  ///< card: of workstations, on PCIe alone

struct NamedGeneration {
  std::string_view name;
  Generation generation;
};

constexpr std::array architectures{
    NamedGeneration{"volta", Generation::v100},     NamedGeneration{"hopper", Generation::h100},
    NamedGeneration{"blackwell", Generation::h100}, NamedGeneration{"cdna3", Generation::h100},
    NamedGeneration{"ada", Generation::card},       NamedGeneration{"cpu", Generation::cpu},
};

/// Parts of device names; "H200" is also the end of "GH200".
constexpr std::array device_names{
    NamedGeneration{"V100", Generation::v100},      NamedGeneration{"H100", Generation::h100},
    NamedGeneration{"H200", Generation::h100},      NamedGeneration{"H800", Generation::h100},
    NamedGeneration{"H20", Generation::h100},       NamedGeneration{"B100", Generation::h100},
    NamedGeneration{"B200", Generation::h100},      NamedGeneration{"B300", Generation::h100},
    NamedGeneration{"Blackwell", Generation::h100}, NamedGeneration{"MI300", Generation::h100},
    NamedGeneration{"MI325", Generation::h100},     NamedGeneration{"L40", Generation::card},
    NamedGeneration{"CPU", Generation::cpu},
};

Generation generation_of(const Device& device) {
  // Blackwell, as Ada, is a name for cards and for what data centres have.
  if (device.name.find("RTX") != std::string::npos) return Generation::card;
  if (!device.architecture.empty()) {
    const auto known =
        std::ranges::find(architectures, device.architecture, &NamedGeneration::name);
    return known == architectures.end() ? Generation::a100 : known->generation;
  }
  const auto known = std::ranges::find_if(device_names, [&](const NamedGeneration& part) {
    return device.name.find(part.name) != std::string::npos;
  });
  return known == device_names.end() ? Generation::a100 : known->generation;
}

/// The profiles that may stand for a generation, the nearest first.
std::vector<std::string> profiles_for(Generation generation) {
  switch (generation) {
    // Software of its time, in fp16 and before FlashAttention.
    case Generation::v100: return {"megatron-2021-a100", "megatron-2023-a100"};
    case Generation::a100: return {"megatron-2023-a100"};
    case Generation::h100:
      return {"megatron-bridge-2025-h100", "nemo-fp8-2024-h100", "megatron-2023-a100"};
    case Generation::card: return {"llmq-2026", "megatron-2023-a100"};
    case Generation::cpu: return {"kumihimo-cpu"};
  }
  return {};
}

}  // namespace

std::string default_stack(const Cluster& cluster) {
  const std::vector<std::string> known = catalog_names(CatalogKind::stacks);
  for (std::string& name : profiles_for(generation_of(cluster.device))) {
    if (std::ranges::find(known, name) != known.end()) return std::move(name);
  }
  return "uncalibrated";
}

std::optional<std::string> measured_elsewhere(const StackProfile& profile, const Cluster& cluster) {
  if (profile.range && !profile.range->device_names.empty()) {
    const auto& names = profile.range->device_names;
    if (std::ranges::find(names, cluster.device.name) != names.end()) return std::nullopt;
    return fmt::format("{}", fmt::join(names, ", "));
  }
  if (profile.evidence.empty() || profile.cluster.empty() || profile.cluster == cluster.name)
    return std::nullopt;
  const Expected<Cluster> measured = read_cluster(profile.cluster);
  if (!measured) return profile.cluster;
  if (measured->device.name == cluster.device.name) return std::nullopt;
  return measured->device.name;
}

}  // namespace kumihimo
