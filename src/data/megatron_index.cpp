#include "data/megatron_index.hpp"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <optional>
#include <utility>

#include "base/units.hpp"

namespace kumihimo {
namespace {

constexpr std::string_view magic{"MMIDIDX\0\0", 9};
constexpr std::uint64_t supported_version = 1;
constexpr std::int64_t header_bytes = 9 + 8 + 1 + 8 + 8;

/// The remedy for an index that contradicts itself or its .bin.
constexpr const char* make_again = "copy both files again, or run Megatron-LM's preprocess_data.py";

template <class Number>
Number load(std::string_view bytes, std::int64_t at) {
  Number value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::optional<StoredType> type_of(std::uint8_t code) {
  switch (code) {
    case 1: return StoredType::uint8;
    case 2: return StoredType::int8;
    case 3: return StoredType::int16;
    case 4: return StoredType::int32;
    case 5: return StoredType::int64;
    case 8: return StoredType::uint16;
    default: return std::nullopt;
  }
}

/// The first bytes as a person can read them.
std::string quoted_start(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes.substr(0, magic.size())) {
    text += byte >= ' ' && byte <= '~' ? std::string(1, byte)
                                       : fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
  }
  return '"' + text + '"';
}

/// Reads one index; each step relies on those before it.
class IndexReader {
 public:
  IndexReader(std::string_view index, std::int64_t data_bytes, std::string_view where)
      : index_(index), data_bytes_(data_bytes), where_(where) {}

  Expected<MegatronIndex> read() {
    for (const auto step : {&IndexReader::read_header, &IndexReader::read_sequences,
                            &IndexReader::check_documents, &IndexReader::check_end_of_data}) {
      if (std::optional<Error> fault = (this->*step)()) return *std::move(fault);
    }
    return std::move(result_);
  }

 private:
  Error fault(std::string what, std::string fix = make_again) const {
    return {std::string(where_), std::move(what), std::move(fix)};
  }

  std::optional<Error> read_header() {
    const auto length = static_cast<std::int64_t>(index_.size());
    if (!index_.starts_with(magic.substr(0, index_.size())) || index_.empty()) {
      return fault(fmt::format("begins with {}, not with the \"MMIDIDX\" of a Megatron-LM index",
                               quoted_start(index_)),
                   "give the .idx file that preprocess_data.py wrote beside the .bin file");
    }
    if (length < header_bytes) {
      return fault(fmt::format("is cut off within its header of {} bytes", header_bytes));
    }
    if (const auto version = load<std::uint64_t>(index_, 9); version != supported_version) {
      return fault(fmt::format("is of version {} of Megatron-LM's index; version {} is read",
                               version, supported_version));
    }
    const auto code = load<std::uint8_t>(index_, 17);
    const std::optional<StoredType> type = type_of(code);
    if (!type) {
      return fault(fmt::format("says that tokens are of type {}{}", code,
                               code == 6 || code == 7 ? ", floating point" : ""),
                   "types are 1 (uint8), 2 (int8), 3 (int16), 4 (int32), 5 (int64), 8 (uint16)");
    }
    result_.stored.type = *type;

    // Bounding both counts by the length first keeps the sum below from overflowing.
    const auto sequences = load<std::uint64_t>(index_, 18);
    const auto bounds = load<std::uint64_t>(index_, 26);
    const auto most = static_cast<std::uint64_t>(length);
    const bool fits = sequences <= most && bounds <= most;
    sequences_ = fits ? static_cast<std::int64_t>(sequences) : 0;
    bounds_ = fits ? static_cast<std::int64_t>(bounds) : 0;
    if (!fits || header_bytes + 12 * sequences_ + 8 * bounds_ != length) {
      return fault(
          fmt::format("states {} sequences and {} document bounds, which does not go with "
                      "its length of {} bytes",
                      sequences, bounds, grouped(length)));
    }
    return std::nullopt;
  }

  std::optional<Error> read_sequences() {
    StoredTokens& stored = result_.stored;
    const std::int64_t width = width_of(stored.type);
    const std::int64_t data_tokens = data_bytes_ / width;
    std::int64_t next_byte = -1;  // where the sequence before ended
    for (std::int64_t i = 0; i < sequences_; ++i) {
      const std::int64_t tokens = load<std::int32_t>(index_, header_bytes + 4 * i);
      const auto byte = load<std::int64_t>(index_, header_bytes + 4 * sequences_ + 8 * i);
      if (tokens < 0) return fault(fmt::format("sequence {} has {} tokens", i, tokens));
      if (byte < 0 || byte % width != 0 || byte / width > data_tokens - tokens) {
        return fault(
            fmt::format("sequence {} of {} tokens begins at byte {}, which does not go "
                        "with a .bin file of {} bytes of {}",
                        i, grouped(tokens), byte, grouped(data_bytes_), name_of(stored.type)));
      }
      if (tokens == 0) continue;
      if (byte != next_byte) stored.extents.push_back({stored.tokens, byte});
      stored.tokens += tokens;
      next_byte = byte + tokens * width;
      end_of_data_ = std::max(end_of_data_, next_byte);
    }
    if (stored.tokens == 0) return fault("has no tokens", "give a corpus that is not empty");
    return std::nullopt;
  }

  std::optional<Error> check_documents() {
    const std::int64_t begin = header_bytes + 12 * sequences_;
    std::int64_t before = 0;
    for (std::int64_t i = 0; i < bounds_; ++i) {
      const auto bound = load<std::int64_t>(index_, begin + 8 * i);
      if (bound < before || bound > sequences_ || (i == 0 && bound != 0)) {
        return fault(fmt::format("document bound {} is sequence {}, after {} of {} sequences", i,
                                 bound, before, sequences_));
      }
      before = bound;
    }
    if (bounds_ == 0 || before != sequences_) {
      return fault(fmt::format("its {} document bounds cover {} of {} sequences", bounds_, before,
                               sequences_));
    }
    result_.documents = bounds_ - 1;
    return std::nullopt;
  }

  std::optional<Error> check_end_of_data() {
    if (end_of_data_ == data_bytes_) return std::nullopt;
    return fault(fmt::format("its sequences end at byte {} of the .bin file, which has {}",
                             grouped(end_of_data_), grouped(data_bytes_)));
  }

  std::string_view index_;
  std::int64_t data_bytes_;
  std::string_view where_;
  std::int64_t sequences_ = 0;
  std::int64_t bounds_ = 0;
  std::int64_t end_of_data_ = 0;
  MegatronIndex result_;
};

}  // namespace

Expected<MegatronIndex> parse_megatron_index(std::string_view index, std::int64_t data_bytes,
                                             std::string_view where) {
  return IndexReader(index, data_bytes, where).read();
}

}  // namespace kumihimo
