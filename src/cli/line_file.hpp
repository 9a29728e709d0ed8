#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string_view>

namespace kumihimo {

/// A file that is written line by line: each is in the file when write() returns. Throws
/// std::system_error, naming the file, when it cannot be made or written.
class LineFile {
 public:
  enum class Start { anew, at_the_end };
  LineFile(std::filesystem::path path, Start start);

  /// `text` ends with a newline.
  void write(std::string_view text);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace kumihimo
