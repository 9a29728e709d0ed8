// A model that parse_huggingface_config accepts has no faults and can be counted.
#include "fuzz.hpp"
#include "model/huggingface_config.hpp"
#include "model/parameters.hpp"
#include "model/validate_transformer.hpp"

using namespace kumihimo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Expected<TransformerShape> shape =
      parse_huggingface_config(fuzz::as_text(data, size), "config.json");
  if (!shape) {
    fuzz::check_refusal(shape);
    return 0;
  }
  KUMIHIMO_CHECK(validate(*shape, "config.json").empty());
  KUMIHIMO_CHECK(count_parameters(*shape).total(shape->layers) > 0);
  const double flops = model_flops_per_token(*shape, 2048, AttentionCount::full);
  KUMIHIMO_CHECK(std::isfinite(flops) && flops > 0);
  return 0;
}
