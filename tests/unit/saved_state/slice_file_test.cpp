#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <system_error>
#include <thread>
#include <vector>

#include "saved_state/safetensors.hpp"
#include "support/file_size_limit.hpp"
#include "support/in_folder.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class SliceFiles : public InFolder {
 protected:
  fs::path path() const { return folder_ / "slices"; }
};

template <class Action>
std::string failure_of(Action action) {
  try {
    action();
  } catch (const std::system_error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no std::system_error";
  return "";
}

TEST_F(SliceFiles, AreCreatedAtFullLengthWithThePreamble) {
  SliceFile::create(path(), "head", 10);
  EXPECT_EQ(contents(path()), std::string("head\0\0\0\0\0\0", 10));
  SliceFile::create(path(), "x", 1);  // what was there before is gone
  EXPECT_EQ(contents(path()), "x");
  SliceFile::create(path(), "", 0);
  EXPECT_EQ(contents(path()), "");
}

TEST_F(SliceFiles, WriteAndReadAtTheirPlace) {
  SliceFile::create(path(), "", 10);
  SliceFile writer(path(), SliceFile::Mode::write);
  writer.write(3, "abc", 3);
  writer.write(9, "z", 1);
  writer.write(10, "", 0);
  writer.sync();
  const SliceFile reader(path(), SliceFile::Mode::read);
  char bytes[4] = {};
  reader.read(2, bytes, 4);
  EXPECT_EQ(std::string(bytes, 4), std::string("\0abc", 4));
  EXPECT_EQ(contents(path()).size(), 10u);
}

TEST_F(SliceFiles, SeveralThreadsWriteTheirOwnSlices) {
  constexpr std::int64_t writers = 4, slices = 64, slice_bytes = 1009;
  SliceFile::create(path(), "", writers * slices * slice_bytes);
  std::vector<std::thread> threads;
  for (std::int64_t t = 0; t < writers; ++t) {
    threads.emplace_back([&, t] {
      SliceFile file(path(), SliceFile::Mode::write);
      const std::string slice(static_cast<std::size_t>(slice_bytes), static_cast<char>('a' + t));
      for (std::int64_t s = 0; s < slices; ++s) {
        file.write((s * writers + t) * slice_bytes, slice.data(), slice_bytes);
      }
      file.sync();
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::string bytes = contents(path());
  ASSERT_EQ(std::ssize(bytes), writers * slices * slice_bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto slice = static_cast<std::int64_t>(i) / slice_bytes;
    ASSERT_EQ(bytes[i], 'a' + slice % writers) << i;
  }
}

TEST_F(SliceFiles, MoveTheirHandle) {
  SliceFile::create(path(), "abc", 3);
  SliceFile::create(folder_ / "other", "xyz", 3);
  SliceFile first(path(), SliceFile::Mode::read);
  SliceFile second(std::move(first));
  second = SliceFile(folder_ / "other", SliceFile::Mode::read);
  char byte = 0;
  second.read(0, &byte, 1);
  EXPECT_EQ(byte, 'x');
}

TEST_F(SliceFiles, FailuresNamePathCallAndReason) {
  EXPECT_THAT(failure_of([&] { SliceFile(folder_ / "none", SliceFile::Mode::read); }),
              HasSubstr("none: open: No such file or directory"));
  EXPECT_THAT(failure_of([&] { SliceFile::create(folder_ / "no/folder", "", 1); }),
              HasSubstr("no/folder: open: No such file or directory"));
  SliceFile::create(path(), "abc", 3);
  char bytes[4];
  EXPECT_THAT(failure_of([&] { SliceFile(path(), SliceFile::Mode::read).read(1, bytes, 4); }),
              HasSubstr("slices: pread: the file ends at byte 3, before byte 5"));
  EXPECT_THAT(failure_of([&] { SliceFile(path(), SliceFile::Mode::read).write(0, "x", 1); }),
              HasSubstr("slices: pwrite: Bad file descriptor"));
}

TEST_F(SliceFiles, AFullDeviceIsReported) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  EXPECT_THAT(failure_of([] { SliceFile("/dev/full", SliceFile::Mode::write).write(0, "x", 1); }),
              HasSubstr("/dev/full: pwrite: No space left on device"));
}

TEST_F(SliceFiles, AFileThatMayNotGrowIsReportedOnCreation) {
  const FileSizeLimit limit(4096);
  EXPECT_THAT(failure_of([&] { SliceFile::create(path(), "", 10'000); }),
              AllOf(HasSubstr("slices: "), HasSubstr("File too large")));
}

TEST_F(SliceFiles, AFileThatMayNotGrowIsReportedOnWriting) {
  SliceFile::create(path(), "", 4096);
  const FileSizeLimit limit(4096);
  SliceFile file(path(), SliceFile::Mode::write);
  const std::string slice(1000, 'x');
  // The system takes the 96 bytes that still fit, and refuses the rest.
  EXPECT_THAT(failure_of([&] { file.write(4000, slice.data(), 1000); }),
              HasSubstr("slices: pwrite: File too large"));
}

}  // namespace
}  // namespace kumihimo
