#include "cli/line_file.hpp"

#include <cerrno>
#include <system_error>

namespace kumihimo {

LineFile::LineFile(std::filesystem::path path, Start start)
    : path_(std::move(path)), file_(std::fopen(path_.c_str(), start == Start::anew ? "w" : "a")) {
  if (!file_) throw std::system_error(errno, std::generic_category(), "fopen " + path_.string());
}

void LineFile::write(std::string_view text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), file_.get()) == text.size();
  if (written && std::fflush(file_.get()) == 0) return;
  throw std::system_error(errno, std::generic_category(), "fwrite " + path_.string());
}

}  // namespace kumihimo
