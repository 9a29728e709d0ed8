#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "base/check.hpp"
#include "base/units.hpp"
#include "saved_state/safetensors.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path, std::string_view call, int error_number = errno) {
  throw std::system_error(error_number, std::generic_category(),
                          fmt::format("{}: {}", path.string(), call));
}

/// Linux moves at most 2 GiB in one call.
constexpr std::int64_t largest_transfer = std::int64_t{1} << 30;

/// Repeats `transfer(done, bytes left)`, a pread or pwrite, until all bytes have been moved.
/// Returns fewer where it moved none.
template <class Transfer>
std::int64_t move_all(const fs::path& path, std::string_view call, std::int64_t bytes,
                      Transfer transfer) {
  std::int64_t done = 0;
  while (done < bytes) {
    const ssize_t moved =
        transfer(done, static_cast<std::size_t>(std::min(bytes - done, largest_transfer)));
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) fail(path, call);
    if (moved == 0) break;
    done += moved;
  }
  return done;
}

/// Takes the space from the disk now: a full one is found before hours of writing.
void reserve(const fs::path& path, int descriptor, std::int64_t bytes) {
  int result = 0;
  do {
    result = ::fallocate(descriptor, 0, 0, bytes);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return;
  if (errno != EOPNOTSUPP && errno != ENOSYS) fail(path, "fallocate");
  if (::ftruncate(descriptor, bytes) != 0) fail(path, "ftruncate");
}

}  // namespace

void SliceFile::create(const fs::path& path, std::string_view preamble, std::int64_t file_bytes) {
  KUMIHIMO_CHECK(file_bytes >= std::ssize(preamble));
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) fail(path, "open");
  ::close(descriptor);
  SliceFile file(path, Mode::write);
  if (file_bytes > 0) reserve(path, file.descriptor_, file_bytes);
  file.write(0, preamble.data(), std::ssize(preamble));
}

SliceFile::SliceFile(const fs::path& path, Mode mode)
    : path_(path),
      descriptor_(::open(path.c_str(), (mode == Mode::read ? O_RDONLY : O_WRONLY) | O_CLOEXEC)) {
  if (descriptor_ < 0) fail(path_, "open");
}

SliceFile::~SliceFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

SliceFile::SliceFile(SliceFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

SliceFile& SliceFile::operator=(SliceFile&& other) noexcept {
  SliceFile taken(std::move(other));
  std::swap(path_, taken.path_);
  std::swap(descriptor_, taken.descriptor_);
  return *this;
}

void SliceFile::write(std::int64_t offset, const void* data, std::int64_t bytes) {
  KUMIHIMO_CHECK(offset >= 0 && bytes >= 0);
  const auto* const from = static_cast<const char*>(data);
  const std::int64_t written =
      move_all(path_, "pwrite", bytes, [&](std::int64_t done, std::size_t left) {
        return ::pwrite(descriptor_, from + done, left, offset + done);
      });
  if (written != bytes) fail(path_, "pwrite", EIO);
}

void SliceFile::read(std::int64_t offset, void* data, std::int64_t bytes) const {
  KUMIHIMO_CHECK(offset >= 0 && bytes >= 0);
  auto* const to = static_cast<char*>(data);
  const std::int64_t count =
      move_all(path_, "pread", bytes, [&](std::int64_t done, std::size_t left) {
        return ::pread(descriptor_, to + done, left, offset + done);
      });
  if (count != bytes) {
    fail(path_,
         fmt::format("pread: the file ends at byte {}, before byte {}", grouped(offset + count),
                     grouped(offset + bytes)),
         EIO);
  }
}

void SliceFile::sync() {
  if (::fsync(descriptor_) != 0) fail(path_, "fsync");
}

}  // namespace kumihimo
