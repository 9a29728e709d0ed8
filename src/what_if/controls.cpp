#include <algorithm>
#include <array>
#include <cmath>

#include "base/units.hpp"
#include "layout/attention_support.hpp"
#include "layout/names.hpp"
#include "what_if/what_if.hpp"

namespace kumihimo {
namespace {

constexpr double most_times = 8;  // an eighth to eight times what was planned

/// `amounts` within reach of today's, and today's.
std::vector<double> around(double today, const std::vector<double>& amounts) {
  std::vector<double> kept{today};
  for (const double amount : amounts) {
    if (amount >= today / most_times && amount <= today * most_times && amount != today) {
      kept.push_back(amount);
    }
  }
  std::sort(kept.begin(), kept.end());
  return kept;
}

/// 1, 1.25, 1.5, ... 8, 10, ...: what prints in three digits as what it is.
std::vector<double> round_rates() {
  constexpr std::array digits{100, 125, 150, 200, 250, 300, 400, 500, 600, 800};
  std::vector<double> rates;
  for (double scale = 1e3; scale < 1e16; scale *= 10) {
    for (const int digit : digits) rates.push_back(digit * scale);
  }
  return rates;
}

/// 1, 2, 3, 4, 6, 8, 12, ...
std::vector<double> round_counts(bool with_thirds) {
  std::vector<double> counts;
  for (double power = 1; power <= std::exp2(30); power *= 2) {
    counts.push_back(power);
    if (with_thirds && power > 1) counts.push_back(1.5 * power);
  }
  return counts;
}

std::vector<double> round_memories() {
  std::vector<double> memories;
  for (const double count : round_counts(true)) {
    if (count >= 4) memories.push_back(count * GiB);
  }
  memories.insert(memories.end(), {40 * GiB, 80 * GiB, 160 * GiB, 288 * GiB});
  return memories;
}

/// Whole nodes, or what divides one.
std::vector<double> device_counts(int per_node) {
  std::vector<double> counts = round_counts(true);
  std::erase_if(counts, [&](double count) {
    const auto devices = static_cast<std::int64_t>(count);
    return devices < per_node ? per_node % devices != 0 : devices % per_node != 0;
  });
  return counts;
}

template <class Text>
WhatIfControl slider(std::string key, double today, const std::vector<double>& amounts, Text text) {
  WhatIfControl control{.key = std::move(key)};
  for (const double amount : around(today, amounts)) {
    if (amount == today) control.today = control.stops.size();
    control.stops.push_back({amount, text(amount)});
  }
  return control;
}

std::string count_text(double amount) { return grouped(static_cast<std::int64_t>(amount)); }

template <class Enum, class Offered>
WhatIfControl choice(std::string key, Enum today, Offered offered) {
  WhatIfControl control{.key = std::move(key), .is_choice = true};
  for (const auto& row : NameTable<Enum>::rows) {
    if (row.value != today && !offered(row.value)) continue;
    if (row.value == today) control.today = control.stops.size();
    control.stops.push_back({0, std::string(row.name)});
  }
  return control;
}

}  // namespace

std::vector<WhatIfControl> what_if_controls(const WhatIfBasis& basis) {
  const WhatIfSettings today = settings_of(basis);
  const Device& device = basis.cluster.device;
  std::vector<double> lengths = round_counts(false);
  std::erase_if(lengths, [&](double length) {
    return basis.job.model.positions == Positions::learned &&
           length > static_cast<double>(basis.job.model.max_positions);
  });
  return {
      slider("devices", static_cast<double>(today.devices),
             device_counts(std::max(1, basis.cluster.devices_per_node)), count_text),
      slider("inter_node_bandwidth", today.inter_node_bandwidth, round_rates(),
             format_bytes_per_second),
      slider("intra_node_bandwidth", today.intra_node_bandwidth, round_rates(),
             format_bytes_per_second),
      slider("device_memory", static_cast<double>(today.device_memory), round_memories(),
             format_bytes),
      slider("global_batch_size", static_cast<double>(today.global_batch_size), round_counts(true),
             count_text),
      slider("seq_length", static_cast<double>(today.seq_length), lengths, count_text),
      choice("attention", today.attention,
             [&](AttentionKernel kernel) {
               return has_kernel(device, kernel) &&
                      basis.job.model.head_dim <= widest_head(device, kernel);
             }),
      choice("norm", today.norm, [](NormKernel) { return true; }),
      choice("precision", today.precision,
             [&](Precision precision) { return device.supports(precision); }),
  };
}

}  // namespace kumihimo
