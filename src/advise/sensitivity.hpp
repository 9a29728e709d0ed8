#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "search/search.hpp"

namespace kumihimo {

/// What is varied, the rest as it is.
enum class SensitivityAxis : std::uint8_t {
  inter_node_bandwidth,  ///< bytes/s per device
  device_memory,         ///< bytes
  devices,
  global_batch,  ///< sequences
  seq_length,    ///< tokens, with as many tokens a step
};

/// "inter_node_bandwidth": in JSON, and in the keys of messages.
std::string_view key_of(SensitivityAxis axis);

/// The amount in words: "25 GB/s", "80 GiB", "512".
std::string amount_text(SensitivityAxis axis, double amount);

/// The best layout at one amount.
struct SensitivityPoint {
  double amount = 0;
  std::optional<RankedLayout> best;  ///< none: nothing fits
};

/// Neighbouring amounts at which one layout is the best, or within 1 % of it.
struct SensitivityRegion {
  double from = 0, to = 0;               ///< amounts that were tried
  std::optional<ParallelLayout> layout;  ///< none: nothing fits
};

/// From where on, upwards, the next region holds: found by bisection to 2 % for amounts that can
/// take any value, else the first amount tried.
struct SensitivityThreshold {
  double amount = 0;
};

/// How the best layout changes with one amount. Regions grow outwards from today's: a layout gives
/// way where it can no longer run or another is more than 1 % faster.
struct Sensitivity {
  SensitivityAxis axis = SensitivityAxis::inter_node_bandwidth;
  double today = 0;
  std::vector<SensitivityPoint> points;  ///< least amount first
  std::vector<SensitivityRegion> regions;
  std::vector<SensitivityThreshold> thresholds;  ///< one fewer than regions
};

/// Amounts from an eighth to eight times today's (counts: those that divide what they must).
/// `request` is a search as plan makes it; its default space follows what is varied.
Sensitivity sensitivity(const SearchRequest& request, SensitivityAxis axis);

/// The winners over two amounts at once: memory by inter-node bandwidth.
struct SensitivityMap {
  SensitivityAxis x = SensitivityAxis::inter_node_bandwidth;
  SensitivityAxis y = SensitivityAxis::device_memory;
  std::vector<double> x_amounts, y_amounts;
  std::vector<ParallelLayout> layouts;  ///< that win somewhere
  std::vector<int> winner;              ///< [y][x], of layouts; -1: nothing fits
  std::vector<double> mfu;              ///< [y][x]
};
SensitivityMap sensitivity_map(const SearchRequest& request, SensitivityAxis x, SensitivityAxis y);

/// The request with one amount changed; nothing where the job then makes no sense.
std::optional<SearchRequest> varied(const SearchRequest& request, SensitivityAxis axis,
                                    double amount);

/// Layouts that people would call the same: equal but for data parallelism and layer split.
bool same_choice(const ParallelLayout& a, const ParallelLayout& b);

}  // namespace kumihimo
