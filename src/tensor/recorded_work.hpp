#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "base/check.hpp"

namespace kumihimo {

/// Work that a queue was given once and keeps, to do all of it again at one call. The queue and the
/// memory that the work uses outlive it.
class RecordedWork {
 public:
  virtual ~RecordedWork() = default;
  /// Gives the work to its queue once more, in the order of everything else.
  virtual void run() = 0;
};

/// Something was asked for in the middle of a recording that has to happen at once.
class NotRecordable : public std::logic_error {
 public:
  explicit NotRecordable(std::string_view what)
      : std::logic_error(std::string(what) +
                         " in the middle of work that is recorded: train without --cuda-graphs") {}
};

/// Whether a queue is recording. For the thread that gives it work.
class RecordingState {
 public:
  /// The time of a recording.
  class Scope {
   public:
    explicit Scope(RecordingState& state) : state_(state) {
      KUMIHIMO_CHECK(!state.recording_);
      state.recording_ = true;
    }
    ~Scope() { state_.recording_ = false; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    RecordingState& state_;
  };

  bool recording() const { return recording_; }
  /// Throws NotRecordable during a recording. `what`: "memory was allocated".
  void refuse(std::string_view what) const {
    if (recording_) throw NotRecordable(what);
  }

 private:
  bool recording_ = false;
};

}  // namespace kumihimo
