#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "search/constraints.hpp"

// Planning anew under other amounts than those that were planned: what the page of a report does
// where it is read. All of this runs twice: in the program, which writes what the page starts from,
// and as WebAssembly in the page. Documents are JSON.

namespace kumihimo {

/// What was planned, as far as it decides figures.
struct WhatIfBasis {
  TrainingJob job;
  Cluster cluster;  ///< without aliases and sources
  StackProfile profile;
  std::int64_t devices = 0;
  /// Of these, tp, pp, cp, dp and micro-batch: what the flags of a report can narrow.
  Constraints constraints;
};

/// What may be changed.
struct WhatIfSettings {
  std::int64_t devices = 0;
  double inter_node_bandwidth = 0;  ///< bytes/s per device
  double intra_node_bandwidth = 0;  ///< bytes/s per device
  Bytes device_memory = 0;
  std::int64_t global_batch_size = 0;
  std::int64_t seq_length = 0;
  AttentionKernel attention = AttentionKernel::flash2;
  NormKernel norm = NormKernel::fused;
  Precision precision = Precision::bf16;
};

/// The settings of the basis itself: kernels and precision are those that a plan takes by itself.
WhatIfSettings settings_of(const WhatIfBasis& basis);

/// The search that `plan` makes for that job on that machine with --attention, --norm and
/// --precision; or every reason why there is none.
Expected<SearchRequest> what_if_request(const WhatIfBasis& basis, const WhatIfSettings& settings);

/// One setting, and the values that the page offers for it.
struct WhatIfControl {
  std::string key;  ///< as in the document of settings: "inter_node_bandwidth"
  struct Stop {
    double amount = 0;  ///< of a choice: unused
    std::string text;   ///< "25 GB/s", "flash2"
  };
  std::vector<Stop> stops;  ///< least first
  std::size_t today = 0;    ///< the stop of the basis
  bool is_choice = false;
};

/// Amounts from an eighth to eight times those of the basis, each (but the basis's own) exactly
/// what it prints as; kernels and precisions that the device can run.
std::vector<WhatIfControl> what_if_controls(const WhatIfBasis& basis);

std::string to_json_text(const WhatIfBasis& basis);
std::string to_json_text(const WhatIfSettings& settings);
std::string to_json_text(const std::vector<WhatIfControl>& controls);
/// Read what the above wrote; where and what is wrong otherwise.
Expected<WhatIfBasis> parse_what_if_basis(std::string_view json);
Expected<WhatIfSettings> parse_what_if_settings(std::string_view json);

/// The figures of a plan to which others are compared.
struct WhatIfBest {
  double mfu = 0;
  double step_s = 0;
  double tokens_per_s = 0;  ///< of all devices
  double memory_bytes = 0;
};

/// The document of a finished search, kumihimo.what-if/1: the ten best layouts and every count, in
/// the texts that `plan` prints, and how the best differs from `before` where there is one.
std::string what_if_answer(const SearchRequest& request, const SearchResult& result,
                           const std::optional<WhatIfBest>& before);

/// Reads {"basis", "settings", "before"}, plans on one thread, and answers; what is wrong with the
/// request comes as {"errors"} of the same document.
std::string answer_what_if(std::string_view request, const SearchProgress& progress = {});

}  // namespace kumihimo
