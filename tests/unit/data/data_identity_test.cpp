#include "data/data_identity.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/in_folder.hpp"

namespace kumihimo {
namespace {

using ::testing::StartsWith;

class DataIdentity : public InFolder {
 protected:
  std::string identity_of(const std::string& text) {
    const auto tokens = open_tokens(put(folder_ / "corpus.txt", text), 256);
    EXPECT_TRUE(tokens);
    return data_identity(**tokens);
  }
};

TEST_F(DataIdentity, DiffersForOtherTokensOfTheSameNameAndLength) {
  std::string text(100'000, 'a');
  const std::string before = identity_of(text);
  EXPECT_THAT(before, StartsWith("corpus.txt: 100,000 bytes as tokens, sampled hash "));
  EXPECT_EQ(identity_of(text), before);
  for (const std::size_t changed : {std::size_t{0}, text.size() - 1}) {  // both ends are looked at
    std::string other = text;
    other[changed] = 'b';
    EXPECT_NE(identity_of(other), before);
  }
  std::string half = text;
  half.replace(half.size() / 2, 1'000, 1'000, 'b');
  EXPECT_NE(identity_of(half), before);
}

TEST_F(DataIdentity, OfAFewTokensIsOfAllOfThem) {
  EXPECT_NE(identity_of("abcde"), identity_of("abXde"));
  EXPECT_NE(identity_of("a"), identity_of("b"));
}

TEST(DataIdentityOfSyntheticTokens, DiffersBySeed) {
  EXPECT_EQ(data_identity(*synthetic_tokens(1000, 1)), data_identity(*synthetic_tokens(1000, 1)));
  EXPECT_NE(data_identity(*synthetic_tokens(1000, 1)), data_identity(*synthetic_tokens(1000, 2)));
}

}  // namespace
}  // namespace kumihimo
