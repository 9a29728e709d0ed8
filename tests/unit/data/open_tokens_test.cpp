#include <chrono>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

#include "data/token_source.hpp"
#include "support/in_folder.hpp"
#include "token_files.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::int32_t magic_uint16 = 20240520, magic_uint32 = 20240801;
constexpr std::int64_t gpt2_vocab = 50257;

class OpenTokens : public InFolder {
 protected:
  static std::vector<std::int32_t> read(const TokenSource& source, std::int64_t first,
                                        std::size_t count) {
    std::vector<std::int32_t> tokens(count, -1);
    source.read(first, tokens);
    return tokens;
  }
  std::string fault_of(const std::string& name, const std::string& bytes,
                       std::int64_t vocab = gpt2_vocab) const {
    return message(open_tokens(put(folder_ / name, bytes), vocab));
  }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
};

TEST_F(OpenTokens, TextIsATokenAByte) {
  const auto source = open_tokens(put(folder_ / "corpus.txt", "ab\xc3\xa9\n"), gpt2_vocab);
  ASSERT_TRUE(source);
  EXPECT_EQ((*source)->tokens(), 5);
  EXPECT_EQ((*source)->vocab(), 256);
  EXPECT_EQ((*source)->description(), "corpus.txt: 5 bytes as tokens");
  EXPECT_THAT(read(**source, 0, 5), ElementsAre('a', 'b', 0xc3, 0xa9, '\n'));
  EXPECT_THAT(read(**source, 3, 2), ElementsAre(0xa9, '\n'));
  EXPECT_TRUE(read(**source, 5, 0).empty());
}

TEST_F(OpenTokens, ReadsBeyondTheEndAreOurMistake) {
  const auto source = open_tokens(put(folder_ / "corpus.txt", "abc"), 256);
  ASSERT_TRUE(source);
  EXPECT_THROW(read(**source, 1, 3), InvariantError);
  EXPECT_THROW(read(**source, -1, 1), InvariantError);
  EXPECT_THROW(read(**source, std::int64_t{1} << 62, 1), InvariantError);
}

TEST_F(OpenTokens, LlmCFilesOfBothWidths) {
  const auto narrow = open_tokens(
      put(folder_ / "a.bin", llm_c_file<std::uint16_t>(magic_uint16, 1, 3, {0, 50256, 7})),
      gpt2_vocab);
  ASSERT_TRUE(narrow) << to_string(narrow.errors());
  EXPECT_EQ((*narrow)->description(), "a.bin: 3 tokens of uint16 (llm.c)");
  EXPECT_EQ((*narrow)->vocab(), gpt2_vocab);
  EXPECT_THAT(read(**narrow, 0, 3), ElementsAre(0, 50256, 7));

  const auto wide = open_tokens(
      put(folder_ / "b.bin", llm_c_file<std::uint32_t>(magic_uint32, 1, 2, {128255, 65536})),
      128256);
  ASSERT_TRUE(wide) << to_string(wide.errors());
  EXPECT_THAT(read(**wide, 1, 1), ElementsAre(65536));
}

TEST_F(OpenTokens, TheMagicNumberOfLlmCCountsWhateverTheName) {
  const auto source = open_tokens(
      put(folder_ / "shard-0", llm_c_file<std::uint16_t>(magic_uint16, 1, 2, {40000, 1})),
      gpt2_vocab);
  ASSERT_TRUE(source);
  EXPECT_EQ((*source)->tokens(), 2);
}

TEST_F(OpenTokens, LlmCFaultsNameTheFileAndTheRemedy) {
  EXPECT_THAT(fault_of("a.bin", "just text, not tokens"),
              AllOf(StartsWith(at("a.bin") + ": begins with 1953723754, not with the magic number "
                                             "20240520 (uint16 tokens) or 20240801"),
                    HasSubstr("; give a token file of llm.c, put the .idx file")));
  EXPECT_THAT(fault_of("a.bin", "ab"),
              HasSubstr("is 2 bytes long, shorter than the header of 1,024"));
  const std::string whole = llm_c_file<std::uint16_t>(magic_uint16, 1, 3, {1, 2, 3});
  EXPECT_THAT(fault_of("a.bin", whole.substr(0, 1000)), HasSubstr("is 1,000 bytes long, shorter"));
  // 256 x 4 bytes of header and 3 tokens of 2 bytes: 1,030.
  EXPECT_THAT(fault_of("a.bin", whole.substr(0, 1029)),
              HasSubstr("states 3 tokens of uint16, so it should be 1,030 bytes long, but it has "
                        "1,029; it is cut off: copy or tokenize it again"));
  EXPECT_THAT(fault_of("a.bin", whole + "x"), HasSubstr("but it has 1,031; copy or tokenize"));
  EXPECT_THAT(fault_of("a.bin", llm_c_file<std::uint16_t>(magic_uint16, 2, 1, {1})),
              HasSubstr("is of version 2 of llm.c's token files; tokenize again"));
  EXPECT_THAT(fault_of("a.bin", llm_c_file<std::uint16_t>(magic_uint16, 1, 0, {})),
              HasSubstr("states 0 tokens"));
  EXPECT_THAT(fault_of("a.bin", llm_c_file<std::uint16_t>(magic_uint16, 1, -5, {1})),
              HasSubstr("states -5 tokens"));
  EXPECT_THAT(fault_of("a.bin", llm_c_file<std::uint32_t>(magic_uint32, 1, 2147483647, {1})),
              HasSubstr("so it should be 8,589,935,612 bytes long"));
}

TEST_F(OpenTokens, ATokenOutsideTheVocabularyIsNamedWithItsPlace) {
  std::vector<std::uint16_t> tokens(5000, 3);
  tokens[4321] = 50257;
  tokens[4999] = 60000;
  EXPECT_THAT(
      fault_of("a.bin", llm_c_file(magic_uint16, 1, 5000, tokens)),
      HasSubstr("a.bin: token number 4,321 (of 5,000, from 0) is 50257, outside the model's "
                "vocabulary of 50257; tokenize with the model's tokenizer, or give "
                "--vocab-size 50258 or more"));
  EXPECT_THAT(fault_of("b.bin", llm_c_file<std::uint32_t>(magic_uint32, 1, 1, {4294967295u})),
              HasSubstr("token number 0 (of 1, from 0) is 4294967295"));
  EXPECT_THAT(fault_of("a.txt", "abc\xff", 128), HasSubstr("token number 3 (of 4, from 0) is 255"));
  EXPECT_TRUE(open_tokens(put(folder_ / "ascii.txt", "abc\x7f"), 128).has_value());
}

TEST_F(OpenTokens, FilesThatCannotBeReadSayWhy) {
  EXPECT_THAT(message(open_tokens(folder_ / "none.txt", 256)),
              AllOf(StartsWith(at("none.txt")), HasSubstr("No such file or directory; give the")));
  EXPECT_THAT(message(open_tokens(folder_, 256)), HasSubstr("is a directory"));
  EXPECT_THAT(fault_of("empty.txt", ""), HasSubstr("empty.txt: is empty; give a file that holds"));
  EXPECT_THAT(fault_of("empty.bin", ""), HasSubstr("empty.bin: is empty"));
  EXPECT_THAT(message(open_tokens("", 256)), HasSubstr("empty or broken file name"));
  EXPECT_THAT(message(open_tokens("/dev/zero", 256)), HasSubstr("is not a regular file"));
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(message(open_tokens(folder_ / "pipe", 256)), HasSubstr("is not a regular file"));
  if (::geteuid() != 0) {  // root reads everything
    fs::permissions(put(folder_ / "secret.txt", "x"), fs::perms::none);
    EXPECT_THAT(message(open_tokens(folder_ / "secret.txt", 256)), HasSubstr("Permission denied"));
  }
}

TEST_F(OpenTokens, AFileThatChangesWhileItIsOpenThrowsAndDoesNotCrash) {
  const fs::path path = put(folder_ / "corpus.txt", std::string(100'000, 'a'));
  const auto source = open_tokens(path, 256);
  ASSERT_TRUE(source);
  fs::resize_file(path, 10);
  try {
    read(**source, 90'000, 100);
    FAIL() << "a file was cut off unnoticed";
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("corpus.txt: was 100,000 bytes long when it was "
                                              "opened and is 10 now"),
                                    HasSubstr("leave a corpus alone")));
  }
}

TEST_F(OpenTokens, AFileWrittenInPlaceThrows) {
  const fs::path path = put(folder_ / "corpus.txt", "abcdef");
  const auto source = open_tokens(path, 256);
  ASSERT_TRUE(source);
  EXPECT_THAT(read(**source, 0, 1), ElementsAre('a'));
  fs::last_write_time(path, fs::last_write_time(path) + std::chrono::seconds(2));
  EXPECT_THROW(read(**source, 0, 1), std::runtime_error);
}

TEST_F(OpenTokens, AFileReplacedByRenameGoesOnBeingRead) {
  const auto source = open_tokens(put(folder_ / "corpus.txt", "old"), 256);
  ASSERT_TRUE(source);
  fs::rename(put(folder_ / "new.txt", "newer"), folder_ / "corpus.txt");
  EXPECT_THAT(read(**source, 0, 3), ElementsAre('o', 'l', 'd'));
}

TEST_F(OpenTokens, ThreadsReadAtOnce) {
  std::string text(100'000, ' ');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 26);
  const auto source = open_tokens(put(folder_ / "corpus.txt", text), 256);
  ASSERT_TRUE(source);
  std::vector<std::thread> threads;
  std::vector<std::int64_t> wrong(4, 0);
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::int64_t first = std::ssize(wrong); first < 99'000; first += 997) {
        const std::vector<std::int32_t> tokens = read(**source, first, 1000);
        for (std::int64_t i = 0; i < 1000; ++i) {
          wrong[t] += tokens[static_cast<std::size_t>(i)] != 'a' + (first + i) % 26 ? 1 : 0;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, ElementsAre(0, 0, 0, 0));
}

}  // namespace
}  // namespace kumihimo
