#include "cluster/cluster_file.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fmt/format.h>
#include <optional>
#include <system_error>
#include <toml++/toml.h>
#include <utility>
#include <vector>

#include "base/catalog.hpp"
#include "base/files.hpp"
#include "base/suggest.hpp"
#include "base/units.hpp"
#include "cluster/table_reader.hpp"

namespace kumihimo {
namespace {

constexpr std::int64_t most_devices = 100'000'000;

/// What a source may vouch for: each of these, or a table that holds some of them.
constexpr std::array<std::string_view, 25> citable_keys{
    "devices_per_node",
    "nodes",
    "device.memory",
    "device.memory_bandwidth",
    "device.warp_mma",
    "device.power",
    "device.price_per_hour",
    "device.peak.fp32",
    "device.peak.tf32",
    "device.peak.fp16",
    "device.peak.bf16",
    "device.peak.fp8",
    "device.achievable.fp32",
    "device.achievable.tf32",
    "device.achievable.fp16",
    "device.achievable.bf16",
    "device.achievable.fp8",
    "host.memory",
    "host.link_bandwidth",
    "links.intra_node.bandwidth",
    "links.intra_node.latency",
    "links.intra_node.mesh",
    "links.inter_node.nic_bandwidth",
    "links.inter_node.nics_per_node",
    "links.inter_node.latency",
};

/// Each decides which kernels run (layout/validate.cpp).
constexpr std::array<std::string_view, 8> architectures{
    "volta", "ampere", "ada", "hopper", "blackwell", "cdna2", "cdna3", "cpu",
};

constexpr double PiB = 1024 * 1024 * GiB;
constexpr Amount device_memory{Dimension::bytes, MiB, PiB, "1MiB to 1024TiB", "80GiB"};
constexpr Amount host_memory{Dimension::bytes, MiB, PiB, "1MiB to 1024TiB", "2TiB"};
constexpr Amount bandwidth{Dimension::bytes_per_second, 1e3, 1e17, "1kB/s to 100000TB/s",
                           "300GB/s"};
constexpr Amount nic_bandwidth{Dimension::bytes_per_second, 1e3, 1e17, "1kB/s to 100000TB/s",
                               "200Gbps"};
constexpr Amount latency{Dimension::seconds, 0, 10, "0s to 10s", "2us"};
constexpr Amount peak{Dimension::flop_per_second, 1e6, 1e21, "1MFLOP/s to 1000EFLOP/s",
                      "312TFLOP/s"};
constexpr Amount share{Dimension::ratio, 0.01, 1, "1% to 100%", "52%"};
constexpr Amount power{Dimension::watts, 1e-3, 1e9, "0.001W to 1000000kW", "400W"};
constexpr Amount price{Dimension::money, 0, 1e9, "0USD to 1000000000USD", "1.80USD"};

bool is_citable(std::string_view key) {
  return std::any_of(citable_keys.begin(), citable_keys.end(), [&](std::string_view known) {
    return known == key || (known.size() > key.size() && known.starts_with(key) &&
                            known[key.size()] == '.' && !key.empty());
  });
}

template <std::size_t size>
std::string suggest_one(std::string_view name, const std::array<std::string_view, size>& known) {
  return suggest(name, std::vector<std::string>(known.begin(), known.end()));
}

std::string read_architecture(TableReader& table) {
  const std::string name = table.text("architecture", Presence::optional);
  if (name.empty() || std::ranges::find(architectures, name) != architectures.end()) return name;
  table.fault("architecture", fmt::format("is \"{}\", which is not known", shown(name)),
              suggest_one(name, architectures));
  return {};
}

void read_achievable(TableReader& device_table, Device& device) {
  // Peaks are stated at a clock that cooler devices exceed.
  constexpr double most_over_peak = 1.25;
  TableReader rates = device_table.child("achievable");
  for (const Precision precision : all_precisions) {
    const auto rate = rates.quantity(to_string(precision), peak, Presence::optional);
    if (!rate) continue;
    if (*rate > most_over_peak * device.peak(precision)) {
      rates.fault(to_string(precision), "is far more than device.peak states for it",
                  "give what the best dense matrix product was measured to reach, or leave it out");
      continue;
    }
    device.achievable_flop_per_s[static_cast<std::size_t>(precision)] = *rate;
  }
  rates.refuse_unknown_keys();
}

Device read_device(TableReader table, std::optional<Money>& price_per_hour) {
  Device device;
  device.name = table.text("name", Presence::required);
  device.architecture = read_architecture(table);
  const auto memory = table.quantity("memory", device_memory, Presence::required);
  device.memory = std::llround(memory.value_or(0));
  device.memory_bandwidth =
      table.quantity("memory_bandwidth", bandwidth, Presence::required).value_or(0);
  device.warp_mma = table.quantity("warp_mma", share, Presence::optional).value_or(1);
  device.power_w = table.quantity("power", power, Presence::optional).value_or(0);
  price_per_hour = table.money("price_per_hour", price, Presence::optional);

  TableReader peaks = table.child("peak");
  bool stated = false;
  for (const Precision precision : all_precisions) {
    const auto rate = peaks.quantity(to_string(precision), peak, Presence::optional);
    stated = stated || rate.has_value();
    device.peak_flop_per_s[static_cast<std::size_t>(precision)] = rate.value_or(0);
  }
  peaks.refuse_unknown_keys();
  if (!stated) {
    table.fault("peak", "states no usable peak",
                "give the dense peak of at least one precision, as in bf16 = \"312TFLOP/s\"");
  }
  read_achievable(table, device);
  table.refuse_unknown_keys();
  return device;
}

void read_links(TableReader links, Cluster& cluster) {
  TableReader intra = links.child("intra_node");
  cluster.intra_node.bandwidth =
      intra.quantity("bandwidth", bandwidth, Presence::required).value_or(0);
  cluster.intra_node.latency_s = intra.quantity("latency", latency, Presence::required).value_or(0);
  cluster.intra_node_mesh = intra.truth("mesh", Presence::optional).value_or(false);
  intra.refuse_unknown_keys();

  TableReader inter = links.child("inter_node");
  cluster.nic_bandwidth =
      inter.quantity("nic_bandwidth", nic_bandwidth, Presence::required).value_or(0);
  cluster.nics_per_node = static_cast<int>(inter.count("nics_per_node", 65536).value_or(0));
  cluster.inter_node.latency_s = inter.quantity("latency", latency, Presence::required).value_or(0);
  inter.refuse_unknown_keys();
  links.refuse_unknown_keys();
}

Source read_source(TableReader table) {
  Source source;
  source.keys = table.texts("keys", Presence::required);
  for (const std::string& key : source.keys) {
    if (!key.empty() && !is_citable(key)) {
      table.fault("keys", fmt::format("names \"{}\", which no source can vouch for", shown(key)),
                  suggest_one(key, citable_keys));
    }
  }
  source.title = table.text("title", Presence::required);
  source.url = table.text("url", Presence::optional);
  if (!source.url.empty() && !source.url.starts_with("https://") &&
      !source.url.starts_with("http://")) {
    table.fault("url", fmt::format("is \"{}\"", shown(source.url)), "start it with https://");
  }
  table.refuse_unknown_keys();
  return source;
}

Expected<Cluster> read_root(const toml::table& document, std::string_view where) {
  Errors faults;
  Cluster cluster;
  TableReader root(&document, "", where, &faults);
  cluster.name = root.text("name", Presence::required);
  cluster.description = root.text("description", Presence::optional);
  cluster.aliases = root.texts("aliases", Presence::optional);
  const auto devices_per_node = root.count("devices_per_node", 65536);
  const auto nodes = root.count("nodes", 10'000'000);
  if (devices_per_node && nodes && *devices_per_node * *nodes > most_devices) {
    root.fault("nodes", fmt::format("makes {} devices", *devices_per_node * *nodes),
               fmt::format("describe at most {}", most_devices));
  }
  cluster.devices_per_node = static_cast<int>(devices_per_node.value_or(1));
  cluster.nodes = static_cast<int>(nodes.value_or(1));
  cluster.device = read_device(root.child("device"), cluster.price_per_device_hour);

  TableReader host = root.child("host");
  cluster.host_memory =
      std::llround(host.quantity("memory", host_memory, Presence::required).value_or(0));
  cluster.host_link_bandwidth =
      host.quantity("link_bandwidth", bandwidth, Presence::required).value_or(0);
  host.refuse_unknown_keys();

  read_links(root.child("links"), cluster);
  cluster.inter_node.bandwidth =
      cluster.nic_bandwidth * cluster.nics_per_node / cluster.devices_per_node;

  for (TableReader& source : root.children("source")) {
    cluster.sources.push_back(read_source(std::move(source)));
  }
  root.refuse_unknown_keys();
  if (!faults.empty()) return faults;
  return cluster;
}

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

Expected<Cluster> read_from_catalog(std::string_view name) {
  const Expected<CatalogFile> exact = find_in_catalog(CatalogKind::clusters, name);
  if (exact) return parse_cluster(exact->text, exact->origin);

  // A faulty file may be the one that holds the alias: its faults explain why nothing was found.
  Errors faults;
  for (const std::string& known : catalog_names(CatalogKind::clusters)) {
    const Expected<CatalogFile> file = find_in_catalog(CatalogKind::clusters, known);
    if (!file) {
      collect(faults, file);
      continue;
    }
    Expected<Cluster> cluster = parse_cluster(file->text, file->origin);
    if (!cluster) {
      collect(faults, cluster);
      continue;
    }
    const auto is_name = [&](std::string_view alias) { return same_name(alias, name); };
    if (is_name(known) || std::any_of(cluster->aliases.begin(), cluster->aliases.end(), is_name)) {
      return cluster;
    }
  }
  collect(faults, exact);
  return faults;
}

}  // namespace

Expected<Cluster> parse_cluster(std::string_view text, std::string_view where) {
  const Expected<toml::table> document =
      parse_toml(text, where, "a cluster file", "docs/clusters.md");
  if (!document) return document.errors();
  return read_root(*document, where);
}

Expected<Cluster> read_cluster(std::string_view name_or_path) {
  std::error_code ignored;
  const std::filesystem::path path(name_or_path);
  if (name_or_path.find('/') == std::string_view::npos && !name_or_path.ends_with(".toml") &&
      !std::filesystem::is_regular_file(path, ignored)) {
    return read_from_catalog(name_or_path);
  }
  const Expected<std::string> text = read_file(path, largest_toml_file);
  if (!text) return text.errors();
  return parse_cluster(*text, name_or_path);
}

}  // namespace kumihimo
