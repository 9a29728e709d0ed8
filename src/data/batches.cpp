#include "data/batches.hpp"

#include <bit>
#include <fmt/format.h>

#include "base/check.hpp"
#include "base/units.hpp"
#include "data/hash.hpp"

namespace kumihimo {

SampleOrder::SampleOrder(std::int64_t tokens, std::int64_t seq_length, std::uint64_t seed,
                         bool shuffle)
    : seq_length_(seq_length), windows_(0), seed_(seed), shuffle_(shuffle) {
  KUMIHIMO_CHECK(seq_length > 0 && tokens > seq_length);
  windows_ = (tokens - 1) / seq_length;
}

std::int64_t SampleOrder::first_token(std::int64_t sample) const {
  KUMIHIMO_CHECK(sample >= 0);
  const std::int64_t index = sample % windows_;
  const auto epoch = static_cast<std::uint64_t>(sample / windows_);
  return (shuffle_ ? permuted(index, epoch) : index) * seq_length_;
}

// A Feistel network permutes all numbers of an even number of bits: each round swaps the halves
// after adding a hash of one to the other, which can be undone whatever the hash. The least such
// range that holds the windows is less than four times as large; a number that leaves the windows
// is permuted again until it is back among them, and so their permutation is one, too (Black and
// Rogaway 2002, "Ciphers with arbitrary finite domains", cycle walking).
std::int64_t SampleOrder::permuted(std::int64_t index, std::uint64_t epoch) const {
  constexpr int rounds = 8;  // 4 would do, but for halves of very few bits
  const auto windows = static_cast<std::uint64_t>(windows_);
  const int half_bits = (static_cast<int>(std::bit_width(windows - 1)) + 1) / 2;
  const std::uint64_t half_mask = (std::uint64_t{1} << half_bits) - 1;
  const std::uint64_t key = hash_pair(seed_, epoch);

  auto number = static_cast<std::uint64_t>(index);
  do {
    std::uint64_t left = number >> half_bits;
    std::uint64_t right = number & half_mask;
    for (std::uint64_t round = 0; round < rounds; ++round) {
      const std::uint64_t mixed = left ^ (hash_pair(key + round, right) & half_mask);
      left = right;
      right = mixed;
    }
    number = (left << half_bits) | right;
  } while (number >= windows);
  return static_cast<std::int64_t>(number);
}

Expected<SampleOrder> order_samples(const TokenSource& source, std::int64_t seq_length,
                                    std::uint64_t seed, bool shuffle) {
  if (source.tokens() <= seq_length) {
    return Error{
        source.description(),
        fmt::format("is shorter than one sample of {} tokens and the one that follows them",
                    grouped(seq_length)),
        source.tokens() < 2
            ? "give a longer corpus"
            : fmt::format("give --seq-length {} or less, or a longer corpus", source.tokens() - 1)};
  }
  return SampleOrder(source.tokens(), seq_length, seed, shuffle);
}

void read_micro_batch(const TokenSource& source, const SampleOrder& order,
                      std::int64_t first_sample, std::int64_t seq_length,
                      std::span<std::int32_t> inputs, std::span<std::int32_t> targets) {
  KUMIHIMO_CHECK(seq_length > 0 && inputs.size() == targets.size());
  KUMIHIMO_CHECK(std::ssize(inputs) % seq_length == 0);
  const auto length = static_cast<std::size_t>(seq_length);
  for (std::size_t begin = 0; begin < inputs.size(); begin += length) {
    const std::int64_t first_token = order.first_token(first_sample++);
    source.read(first_token, inputs.subspan(begin, length));
    source.read(first_token + 1, targets.subspan(begin, length));
  }
}

}  // namespace kumihimo
