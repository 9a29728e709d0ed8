#pragma once

#include <string_view>

#include "model/transformer.hpp"

namespace kumihimo {

/// "rms_norm", "swiglu", "rotary" and so on: what saved states call them.
std::string_view to_string(NormKind norm);
std::string_view to_string(Activation activation);
std::string_view to_string(Positions positions);

}  // namespace kumihimo
