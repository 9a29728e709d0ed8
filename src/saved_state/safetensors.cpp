#include "saved_state/safetensors.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <system_error>
#include <tuple>
#include <utility>

#include "base/check.hpp"
#include "base/json_document.hpp"
#include "base/units.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::int64_t length_bytes = 8;
constexpr std::int64_t largest_header = 100'000'000;
constexpr std::int64_t data_alignment = 64;
constexpr const char* metadata_key = "__metadata__";
constexpr const char* copy_again = "copy or download the file again";
/// A file of another kind has a fault in every tensor; the first ones tell as much as all.
constexpr std::size_t most_faults = 10;

struct DataType {
  std::string_view name;
  std::int64_t bytes;
};
constexpr std::array<DataType, 15> data_types{{{"F64", 8},
                                               {"F32", 4},
                                               {"F16", 2},
                                               {"BF16", 2},
                                               {"F8_E4M3", 1},
                                               {"F8_E5M2", 1},
                                               {"I64", 8},
                                               {"I32", 4},
                                               {"I16", 2},
                                               {"I8", 1},
                                               {"U64", 8},
                                               {"U32", 4},
                                               {"U16", 2},
                                               {"U8", 1},
                                               {"BOOL", 1}}};

/// Bytes of an element, or 0 for a type that we do not know.
std::int64_t element_bytes(std::string_view dtype) {
  const auto found = std::find_if(data_types.begin(), data_types.end(),
                                  [&](const DataType& type) { return type.name == dtype; });
  return found == data_types.end() ? 0 : found->bytes;
}

/// Bytes of all elements, or nothing where they are more than an int64 can count.
std::optional<std::int64_t> tensor_bytes(std::int64_t element,
                                         const std::vector<std::int64_t>& shape) {
  std::int64_t bytes = element;
  for (const std::int64_t dim : shape) {
    if (__builtin_mul_overflow(bytes, dim, &bytes)) return std::nullopt;
  }
  return bytes;
}

/// UTF-8 from a file, fit to be printed.
std::string printable(std::string_view from_file) {
  const auto is_within_character = [&](std::size_t at) {
    return at < from_file.size() && (static_cast<unsigned char>(from_file[at]) & 0xc0) == 0x80;
  };
  std::size_t length = std::min<std::size_t>(from_file.size(), 100);
  while (is_within_character(length)) --length;
  std::string text(from_file.substr(0, length));
  std::replace_if(
      text.begin(), text.end(), [](unsigned char byte) { return byte < ' ' || byte == 127; }, '?');
  return text;
}

/// The JSON form of a text, whatever its bytes.
std::string in_json(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// The eight bytes that a file begins with.
std::uint64_t stated_length(std::string_view bytes) {
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  return length;
}

/// The length of the JSON header if the file can hold it.
Expected<std::int64_t> header_length(std::string_view bytes, std::int64_t file_bytes,
                                     std::string_view where) {
  if (file_bytes < length_bytes || std::ssize(bytes) < length_bytes) {
    return Error{std::string(where),
                 fmt::format("is {} bytes long; a safetensors file begins with 8 bytes of length",
                             file_bytes),
                 copy_again};
  }
  const std::uint64_t length = stated_length(bytes);
  if (length > static_cast<std::uint64_t>(largest_header)) {
    return Error{std::string(where),
                 fmt::format("begins with a header length of {} bytes, over the {} that are read",
                             length, grouped(largest_header)),
                 "check that this is a safetensors file"};
  }
  const auto header = static_cast<std::int64_t>(length);
  if (header > file_bytes - length_bytes) {
    return Error{std::string(where),
                 fmt::format("is cut off: {} bytes long, and its header alone takes {}",
                             grouped(file_bytes), grouped(length_bytes + header)),
                 copy_again};
  }
  return header;
}

/// Reads one JSON header; each step relies on those before it.
class HeaderReader {
 public:
  HeaderReader(std::int64_t data_begin, std::int64_t file_bytes, std::string_view where)
      : data_begin_(data_begin), where_(where) {
    header_.file_bytes = file_bytes;
  }

  Expected<SafetensorsHeader> read(std::string_view text) {
    const Expected<Json> root = parse_json(text, fmt::format("{}: header", where_), copy_again);
    if (!root) return root.errors();
    if (!root->is_object()) {
      return Error{std::string(where_), "has a header that is no JSON object",
                   "check that this is a safetensors file"};
    }
    for (const auto& [name, value] : root->items()) {
      if (faults_.size() >= most_faults) break;
      if (name == metadata_key) {
        read_metadata(value);
      } else {
        read_tensor(name, value);
      }
    }
    if (faults_.empty()) check_order();
    if (!faults_.empty()) return faults_;
    return std::move(header_);
  }

 private:
  void fault(std::string what, const char* fix = copy_again) {
    faults_.push_back({std::string(where_), std::move(what), fix});
  }
  void tensor_fault(const std::string& name, std::string what, const char* fix = copy_again) {
    faults_.push_back(
        {fmt::format("{}: tensor {}", where_, printable(name)), std::move(what), fix});
  }

  void read_metadata(const Json& value) {
    if (!value.is_object()) return fault("has a __metadata__ that is no JSON object");
    for (const auto& [key, entry] : value.items()) {
      if (!entry.is_string()) {
        return fault(fmt::format("has a __metadata__ whose \"{}\" is no string", printable(key)));
      }
      header_.metadata[key] = entry.get<std::string>();
    }
  }

  void read_tensor(const std::string& name, const Json& value) {
    StoredTensor tensor;
    tensor.name = name;
    const auto field = [&](const char* key) {
      const auto found = value.find(key);
      return found == value.end() ? Json() : *found;
    };
    const Json dtype = field("dtype"), shape = field("shape"), offsets = field("data_offsets");
    if (!dtype.is_string() || !is_list_of_counts(shape) || !is_list_of_counts(offsets) ||
        offsets.size() != 2) {
      return tensor_fault(name, "lacks a dtype, a shape or two data_offsets that can be read");
    }
    tensor.dtype = dtype.get<std::string>();
    tensor.shape = shape.get<std::vector<std::int64_t>>();
    const std::int64_t element = element_bytes(tensor.dtype);
    if (element == 0) {
      return tensor_fault(
          name, fmt::format("is of dtype {}", printable(tensor.dtype)),
          "known are F64, F32, F16, BF16, F8_E4M3, F8_E5M2, I64 to I8, U64 to U8 and BOOL");
    }
    const auto begin = offsets[0].get<std::int64_t>(), end = offsets[1].get<std::int64_t>();
    const std::int64_t data_bytes = header_.file_bytes - data_begin_;
    if (begin > end || end > data_bytes) {
      return tensor_fault(name, fmt::format("lies at bytes {} to {} of data that has {}", begin,
                                            end, grouped(data_bytes)));
    }
    const std::optional<std::int64_t> bytes = tensor_bytes(element, tensor.shape);
    if (bytes != end - begin) {
      return tensor_fault(
          name,
          fmt::format("has {} bytes, but {} of shape [{}] takes {}", grouped(end - begin),
                      tensor.dtype, printable(fmt::format("{}", fmt::join(tensor.shape, ", "))),
                      bytes ? grouped(*bytes) : "more than can be counted"));
    }
    tensor.offset = data_begin_ + begin;
    tensor.bytes = *bytes;
    header_.tensors.push_back(std::move(tensor));
  }

  static bool is_list_of_counts(const Json& value) {
    return value.is_array() && std::all_of(value.begin(), value.end(), [](const Json& number) {
             return number.is_number_unsigned() &&
                    number.get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX);
           });
  }

  /// Every byte of the data belongs to one tensor.
  void check_order() {
    std::vector<StoredTensor>& tensors = header_.tensors;
    std::sort(tensors.begin(), tensors.end(), [](const StoredTensor& a, const StoredTensor& b) {
      return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
    });
    std::int64_t expected = data_begin_;
    for (const StoredTensor& tensor : tensors) {
      if (tensor.offset != expected) {
        return tensor_fault(tensor.name,
                            fmt::format("begins at byte {} of the file, {} the end of the tensor "
                                        "before it at byte {}",
                                        grouped(tensor.offset),
                                        tensor.offset < expected ? "before" : "with a gap after",
                                        grouped(expected)));
      }
      expected += tensor.bytes;
    }
    if (expected != header_.file_bytes) {
      fault(fmt::format("is {} bytes long, but its last tensor ends at byte {}",
                        grouped(header_.file_bytes), grouped(expected)));
    }
  }

  std::int64_t data_begin_;
  std::string_view where_;
  SafetensorsHeader header_;
  Errors faults_;
};

Expected<SafetensorsHeader> read_header_of(const fs::path& path) {
  const SliceFile file(path, SliceFile::Mode::read);
  const auto file_bytes = static_cast<std::int64_t>(fs::file_size(path));
  std::string bytes(static_cast<std::size_t>(std::min(file_bytes, length_bytes)), '\0');
  file.read(0, bytes.data(), std::ssize(bytes));
  const Expected<std::int64_t> header = header_length(bytes, file_bytes, path.string());
  if (!header) return header.errors();
  bytes.resize(static_cast<std::size_t>(length_bytes + *header));
  file.read(length_bytes, bytes.data() + length_bytes, *header);
  return parse_safetensors_header(bytes, file_bytes, path.string());
}

}  // namespace

PlannedSafetensors plan_safetensors(std::vector<StoredTensor> tensors,
                                    std::map<std::string, std::string> metadata) {
  // Written by hand: a JSON object of the library would sort the names.
  std::vector<std::string> entries;
  if (!metadata.empty()) {
    std::vector<std::string> pairs;
    for (const auto& [key, value] : metadata) pairs.push_back(in_json(key) + ":" + in_json(value));
    entries.push_back(fmt::format("\"{}\":{{{}}}", metadata_key, fmt::join(pairs, ",")));
  }
  std::set<std::string_view> names{metadata_key};
  std::int64_t data_bytes = 0;
  for (StoredTensor& tensor : tensors) {
    KUMIHIMO_CHECK(names.insert(tensor.name).second);
    const std::int64_t element = element_bytes(tensor.dtype);
    KUMIHIMO_CHECK(element > 0);
    KUMIHIMO_CHECK(std::all_of(tensor.shape.begin(), tensor.shape.end(),
                               [](std::int64_t dim) { return dim >= 0; }));
    const std::optional<std::int64_t> bytes = tensor_bytes(element, tensor.shape);
    KUMIHIMO_CHECK(bytes && *bytes <= (std::int64_t{1} << 62) - data_bytes);
    tensor.bytes = *bytes;
    tensor.offset = data_bytes;  // from the begin of the data, until the header's length is known
    data_bytes += tensor.bytes;
    entries.push_back(fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                                  in_json(tensor.name), tensor.dtype, fmt::join(tensor.shape, ","),
                                  tensor.offset, data_bytes));
  }
  std::string json = fmt::format("{{{}}}", fmt::join(entries, ","));
  const std::int64_t unpadded = length_bytes + std::ssize(json);
  const std::int64_t data_begin = (unpadded + data_alignment - 1) / data_alignment * data_alignment;
  json.append(static_cast<std::size_t>(data_begin - unpadded), ' ');
  KUMIHIMO_CHECK(std::ssize(json) <= largest_header);

  const std::uint64_t length = json.size();
  PlannedSafetensors planned;
  planned.preamble.assign(reinterpret_cast<const char*>(&length), sizeof length);
  planned.preamble += json;
  for (StoredTensor& tensor : tensors) tensor.offset += data_begin;
  planned.header = {std::move(tensors), std::move(metadata), data_begin + data_bytes};
  return planned;
}

Expected<SafetensorsHeader> parse_safetensors_header(std::string_view bytes,
                                                     std::int64_t file_bytes,
                                                     std::string_view where) {
  const Expected<std::int64_t> header = header_length(bytes, file_bytes, where);
  if (!header) return header.errors();
  const std::int64_t data_begin = length_bytes + *header;
  KUMIHIMO_CHECK(std::ssize(bytes) >= data_begin);
  return HeaderReader(data_begin, file_bytes, where)
      .read(bytes.substr(length_bytes, static_cast<std::size_t>(*header)));
}

Expected<SafetensorsHeader> read_safetensors_header(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) {
    return Error{path.string(), "is a directory", "give the path of a file in it"};
  }
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    return Error{path.string(), "is not a regular file", "copy the contents into a file"};
  }
  try {
    return read_header_of(path);
  } catch (const std::system_error& failure) {
    return Error{path.string(), "cannot be read: " + failure.code().message(),
                 "give the path of a file that exists and may be read"};
  }
}

}  // namespace kumihimo
