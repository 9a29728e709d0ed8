#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <string>

#include "base/error.hpp"

namespace kumihimo {

/// A folder of its own for each test.
class InFolder : public ::testing::Test {
 protected:
  InFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "kumihimo-test-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~InFolder() override { std::filesystem::remove_all(folder_); }

  static std::filesystem::path put(const std::filesystem::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  static std::string contents(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  std::filesystem::path folder_;
};

template <class T>
std::string message(const Expected<T>& result) {
  EXPECT_FALSE(result.has_value());
  return result ? "" : to_string(result.errors());
}

}  // namespace kumihimo
