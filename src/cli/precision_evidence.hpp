#pragma once

#include <string>

#include "base/error.hpp"

namespace kumihimo {

/// What a comparison of precisions measured, as far as advice needs it.
struct PrecisionEvidence {
  std::string path;
  double mean_gap = 0;  ///< of the loss
  double tolerance = 0;
  bool within_tolerance = false;
  bool emulated = false;  ///< fp8 was rounded in software
};

/// Reads a document kumihimo.compare-precision/1, as `train --compare-precision --json` prints it,
/// that compares fp8 with something.
Expected<PrecisionEvidence> read_precision_evidence(const std::string& path);

}  // namespace kumihimo
