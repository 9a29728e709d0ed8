#include "tensor/kernels.hpp"

namespace kumihimo {

std::string_view to_string(Backend backend) {
  switch (backend) {
    case Backend::reference: return "reference";
    case Backend::cpu: return "cpu";
    case Backend::cuda: return "cuda";
  }
  return "?";
}

}  // namespace kumihimo
