// A header that parse_safetensors_header accepts covers the file's data without gap or overlap, and
// survives being planned and parsed again.
#include "fuzz.hpp"
#include "saved_state/safetensors.hpp"

using namespace kumihimo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view file = fuzz::as_text(data, size);
  const Expected<SafetensorsHeader> header =
      parse_safetensors_header(file, std::ssize(file), "fuzz.safetensors");
  if (!header) {
    fuzz::check_refusal(header);
    return 0;
  }
  std::int64_t tensor_bytes = 0;
  for (const StoredTensor& tensor : header->tensors) {
    KUMIHIMO_CHECK(tensor.offset >= 8 && tensor.bytes >= 0);
    KUMIHIMO_CHECK(tensor.offset + tensor.bytes <= header->file_bytes);
    tensor_bytes += tensor.bytes;
  }
  KUMIHIMO_CHECK(tensor_bytes <= header->file_bytes - 8);

  const PlannedSafetensors planned = plan_safetensors(header->tensors, header->metadata);
  const Expected<SafetensorsHeader> again =
      parse_safetensors_header(planned.preamble, planned.header.file_bytes, "again.safetensors");
  KUMIHIMO_CHECK(again.has_value() && again->metadata == header->metadata);
  KUMIHIMO_CHECK(again->tensors.size() == header->tensors.size());
  for (std::size_t i = 0; i < again->tensors.size(); ++i) {
    const StoredTensor &a = again->tensors[i], &b = header->tensors[i];
    KUMIHIMO_CHECK(a.name == b.name && a.dtype == b.dtype && a.shape == b.shape);
    KUMIHIMO_CHECK(a.bytes == b.bytes);
  }
  return 0;
}
