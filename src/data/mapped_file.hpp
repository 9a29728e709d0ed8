#pragma once

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <string_view>

#include "base/error.hpp"

namespace kumihimo {

/// A regular file mapped into memory, read-only. Pages are read from the disk when they are first
/// touched, and shared by all processes that map the file.
///
/// A file that is cut off while it is mapped ends whoever touches the lost pages with SIGBUS. Call
/// require_unchanged() before touching bytes(): what changed since open() is then an exception. A
/// cut within the instant between that call and the touch is not caught; whoever replaces a corpus
/// should rename the new file into place, which leaves the mapped one alone.
class MappedFile {
 public:
  /// An Error for a missing, unreadable or empty file and for what is no regular file.
  static Expected<MappedFile> open(const std::filesystem::path& path);

  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::string_view bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }

  /// Throws std::runtime_error if the file's length or time of modification is not what it was.
  void require_unchanged() const;

 private:
  MappedFile(std::filesystem::path path, int descriptor);
  void swap(MappedFile& other) noexcept;

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::string_view bytes_;
  std::timespec modified_{};
};

}  // namespace kumihimo
