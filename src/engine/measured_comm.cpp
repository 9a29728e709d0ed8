#include "engine/measured_comm.hpp"

#include <utility>

namespace kumihimo {
namespace {

class MeasuredGroup final : public ProcessGroup {
 public:
  MeasuredGroup(std::unique_ptr<ProcessGroup> group, StepRecorder& recorder, Activity activity)
      : group_(std::move(group)), recorder_(recorder), activity_(activity) {}

  int rank() const override { return group_->rank(); }
  int size() const override { return group_->size(); }
  void all_reduce(const Matrix& x, Reduction reduction) override {
    const auto span = measure();
    group_->all_reduce(x, reduction);
  }
  void all_gather(const Matrix& part, const Matrix& whole) override {
    const auto span = measure();
    group_->all_gather(part, whole);
  }
  void reduce_scatter(const Matrix& whole, const Matrix& part) override {
    const auto span = measure();
    group_->reduce_scatter(whole, part);
  }
  void broadcast(const Matrix& x, int root) override {
    const auto span = measure();
    group_->broadcast(x, root);
  }
  void barrier() override {
    const auto span = measure();
    group_->barrier();
  }
  std::unique_ptr<Message> start_send(const Matrix& x, int peer) override {
    const auto span = measure();
    return group_->start_send(x, peer);
  }
  std::unique_ptr<Message> start_receive(const Matrix& x, int peer) override {
    const auto span = measure();
    return group_->start_receive(x, peer);
  }
  void wait(Message& message) override {
    const auto span = measure();
    group_->wait(message);
  }

 private:
  StepRecorder::Span measure() { return StepRecorder::Span(recorder_, activity_); }

  std::unique_ptr<ProcessGroup> group_;
  StepRecorder& recorder_;
  Activity activity_;
};

class MeasuredStream final : public CommunicationStream {
 public:
  MeasuredStream(std::unique_ptr<CommunicationStream> stream, StepRecorder& recorder)
      : stream_(std::move(stream)), recorder_(recorder) {}

  Ticket start_all_reduce(ProcessGroup& group, const Matrix& x) override {
    return stream_->start_all_reduce(group, x);
  }
  Ticket start_all_gather(ProcessGroup& group, const Matrix& part, const Matrix& whole) override {
    return stream_->start_all_gather(group, part, whole);
  }
  Ticket start_reduce_scatter(ProcessGroup& group, const Matrix& whole,
                              const Matrix& part) override {
    return stream_->start_reduce_scatter(group, whole, part);
  }
  StreamSpan wait(Ticket ticket) override {
    const Moment begin = recorder_.mark();
    StreamSpan span = stream_->wait(ticket);
    const Moment end = recorder_.mark();
    recorder_.add(Activity::data_communication, begin, end);
    recorder_.add_on_stream(Activity::data_communication, span, begin, end);
    return span;
  }

 private:
  std::unique_ptr<CommunicationStream> stream_;
  StepRecorder& recorder_;
};

}  // namespace

std::unique_ptr<ProcessGroup> measured(std::unique_ptr<ProcessGroup> group, StepRecorder& recorder,
                                       Activity activity) {
  if (group->size() == 1) return group;
  return std::make_unique<MeasuredGroup>(std::move(group), recorder, activity);
}

std::unique_ptr<CommunicationStream> measured(std::unique_ptr<CommunicationStream> stream,
                                              StepRecorder& recorder) {
  return std::make_unique<MeasuredStream>(std::move(stream), recorder);
}

}  // namespace kumihimo
