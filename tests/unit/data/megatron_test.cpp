#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>

#include "data/megatron_index.hpp"
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

/// Two documents: sequences of 2 and 1 tokens, and one of 3.
MegatronIndexText two_documents() {
  MegatronIndexText index;
  index.lengths = {2, 1, 3};
  index.first_bytes = {0, 4, 6};
  index.document_bounds = {0, 2, 3};
  return index;
}
constexpr std::int64_t two_documents_bytes = (2 + 1 + 3) * 2;

std::string fault_of(const MegatronIndexText& index,
                     std::int64_t data_bytes = two_documents_bytes) {
  return message(parse_megatron_index(index.bytes(), data_bytes, "corpus.idx"));
}

class Megatron : public InFolder {
 protected:
  std::vector<std::int32_t> all_tokens(const fs::path& path, std::int64_t vocab = 100) const {
    const auto source = open_tokens(path, vocab);
    EXPECT_TRUE(source) << to_string(source.errors());
    if (!source) return {};
    std::vector<std::int32_t> tokens(static_cast<std::size_t>((*source)->tokens()));
    (*source)->read(0, tokens);
    return tokens;
  }
};

TEST_F(Megatron, DocumentsFollowOneAnotherHoweverTheCorpusIsNamed) {
  put(folder_ / "corpus.bin", bytes_of<std::uint16_t>({10, 11, 20, 30, 31, 32}));
  put(folder_ / "corpus.idx", two_documents().bytes());
  for (const char* name : {"corpus.bin", "corpus.idx", "corpus"}) {
    EXPECT_THAT(all_tokens(folder_ / name), ElementsAre(10, 11, 20, 30, 31, 32)) << name;
  }
  const auto source = open_tokens(folder_ / "corpus", 100);
  ASSERT_TRUE(source);
  EXPECT_EQ((*source)->description(),
            "corpus.bin: 6 tokens of uint16 in 2 documents (Megatron-LM)");
}

TEST_F(Megatron, ADotInThePrefixIsNoExtension) {
  put(folder_ / "corpus.v1.bin", bytes_of<std::uint16_t>({10, 11, 20, 30, 31, 32}));
  put(folder_ / "corpus.v1.idx", two_documents().bytes());
  EXPECT_EQ(all_tokens(folder_ / "corpus.v1").size(), 6u);
}

TEST_F(Megatron, EveryTypeOfToken) {
  const auto corpus = [&](std::uint8_t code, std::int64_t width, const std::string& data) {
    MegatronIndexText index;
    index.type = code;
    index.lengths = {2, 1};
    index.first_bytes = {0, 2 * width};
    index.document_bounds = {0, 1, 2};
    put(folder_ / "t.bin", data);
    put(folder_ / "t.idx", index.bytes());
    return all_tokens(folder_ / "t.bin", 200'000);
  };
  EXPECT_THAT(corpus(1, 1, bytes_of<std::uint8_t>({1, 2, 255})), ElementsAre(1, 2, 255));
  EXPECT_THAT(corpus(2, 1, bytes_of<std::int8_t>({1, 2, 127})), ElementsAre(1, 2, 127));
  EXPECT_THAT(corpus(3, 2, bytes_of<std::int16_t>({1, 2, 32767})), ElementsAre(1, 2, 32767));
  EXPECT_THAT(corpus(4, 4, bytes_of<std::int32_t>({1, 2, 128000})), ElementsAre(1, 2, 128000));
  EXPECT_THAT(corpus(5, 8, bytes_of<std::int64_t>({1, 2, 128000})), ElementsAre(1, 2, 128000));
  EXPECT_THAT(corpus(8, 2, bytes_of<std::uint16_t>({1, 2, 65535})), ElementsAre(1, 2, 65535));
}

TEST_F(Megatron, NegativeTokensAreFoundInEveryType) {
  const auto fault = [&](std::uint8_t code, std::int64_t width, const std::string& data) {
    MegatronIndexText index;
    index.type = code;
    index.lengths = {3};
    index.first_bytes = {0};
    index.document_bounds = {0, 1};
    EXPECT_EQ(std::ssize(data), 3 * width);
    put(folder_ / "t.bin", data);
    put(folder_ / "t.idx", index.bytes());
    return message(open_tokens(folder_ / "t.bin", 200'000));
  };
  const auto names_it = AllOf(HasSubstr("t.bin: token number 1 (of 3, from 0) is -1, outside"),
                              HasSubstr("; tokens are never negative: tokenize the text again"));
  EXPECT_THAT(fault(2, 1, bytes_of<std::int8_t>({0, -1, 0})), names_it);
  EXPECT_THAT(fault(3, 2, bytes_of<std::int16_t>({0, -1, 0})), names_it);
  EXPECT_THAT(fault(4, 4, bytes_of<std::int32_t>({0, -1, 0})), names_it);
  EXPECT_THAT(fault(5, 8, bytes_of<std::int64_t>({0, -1, 0})), names_it);
  EXPECT_THAT(fault(5, 8, bytes_of<std::int64_t>({0, 0, (std::int64_t{1} << 32) + 5})),
              HasSubstr("token number 2 (of 3, from 0) is 4294967301, outside"));
}

TEST_F(Megatron, SequencesThatLieElsewhereInTheFileAreReadInOrder) {
  MegatronIndexText index;
  index.lengths = {2, 0, 1, 3};
  index.first_bytes = {8, 0, 6, 0};  // the second has no tokens, the third and fourth come before
  index.document_bounds = {0, 1, 1, 4};
  put(folder_ / "corpus.bin", bytes_of<std::uint16_t>({30, 31, 32, 20, 10, 11}));
  put(folder_ / "corpus.idx", index.bytes());
  EXPECT_THAT(all_tokens(folder_ / "corpus"), ElementsAre(10, 11, 20, 30, 31, 32));
  const auto source = open_tokens(folder_ / "corpus", 100);
  std::vector<std::int32_t> middle(3);
  (*source)->read(1, middle);
  EXPECT_THAT(middle, ElementsAre(11, 20, 30));
}

TEST_F(Megatron, BothMissingFilesAreNamed) {
  put(folder_ / "alone.idx", two_documents().bytes());
  EXPECT_THAT(message(open_tokens(folder_ / "alone.idx", 100)),
              AllOf(HasSubstr("alone.bin: cannot be read"), HasSubstr("No such file")));
  EXPECT_THAT(message(open_tokens(folder_ / "none.idx", 100)),
              AllOf(HasSubstr("none.idx: cannot"), HasSubstr("none.bin: cannot")));
}

TEST(MegatronIndexParser, JoinsWhatFollowsInTheFile) {
  const auto index =
      parse_megatron_index(two_documents().bytes(), two_documents_bytes, "corpus.idx");
  ASSERT_TRUE(index);
  EXPECT_EQ(index->stored.extents.size(), 1u);
  EXPECT_EQ(index->stored.tokens, 2 + 1 + 3);
  EXPECT_EQ(index->documents, 2);
}

TEST(MegatronIndexParser, EveryCutIsRefused) {
  const std::string whole = two_documents().bytes();
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_THAT(
        message(parse_megatron_index(whole.substr(0, length), two_documents_bytes, "c.idx")),
        StartsWith("c.idx: "))
        << length;
  }
  EXPECT_THAT(message(parse_megatron_index(whole + "x", two_documents_bytes, "c.idx")),
              HasSubstr("states 3 sequences and 3 document bounds, which does not go with its "
                        "length of 95 bytes; copy both files again"));  // 34 + 12 x 3 + 8 x 3 + 1
}

TEST(MegatronIndexParser, HeaderFaults) {
  MegatronIndexText index = two_documents();
  index.magic = std::string("TNTIDX\0\0\x01", 9);
  EXPECT_THAT(
      fault_of(index),
      HasSubstr("corpus.idx: begins with \"TNTIDX\\x00\\x00\\x01\", not with the \"MMIDIDX\" "
                "of a Megatron-LM index; give the .idx file"));
  index = two_documents();
  index.version = 2;
  EXPECT_THAT(fault_of(index), HasSubstr("is of version 2 of Megatron-LM's index; version 1"));
  index = two_documents();
  index.type = 7;
  EXPECT_THAT(fault_of(index), HasSubstr("of type 7, floating point; types are 1 (uint8)"));
  index.type = 99;
  EXPECT_THAT(fault_of(index), HasSubstr("of type 99; types are"));
}

TEST(MegatronIndexParser, CountsThatOverflowAreRefused) {
  for (const std::uint64_t huge : {std::uint64_t{1} << 61, ~std::uint64_t{0}}) {
    std::string bytes = two_documents().bytes();
    for (const std::size_t at : {18, 26}) {
      bytes.replace(at, 8, bytes_of<std::uint64_t>({huge}));
      EXPECT_THAT(message(parse_megatron_index(bytes, two_documents_bytes, "corpus.idx")),
                  HasSubstr("does not go with its length"));
    }
  }
}

TEST(MegatronIndexParser, SequencesMustLieInTheData) {
  MegatronIndexText index = two_documents();
  index.lengths[1] = -1;
  EXPECT_THAT(fault_of(index), HasSubstr("sequence 1 has -1 tokens"));
  for (const std::int64_t byte : {std::int64_t{-2}, std::int64_t{5}, std::int64_t{12},
                                  std::numeric_limits<std::int64_t>::max() - 1}) {
    index = two_documents();
    index.first_bytes[1] = byte;
    EXPECT_THAT(fault_of(index), HasSubstr("sequence 1 of 1 tokens begins at byte"));
  }
  index = two_documents();
  index.lengths[2] = std::numeric_limits<std::int32_t>::max();
  EXPECT_THAT(fault_of(index), HasSubstr("which does not go with a .bin file of 12 bytes"));
  EXPECT_THAT(fault_of(two_documents(), two_documents_bytes + 2),
              HasSubstr("its sequences end at byte 12 of the .bin file, which has 14"));
  index = two_documents();
  index.lengths = {0, 0, 0};
  EXPECT_THAT(fault_of(index), HasSubstr("has no tokens"));
}

TEST(MegatronIndexParser, DocumentsMustCoverTheSequencesInOrder) {
  MegatronIndexText index = two_documents();
  for (const std::vector<std::int64_t>& bounds :
       std::vector<std::vector<std::int64_t>>{{1, 2, 3}, {0, 3, 2}, {0, 4, 3}, {0, -1, 3}}) {
    index.document_bounds = bounds;
    EXPECT_THAT(fault_of(index), HasSubstr("document bound"));
  }
  index.document_bounds = {0, 2};
  EXPECT_THAT(fault_of(index), HasSubstr("its 2 document bounds cover 2 of 3 sequences"));
  index.document_bounds = {};
  EXPECT_THAT(fault_of(index), HasSubstr("its 0 document bounds cover 0 of 3 sequences"));
}

}  // namespace
}  // namespace kumihimo
