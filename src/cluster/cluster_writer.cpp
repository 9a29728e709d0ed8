#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <string>
#include <string_view>

#include "base/units.hpp"
#include "cluster/cluster_file.hpp"
#include "cluster/toml_text.hpp"

namespace kumihimo {
namespace {

std::string memory_text(Bytes bytes) {
  return quantity_text(
      static_cast<double>(bytes), Dimension::bytes,
      {{"TiB", 1024 * GiB}, {"TB", 1e12}, {"GiB", GiB}, {"GB", 1e9}, {"MiB", MiB}, {"B", 1}});
}

std::string rate_text(double rate) {
  return quantity_text(rate, Dimension::bytes_per_second,
                       {{"GB/s", 1e9}, {"MB/s", 1e6}, {"B/s", 1}});
}

std::string latency_text(double seconds) {
  return quantity_text(seconds, Dimension::seconds, {{"us", 1e-6}, {"ns", 1e-9}, {"s", 1}});
}

}  // namespace

std::string write_cluster(const Cluster& cluster) {
  std::string text = fmt::format("name = {}\n", toml_string(cluster.name));
  const auto line = [&](std::string_view key, std::string_view value) {
    text += fmt::format("{} = {}\n", key, value);
  };
  const auto quantity = [&](std::string_view key, std::string_view value) {
    text += fmt::format("{} = \"{}\"\n", key, value);
  };
  if (!cluster.description.empty()) line("description", toml_string(cluster.description));
  if (!cluster.aliases.empty()) line("aliases", toml_strings(cluster.aliases));
  line("devices_per_node", std::to_string(cluster.devices_per_node));
  line("nodes", std::to_string(cluster.nodes));

  text += "\n[device]\n";
  line("name", toml_string(cluster.device.name));
  if (!cluster.device.architecture.empty()) {
    line("architecture", toml_string(cluster.device.architecture));
  }
  quantity("memory", memory_text(cluster.device.memory));
  quantity("memory_bandwidth", rate_text(cluster.device.memory_bandwidth));
  if (cluster.device.warp_mma < 1) {
    quantity("warp_mma",
             quantity_text(cluster.device.warp_mma, Dimension::ratio, {{"%", 0.01}, {"", 1}}));
  }
  if (cluster.device.power_w > 0) {
    quantity("power", quantity_text(cluster.device.power_w, Dimension::watts, {{"W", 1}}));
  }
  if (cluster.price_per_device_hour) {
    const auto [amount, currency] = *cluster.price_per_device_hour;
    quantity("price_per_hour", quantity_text(amount, Dimension::money, {{to_string(currency), 1}}));
  }
  const auto rates = [&](std::string_view table, const std::array<double, 5>& by_precision) {
    if (std::ranges::all_of(by_precision, [](double rate) { return rate == 0; })) return;
    text += fmt::format("\n[device.{}]\n", table);
    for (const Precision precision : all_precisions) {
      const double rate = by_precision[static_cast<std::size_t>(precision)];
      if (rate == 0) continue;
      quantity(to_string(precision),
               quantity_text(rate, Dimension::flop_per_second,
                             {{"TFLOP/s", 1e12}, {"GFLOP/s", 1e9}, {"FLOP/s", 1}}));
    }
  };
  rates("peak", cluster.device.peak_flop_per_s);
  rates("achievable", cluster.device.achievable_flop_per_s);

  text += "\n[host]\n";
  quantity("memory", memory_text(cluster.host_memory));
  quantity("link_bandwidth", rate_text(cluster.host_link_bandwidth));
  text += "\n[links.intra_node]\n";
  quantity("bandwidth", rate_text(cluster.intra_node.bandwidth));
  quantity("latency", latency_text(cluster.intra_node.latency_s));
  if (cluster.intra_node_mesh) line("mesh", "true");
  text += "\n[links.inter_node]\n";
  quantity("nic_bandwidth", quantity_text(cluster.nic_bandwidth, Dimension::bytes_per_second,
                                          {{"Gbps", 1e9 / 8}, {"Mbps", 1e6 / 8}, {"B/s", 1}}));
  line("nics_per_node", std::to_string(cluster.nics_per_node));
  quantity("latency", latency_text(cluster.inter_node.latency_s));

  for (const Source& source : cluster.sources) {
    text += "\n[[source]]\n";
    line("keys", toml_strings(source.keys));
    line("title", toml_string(source.title));
    if (!source.url.empty()) line("url", toml_string(source.url));
  }
  return text;
}

}  // namespace kumihimo
