#include "model/transformer_names.hpp"

namespace kumihimo {

std::string_view to_string(NormKind norm) {
  return norm == NormKind::rms_norm ? "rms_norm" : "layer_norm";
}

std::string_view to_string(Activation activation) {
  return activation == Activation::swiglu ? "swiglu" : "gelu";
}

std::string_view to_string(Positions positions) {
  switch (positions) {
    case Positions::rotary: return "rotary";
    case Positions::learned: return "learned";
    case Positions::alibi: return "alibi";
    case Positions::none: return "none";
  }
  return "";
}

}  // namespace kumihimo
