#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "base/error.hpp"

namespace kumihimo {

/// A corpus as one long stream of tokens. Reads are thread-safe.
class TokenSource {
 public:
  virtual ~TokenSource() = default;

  virtual std::int64_t tokens() const = 0;
  /// Every token is below this.
  virtual std::int64_t vocab() const = 0;
  /// Copies tokens first, first + 1, ... Requires first + out.size() <= tokens().
  /// Throws std::runtime_error if the file has changed under us.
  virtual void read(std::int64_t first, std::span<std::int32_t> out) const = 0;
  /// "corpus.txt: 1,115,394 bytes as tokens"
  virtual std::string description() const = 0;
};

/// Opens a corpus, told by its content or name, and maps it into memory:
/// - *.bin of llm.c: header of 256 int32 (magic 20240520, version 1, tokens), then uint16 tokens;
///   or magic 20240801 (version 1, llama-3), then uint32 tokens;
/// - *.bin beside a *.idx of Megatron-LM (magic "MMIDIDX\0\0", version 1), given as either file or
///   as the prefix of both: its documents, one after the other, dtype as the index says;
/// - anything else: text, a token a byte (vocabulary 256).
/// `vocab`: the model's; a token that reaches it is an Error naming file, position and token (all
/// tokens are looked at once). An Error also for a missing, empty, truncated or unreadable file.
/// A file that is changed while it is open makes read(), or this, throw (see MappedFile for what
/// that cannot catch).
Expected<std::unique_ptr<TokenSource>> open_tokens(const std::filesystem::path& path,
                                                   std::int64_t vocab);

/// The text that ships with the program (public domain; its source stands in the description).
std::unique_ptr<TokenSource> embedded_text();

/// Tokens that cost nothing to make: for benchmarks. Token i is a hash of (seed, i), below vocab.
std::unique_ptr<TokenSource> synthetic_tokens(std::int64_t vocab, std::uint64_t seed);

}  // namespace kumihimo
