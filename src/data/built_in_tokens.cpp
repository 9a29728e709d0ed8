#include <algorithm>
#include <fmt/format.h>

#include "base/embedded_catalog.hpp"
#include "base/units.hpp"
#include "data/hash.hpp"
#include "data/token_source.hpp"

namespace kumihimo {
namespace {

class EmbeddedText final : public TokenSource {
 public:
  explicit EmbeddedText(std::string_view text) : text_(text) {}

  std::int64_t tokens() const override { return std::ssize(text_); }
  std::int64_t vocab() const override { return 256; }

  void read(std::int64_t first, std::span<std::int32_t> out) const override {
    KUMIHIMO_CHECK(first >= 0 && std::ssize(out) <= tokens() - first);
    const std::string_view from = text_.substr(static_cast<std::size_t>(first), out.size());
    std::transform(from.begin(), from.end(), out.begin(),
                   [](char byte) { return static_cast<unsigned char>(byte); });
  }

  std::string description() const override {
    return fmt::format("Jane Austen, Persuasion (1817, public domain): {} bytes as tokens",
                       grouped(tokens()));
  }

 private:
  std::string_view text_;
};

class SyntheticTokens final : public TokenSource {
 public:
  SyntheticTokens(std::int64_t vocab, std::uint64_t seed) : vocab_(vocab), seed_(seed) {
    KUMIHIMO_CHECK(vocab > 0 && vocab <= std::int64_t{1} << 31);
  }

  /// More than any run reads, and small enough to calculate with.
  std::int64_t tokens() const override { return std::int64_t{1} << 50; }
  std::int64_t vocab() const override { return vocab_; }

  void read(std::int64_t first, std::span<std::int32_t> out) const override {
    KUMIHIMO_CHECK(first >= 0 && std::ssize(out) <= tokens() - first);
    auto number = static_cast<std::uint64_t>(first);
    for (std::int32_t& token : out) {
      // The upper half of the hash, scaled: without the slow division of a remainder.
      const std::uint64_t upper = hash_pair(seed_, number++) >> 32;
      token = static_cast<std::int32_t>((upper * static_cast<std::uint64_t>(vocab_)) >> 32);
    }
  }

  std::string description() const override {
    return fmt::format("synthetic tokens below {} (seed {})", grouped(vocab_), seed_);
  }

 private:
  std::int64_t vocab_;
  std::uint64_t seed_;
};

}  // namespace

std::unique_ptr<TokenSource> embedded_text() {
  // Not find_in_catalog: a file of the installation may differ, and this text is the same wherever
  // the program runs.
  const auto& files = embedded_catalog();
  const auto found = std::find_if(files.begin(), files.end(), [](const EmbeddedFile& file) {
    return file.kind == CatalogKind::texts && file.name == "persuasion";
  });
  KUMIHIMO_CHECK(found != files.end());
  return std::make_unique<EmbeddedText>(found->text);
}

std::unique_ptr<TokenSource> synthetic_tokens(std::int64_t vocab, std::uint64_t seed) {
  return std::make_unique<SyntheticTokens>(vocab, seed);
}

}  // namespace kumihimo
