#include <algorithm>
#include <fmt/format.h>
#include <optional>
#include <utility>

#include "base/units.hpp"
#include "data/llm_c_file.hpp"
#include "data/mapped_file.hpp"
#include "data/megatron_index.hpp"
#include "data/token_source.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;

/// Tokens of any of the formats: they differ in where tokens lie and how wide they are.
class MappedTokens final : public TokenSource {
 public:
  MappedTokens(MappedFile file, StoredTokens stored, std::int64_t vocab, std::string description)
      : file_(std::move(file)),
        stored_(std::move(stored)),
        vocab_(vocab),
        description_(std::move(description)) {}

  std::int64_t tokens() const override { return stored_.tokens; }
  std::int64_t vocab() const override { return vocab_; }
  std::string description() const override { return description_; }

  void read(std::int64_t first, std::span<std::int32_t> out) const override {
    file_.require_unchanged();
    copy_tokens(file_.bytes(), stored_, first, out);
  }

 private:
  MappedFile file_;
  StoredTokens stored_;
  std::int64_t vocab_;
  std::string description_;
};

std::string plural(std::int64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", grouped(count), noun, count == 1 ? "" : "s");
}

/// Looks at every token once, so that no kernel ever indexes beyond its embedding table.
std::optional<Error> find_fault(const MappedFile& file, const StoredTokens& stored,
                                std::int64_t vocab) {
  constexpr std::int64_t piece = std::int64_t{1} << 24;
  for (std::int64_t first = 0; first < stored.tokens; first += piece) {
    file.require_unchanged();
    const std::int64_t count = std::min(piece, stored.tokens - first);
    const auto outside = find_outside(file.bytes(), stored, first, count, vocab);
    if (!outside) continue;
    const std::string what =
        fmt::format("token number {} (of {}, from 0) is {}, outside the model's vocabulary of {}",
                    grouped(outside->number), grouped(stored.tokens), outside->value, vocab);
    return Error{file.path().string(), what,
                 outside->value < 0
                     ? "tokens are never negative: tokenize the text again"
                     : fmt::format("tokenize with the model's tokenizer, or give --vocab-size {} "
                                   "or more",
                                   outside->value + 1)};
  }
  return std::nullopt;
}

Expected<std::unique_ptr<TokenSource>> checked(MappedFile file, StoredTokens stored,
                                               std::int64_t vocab, std::string description) {
  if (std::optional<Error> fault = find_fault(file, stored, vocab)) return *std::move(fault);
  return std::unique_ptr<TokenSource>(std::make_unique<MappedTokens>(
      std::move(file), std::move(stored), vocab, std::move(description)));
}

Expected<std::unique_ptr<TokenSource>> open_llm_c(MappedFile file, std::int64_t vocab) {
  Expected<StoredTokens> stored = parse_llm_c_file(file.bytes(), file.path().string());
  if (!stored) return stored.errors();
  std::string description = fmt::format("{}: {} of {} (llm.c)", file.path().filename().string(),
                                        plural(stored->tokens, "token"), name_of(stored->type));
  return checked(std::move(file), *std::move(stored), vocab, std::move(description));
}

Expected<std::unique_ptr<TokenSource>> open_megatron(const fs::path& index_path,
                                                     std::int64_t vocab) {
  const Expected<MappedFile> index_file = MappedFile::open(index_path);
  Expected<MappedFile> file = MappedFile::open(fs::path(index_path).replace_extension(".bin"));
  Errors faults;
  collect(faults, index_file);
  collect(faults, file);
  if (!faults.empty()) return faults;

  Expected<MegatronIndex> index = parse_megatron_index(
      index_file->bytes(), static_cast<std::int64_t>(file->bytes().size()), index_path.string());
  if (!index) return index.errors();
  std::string description =
      fmt::format("{}: {} of {} in {} (Megatron-LM)", file->path().filename().string(),
                  plural(index->stored.tokens, "token"), name_of(index->stored.type),
                  plural(index->documents, "document"));
  return checked(*std::move(file), std::move(index->stored), vocab, std::move(description));
}

Expected<std::unique_ptr<TokenSource>> open_text(MappedFile file, std::int64_t vocab) {
  const auto bytes = static_cast<std::int64_t>(file.bytes().size());
  std::string description =
      fmt::format("{}: {} as tokens", file.path().filename().string(), plural(bytes, "byte"));
  constexpr std::int64_t byte_values = 256;
  return checked(std::move(file), {StoredType::uint8, {{0, 0}}, bytes},
                 std::min(vocab, byte_values), std::move(description));
}

/// The index of the Megatron-LM corpus that `path` means: as the index itself, as the .bin file
/// beside one, or as the prefix of both. Nothing where it means none.
std::optional<fs::path> megatron_index_of(const fs::path& path) {
  if (path.extension() == ".idx") return path;
  std::error_code ignored;
  const bool is_file = fs::is_regular_file(path, ignored);
  fs::path index = path;
  if (is_file && path.extension() == ".bin") {
    index.replace_extension(".idx");
  } else if (!is_file) {
    index += ".idx";
  } else {
    return std::nullopt;
  }
  if (!fs::exists(index, ignored)) return std::nullopt;
  return index;
}

}  // namespace

Expected<std::unique_ptr<TokenSource>> open_tokens(const fs::path& path, std::int64_t vocab) {
  KUMIHIMO_CHECK(vocab > 0 && vocab <= std::int64_t{1} << 31);  // a token is an int32
  if (const std::optional<fs::path> index = megatron_index_of(path)) {
    return open_megatron(*index, vocab);
  }
  Expected<MappedFile> file = MappedFile::open(path);
  if (!file) return file.errors();
  if (is_llm_c_file(file->bytes()) || path.extension() == ".bin") {
    return open_llm_c(*std::move(file), vocab);
  }
  return open_text(*std::move(file), vocab);
}

}  // namespace kumihimo
