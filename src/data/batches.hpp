#pragma once

#include <cstdint>
#include <span>

#include "base/error.hpp"
#include "data/token_source.hpp"

namespace kumihimo {

/// The order in which a corpus is read: windows of seq_length + 1 tokens that start at multiples of
/// seq_length (so that every token but the first is predicted once), shuffled anew each epoch by a
/// permutation that is a function of (seed, epoch) and takes no memory (a Feistel network over the
/// number of windows). A pure function: sample number n of a run is the same window whatever the
/// layout, so that a run resumes exactly from the number of samples it has consumed.
class SampleOrder {
 public:
  /// Requires at least one window: tokens > seq_length.
  SampleOrder(std::int64_t tokens, std::int64_t seq_length, std::uint64_t seed, bool shuffle);

  std::int64_t windows() const { return windows_; }
  /// First token of the window that is sample number `sample` (0, 1, ... without end).
  std::int64_t first_token(std::int64_t sample) const;

 private:
  std::int64_t permuted(std::int64_t index, std::uint64_t epoch) const;

  std::int64_t seq_length_;
  std::int64_t windows_;
  std::uint64_t seed_;
  bool shuffle_;
};

/// The order of a corpus, or an Error that names it where it is shorter than one window.
Expected<SampleOrder> order_samples(const TokenSource& source, std::int64_t seq_length,
                                    std::uint64_t seed, bool shuffle);

/// Fills inputs and targets of one micro-batch: sequence s of it is sample first_sample + s; inputs
/// are the window's first seq_length tokens, targets the same moved by one.
/// inputs, targets: [sequences x seq_length].
void read_micro_batch(const TokenSource& source, const SampleOrder& order,
                      std::int64_t first_sample, std::int64_t seq_length,
                      std::span<std::int32_t> inputs, std::span<std::int32_t> targets);

}  // namespace kumihimo
