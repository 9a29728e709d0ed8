#include "base/files.hpp"

#include <algorithm>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <iterator>
#include <sys/stat.h>
#include <unistd.h>

namespace kumihimo {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Files : public ::testing::Test {
 protected:
  Files() {
    std::string pattern = (fs::temp_directory_path() / "kumihimo-files-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~Files() override { fs::remove_all(folder_); }

  fs::path in_folder(const char* name) const { return folder_ / name; }

  static void put(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }
  static std::string contents(const fs::path& path) {
    std::ifstream stream(path);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  std::ptrdiff_t files_in_folder() const {
    return std::distance(fs::directory_iterator(folder_), fs::directory_iterator());
  }

  fs::path folder_;
};

template <class T>
std::string message(const Expected<T>& result) {
  EXPECT_FALSE(result.has_value());
  return result ? "" : to_string(result.errors());
}

TEST_F(Files, ReadsEveryByte) {
  const std::string text = std::string("a\0b\r\n", 5) + std::string(200'000, 'x');
  put(in_folder("a.txt"), text);
  const Expected<std::string> read = read_file(in_folder("a.txt"), text.size());
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(*read, text);
}

TEST_F(Files, ReadsAnEmptyFile) {
  put(in_folder("empty"), "");
  const Expected<std::string> read = read_file(in_folder("empty"), 0);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(*read, "");
}

TEST_F(Files, RefusesOneByteTooMany) {
  put(in_folder("a.txt"), "12345");
  EXPECT_TRUE(read_file(in_folder("a.txt"), 5).has_value());
  EXPECT_THAT(message(read_file(in_folder("a.txt"), 4)), HasSubstr("larger than the 4 bytes"));
}

TEST_F(Files, RefusesAHugeFileWithoutReadingIt) {
  put(in_folder("huge"), "");
  fs::resize_file(in_folder("huge"), std::uintmax_t{1} << 41);  // 2 TiB, sparse
  EXPECT_THAT(message(read_file(in_folder("huge"), 1'000'000)), HasSubstr("larger than"));
}

TEST_F(Files, ReadErrorsNameThePathAndTheReason) {
  const std::string missing = message(read_file(in_folder("missing"), 100));
  EXPECT_THAT(missing, HasSubstr(in_folder("missing").string()));
  EXPECT_THAT(missing, HasSubstr("No such file or directory"));
  EXPECT_THAT(message(read_file(folder_, 100)), HasSubstr("is a directory"));
  EXPECT_THAT(message(read_file("/dev/zero", 100)), HasSubstr("not a regular file"));
  EXPECT_THAT(message(read_file("", 100)), HasSubstr("empty or broken file name"));
  EXPECT_THAT(message(read_file(std::string("/dev/null\0x", 11), 100)), HasSubstr("file name"));
}

TEST_F(Files, APipeWithoutWriterIsRefusedAtOnce) {
  ASSERT_EQ(::mkfifo(in_folder("pipe").c_str(), 0600), 0);
  EXPECT_THAT(message(read_file(in_folder("pipe"), 100)), HasSubstr("not a regular file"));
}

TEST_F(Files, WritesAndReplacesLeavingNothingElse) {
  const fs::path path = in_folder("out.csv");
  for (const std::string text : {"first", "second\n", ""}) {
    const Expected<fs::path> written = write_file_atomically(path, text);
    ASSERT_TRUE(written.has_value());
    EXPECT_EQ(*written, path);
    EXPECT_EQ(contents(path), text);
  }
  EXPECT_EQ(files_in_folder(), 1);
}

TEST_F(Files, ReplacingIsByRenameSoThatAnOpenReaderKeepsTheOldText) {
  const fs::path path = in_folder("out.csv");
  put(path, "old");
  std::ifstream reader(path);
  ASSERT_TRUE(write_file_atomically(path, "new").has_value());
  std::string seen;
  reader >> seen;
  EXPECT_EQ(seen, "old");
}

TEST_F(Files, KeepsTheModeOfTheFileItReplaces) {
  const fs::path path = in_folder("out.csv");
  put(path, "old");
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
  ASSERT_TRUE(write_file_atomically(path, "new").has_value());
  EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(Files, ALinkStaysALink) {
  put(in_folder("target"), "old");
  fs::create_symlink("target", in_folder("link"));
  ASSERT_TRUE(write_file_atomically(in_folder("link"), "new").has_value());
  EXPECT_TRUE(fs::is_symlink(in_folder("link")));
  EXPECT_EQ(contents(in_folder("target")), "new");
}

TEST_F(Files, ADeviceIsWrittenNotReplaced) {
  ASSERT_TRUE(write_file_atomically("/dev/null", "text").has_value());
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST_F(Files, AFullDeviceIsReported) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  EXPECT_THAT(message(write_file_atomically("/dev/full", "text")),
              HasSubstr("/dev/full: cannot be written: No space left on device"));
}

TEST_F(Files, WriteErrorsNameThePathAndTheReason) {
  EXPECT_THAT(message(write_file_atomically(in_folder("no/such/folder.txt"), "x")),
              HasSubstr("no/such/folder.txt: cannot be written: No such file or directory"));
  EXPECT_THAT(message(write_file_atomically(folder_, "x")), HasSubstr("is a directory"));
  EXPECT_THAT(message(write_file_atomically("", "x")), HasSubstr("file name"));
}

TEST_F(Files, WhatCannotBeWrittenIsKnownBefore) {
  put(in_folder("file"), "old");
  fs::create_symlink("loop", in_folder("loop"));
  fs::create_symlink("file", in_folder("link"));
  const std::string too_long(300, 'n');
  for (const fs::path& path :
       {folder_, folder_ / "no/such/folder.txt", folder_ / "file/in-it", folder_ / too_long,
        in_folder("loop"), fs::path(), fs::path(std::string("a\0b", 3))}) {
    const std::optional<Error> fault = output_fault(path);
    ASSERT_TRUE(fault) << path;
    EXPECT_EQ(to_string(Errors{*fault}), message(write_file_atomically(path, "x")));
  }
  for (const fs::path& path :
       {folder_ / "new", folder_ / "file", folder_ / "link", fs::path("/dev/null")}) {
    EXPECT_FALSE(output_fault(path)) << path;
    EXPECT_TRUE(write_file_atomically(path, "x").has_value()) << path;
  }
  EXPECT_EQ(contents(in_folder("file")), "x");
}

TEST_F(Files, AFolderToWriteIntoMayBeMadeFirst) {
  put(in_folder("file"), "");
  EXPECT_FALSE(output_folder_fault(folder_));
  EXPECT_FALSE(output_folder_fault(folder_ / "to/be/made"));
  for (const char* name : {"file", "file/in-it"}) {
    const std::optional<Error> fault = output_folder_fault(in_folder(name));
    ASSERT_TRUE(fault) << name;
    EXPECT_EQ(fault->what, "cannot be written into: Not a directory");
  }
  EXPECT_TRUE(output_folder_fault(""));
  EXPECT_EQ(files_in_folder(), 1);
}

TEST_F(Files, AFailedRenameLeavesNoTemporaryFile) {
  const std::string too_long(300, 'n');
  EXPECT_THAT(message(write_file_atomically(folder_ / too_long, "x")), HasSubstr("too long"));
  EXPECT_EQ(files_in_folder(), 0);
}

TEST_F(Files, ALoopOfLinksIsAnError) {
  fs::create_symlink("loop", in_folder("loop"));
  EXPECT_THAT(message(write_file_atomically(in_folder("loop"), "x")),
              HasSubstr("Too many levels of symbolic links"));
}

}  // namespace
}  // namespace kumihimo
