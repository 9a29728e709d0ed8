#pragma once

#include <memory>
#include <utility>

#include "comm/world.hpp"

namespace kumihimo {

/// What a rank holds of a group whose collectives run on a stream. The stream keeps the group
/// itself for as long as a collective needs it, whichever of the two the rank destroys first.
class StreamGroup final : public ProcessGroup {
 public:
  StreamGroup(const CommunicationStream& stream, std::shared_ptr<ProcessGroup> group)
      : stream_(stream), group_(std::move(group)) {}

  /// Requires to have been made for that stream.
  const std::shared_ptr<ProcessGroup>& on(const CommunicationStream& stream) const {
    KUMIHIMO_CHECK(&stream == &stream_);
    return group_;
  }

  int rank() const override { return group_->rank(); }
  int size() const override { return group_->size(); }

  void all_reduce(const Matrix& /*x*/, Reduction /*reduction*/) override { refuse(); }
  void all_gather(const Matrix& /*part*/, const Matrix& /*whole*/) override { refuse(); }
  void reduce_scatter(const Matrix& /*whole*/, const Matrix& /*part*/) override { refuse(); }
  void broadcast(const Matrix& /*x*/, int /*root*/) override { refuse(); }
  void barrier() override { refuse(); }
  std::unique_ptr<Message> start_send(const Matrix& /*x*/, int /*peer*/) override {
    refuse();
    return nullptr;
  }
  std::unique_ptr<Message> start_receive(const Matrix& /*x*/, int /*peer*/) override {
    refuse();
    return nullptr;
  }
  void wait(Message& /*message*/) override { refuse(); }

 private:
  static void refuse() { KUMIHIMO_CHECK(false && "the stream runs what this group does"); }

  const CommunicationStream& stream_;
  std::shared_ptr<ProcessGroup> group_;
};

}  // namespace kumihimo
