#include "comm/threads/thread_job.hpp"

#include <fmt/format.h>

#include "comm/world.hpp"

namespace kumihimo {
namespace {

bool alike(const Matrix& a, const Matrix& b) { return same_shape(a, b) && a.dtype == b.dtype; }

PeerFailure peer_failure(int rank, const std::string& cause) {
  return PeerFailure(fmt::format("rank {} failed{}{}", rank, cause.empty() ? "" : ": ", cause));
}

}  // namespace

bool Contribution::matches(const Contribution& other) const {
  return kind == other.kind && reduction == other.reduction && root == other.root &&
         alike(in, other.in) && alike(out, other.out);
}

std::shared_ptr<SharedGroup> ThreadJob::group_of(std::vector<int> ranks, int ordinal) {
  const std::lock_guard lock(mutex_);
  if (failed_rank_) throw peer_failure(*failed_rank_, cause_);
  const int size = static_cast<int>(ranks.size());
  auto& group = groups_[{std::move(ranks), ordinal}];
  if (!group) group = std::make_shared<SharedGroup>(size);
  return group;
}

void ThreadJob::fail(int rank, const std::string& cause) {
  const std::lock_guard lock(mutex_);
  if (failed_rank_) {
    if (*failed_rank_ == rank && cause_.empty()) cause_ = cause;
    return;
  }
  failed_rank_ = rank;
  cause_ = cause;
  for (const auto& [key, group] : groups_) group->break_up();
}

void ThreadJob::throw_peer_failure() const {
  const std::lock_guard lock(mutex_);
  KUMIHIMO_CHECK(failed_rank_.has_value());
  throw peer_failure(*failed_rank_, cause_);
}

std::optional<int> ThreadJob::failed_rank() const {
  const std::lock_guard lock(mutex_);
  return failed_rank_;
}

}  // namespace kumihimo
