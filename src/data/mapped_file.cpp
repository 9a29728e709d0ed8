#include "data/mapped_file.hpp"

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "base/units.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;

Error cannot_read(const fs::path& path, int error_number) {
  return {path.string(), "cannot be read: " + std::generic_category().message(error_number),
          "give the path of a file that exists and may be read"};
}

}  // namespace

MappedFile::MappedFile(fs::path path, int descriptor)
    : path_(std::move(path)), descriptor_(descriptor) {}

Expected<MappedFile> MappedFile::open(const fs::path& path) {
  if (path.empty() || path.native().find('\0') != std::string::npos) {
    return Error{"", "an empty or broken file name", "give a path"};
  }
  // Without O_NONBLOCK, opening a pipe that nobody writes would wait for ever.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return cannot_read(path, errno);
  MappedFile file(path, descriptor);

  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return cannot_read(path, errno);
  if (S_ISDIR(status.st_mode)) {
    return Error{path.string(), "is a directory", "give the path of a file in it"};
  }
  if (!S_ISREG(status.st_mode)) {
    return Error{path.string(), "is not a regular file", "copy the contents into a file"};
  }
  if (status.st_size == 0) {
    return Error{path.string(), "is empty", "give a file that holds text or tokens"};
  }
  const auto length = static_cast<std::size_t>(status.st_size);
  void* const address = ::mmap(nullptr, length, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (address == MAP_FAILED) return cannot_read(path, errno);
  file.bytes_ = {static_cast<const char*>(address), length};
  file.modified_ = status.st_mtim;
  return file;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<char*>(bytes_.data()), bytes_.size());
  if (descriptor_ >= 0) ::close(descriptor_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept { swap(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  MappedFile taken(std::move(other));
  swap(taken);
  return *this;
}

void MappedFile::swap(MappedFile& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(bytes_, other.bytes_);
  std::swap(modified_, other.modified_);
}

void MappedFile::require_unchanged() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) {
    throw std::system_error(errno, std::generic_category(), path_.string() + ": fstat");
  }
  if (static_cast<std::size_t>(status.st_size) != bytes_.size()) {
    throw std::runtime_error(
        fmt::format("{}: was {} bytes long when it was opened and is {} now; leave a corpus alone "
                    "while it is read, and start again",
                    path_.string(), grouped(static_cast<std::int64_t>(bytes_.size())),
                    grouped(status.st_size)));
  }
  if (status.st_mtim.tv_sec != modified_.tv_sec || status.st_mtim.tv_nsec != modified_.tv_nsec) {
    throw std::runtime_error(
        fmt::format("{}: was written to after it was opened; leave a corpus alone while it is "
                    "read, and start again",
                    path_.string()));
  }
}

}  // namespace kumihimo
