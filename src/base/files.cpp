#include "base/files.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace kumihimo {
namespace {

namespace fs = std::filesystem;

/// Owns a POSIX file descriptor.
class FileDescriptor {
 public:
  explicit FileDescriptor(int descriptor) : descriptor_(descriptor) {}
  FileDescriptor(FileDescriptor&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  FileDescriptor& operator=(FileDescriptor&&) = delete;
  ~FileDescriptor() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  int get() const { return descriptor_; }
  explicit operator bool() const { return descriptor_ >= 0; }

  /// A disk may report only here that it took nothing: false leaves errno set.
  bool close() { return ::close(std::exchange(descriptor_, -1)) == 0; }

 private:
  int descriptor_;
};

/// Removes the file at the end of the scope unless it was renamed into place.
class TemporaryFile {
 public:
  explicit TemporaryFile(fs::path path) : path_(std::move(path)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }

  const fs::path& path() const { return path_; }
  void keep() { path_.clear(); }

 private:
  fs::path path_;
};

std::string reason(int error_number) { return std::generic_category().message(error_number); }

Error cannot_read(const fs::path& path, int error_number) {
  return {path.string(), "cannot be read: " + reason(error_number),
          "give the path of a file that exists and may be read"};
}

Error cannot_write(const fs::path& path, int error_number) {
  return {path.string(), "cannot be written: " + reason(error_number),
          "give a path in a folder that exists, has space and may be written"};
}

/// A path that the system would read as another one, or as none.
bool is_unusable(const fs::path& path) {
  return path.empty() || path.native().find('\0') != std::string::npos;
}

/// Where the text for a path goes.
struct OutputPlace {
  fs::path file;
  fs::path folder;             ///< of the file, for a temporary one beside it
  std::optional<mode_t> mode;  ///< of the file that is replaced
  bool straight = false;       ///< written to as it is: a pipe, a device, a stream of this process
};

Expected<OutputPlace> output_place(const fs::path& path) {
  if (is_unusable(path)) return Error{"", "an empty or broken file name", "give a path"};
  struct stat status {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if (!exists && errno != ENOENT) return cannot_write(path, errno);
  if (exists && S_ISDIR(status.st_mode)) {
    return Error{path.string(), "is a directory", "give the path of a file in it"};
  }
  OutputPlace place{.file = path};
  if (exists) place.mode = status.st_mode & 07777;
  // /dev/stdout may lead to a regular file that this process still writes to.
  place.straight = exists && (!S_ISREG(status.st_mode) || path.parent_path() == "/dev");
  // A link stays a link: what it points to is replaced.
  std::error_code ignored;
  if (!place.straight && fs::is_symlink(path, ignored)) {
    place.file = fs::weakly_canonical(path, ignored);
    if (place.file.empty()) return cannot_write(path, ELOOP);
  }
  place.folder = place.file.has_parent_path() ? place.file.parent_path() : fs::path(".");
  return place;
}

/// Whether this process may do `what` (W_OK, X_OK) with it; false leaves errno set.
bool may(int what, const fs::path& path) {
  return ::faccessat(AT_FDCWD, path.c_str(), what, AT_EACCESS) == 0;
}

/// False leaves errno set.
bool write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

/// Pipes and devices have no half-written state to hide, and must not be replaced by a file.
Expected<fs::path> write_straight(const fs::path& path, std::string_view text) {
  FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file || !write_all(file.get(), text) || !file.close()) return cannot_write(path, errno);
  return path;
}

/// A new file in `folder` of a name that nobody else uses, with the mode that the umask grants.
std::pair<FileDescriptor, fs::path> open_temporary(const fs::path& folder) {
  static std::atomic<unsigned> counter{0};
  for (int attempt = 0; attempt < 100; ++attempt) {
    fs::path path = folder / fmt::format(".kumihimo-{}-{}.tmp", ::getpid(), counter++);
    FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (file || errno != EEXIST) return {std::move(file), std::move(path)};
  }
  return {FileDescriptor(-1), fs::path()};
}

}  // namespace

Expected<std::string> read_file(const fs::path& path, std::size_t max_bytes) {
  if (is_unusable(path)) return Error{"", "an empty or broken file name", "give a path"};
  // Without O_NONBLOCK, opening a pipe that nobody writes would wait for ever.
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return cannot_read(path, errno);

  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return cannot_read(path, errno);
  if (S_ISDIR(status.st_mode)) {
    return Error{path.string(), "is a directory", "give the path of a file in it"};
  }
  if (!S_ISREG(status.st_mode)) {
    return Error{path.string(), "is not a regular file", "copy the contents into a file"};
  }
  const auto too_large = [&] {
    return Error{path.string(),
                 fmt::format("is larger than the {} bytes that such a file may have", max_bytes),
                 "check that this is the right file"};
  };
  if (static_cast<std::uintmax_t>(status.st_size) > max_bytes) return too_large();

  // The size may change while we read, and some systems state none: read until the end.
  constexpr std::size_t block = 1 << 16;
  std::string text;
  for (;;) {
    const std::size_t before = text.size();
    text.resize(before + block);
    const ssize_t count = ::read(file.get(), text.data() + before, block);
    const int error_number = errno;
    text.resize(before + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count < 0 && error_number != EINTR) return cannot_read(path, error_number);
    if (count == 0) return text;
    if (text.size() > max_bytes) return too_large();
  }
}

Expected<fs::path> write_file_atomically(const fs::path& path, std::string_view text) {
  const Expected<OutputPlace> place = output_place(path);
  if (!place) return place.errors();
  if (place->straight) return write_straight(path, text);

  auto [file, temporary_path] = open_temporary(place->folder);
  if (!file) return cannot_write(path, errno);
  TemporaryFile temporary(std::move(temporary_path));
  if (place->mode) (void)::fchmod(file.get(), *place->mode);
  if (!write_all(file.get(), text) || ::fsync(file.get()) != 0 || !file.close() ||
      ::rename(temporary.path().c_str(), place->file.c_str()) != 0) {
    return cannot_write(path, errno);
  }
  temporary.keep();

  // The file stands; not every file system can sync a folder, and none needs to for correctness.
  const FileDescriptor directory(::open(place->folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory) (void)::fsync(directory.get());
  return path;
}

std::optional<Error> output_fault(const fs::path& path) {
  const Expected<OutputPlace> place = output_place(path);
  if (!place) return place.errors().front();
  const bool writable = place->straight ? may(W_OK, path) : may(W_OK | X_OK, place->folder);
  return writable ? std::nullopt : std::optional(cannot_write(path, errno));
}

std::optional<Error> output_folder_fault(const fs::path& folder) {
  if (is_unusable(folder)) return Error{"", "an empty or broken folder name", "give a path"};
  // What is there already, of the folders that lead to it.
  std::error_code ignored;
  fs::path there = fs::absolute(folder, ignored);
  while (!fs::exists(fs::symlink_status(there, ignored)) && there.has_relative_path()) {
    there = there.parent_path();
  }
  if (may(W_OK | X_OK, there / ".")) return std::nullopt;
  return Error{folder.string(), "cannot be written into: " + reason(errno),
               "give a folder that may be written, or made"};
}

}  // namespace kumihimo
