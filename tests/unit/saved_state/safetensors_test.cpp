#include "saved_state/safetensors.hpp"

#include <cstring>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "support/in_folder.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

/// A file of a header and `data_bytes` zeros.
std::string file_of(const std::string& json, std::size_t data_bytes) {
  const std::uint64_t length = json.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + json +
         std::string(data_bytes, '\0');
}

Expected<SafetensorsHeader> parse(const std::string& file) {
  return parse_safetensors_header(file, std::ssize(file), "m.safetensors");
}

std::string fault_of(const std::string& json, std::size_t data_bytes) {
  return message(parse(file_of(json, data_bytes)));
}

StoredTensor tensor(const std::string& name, const std::string& dtype,
                    std::vector<std::int64_t> shape) {
  return {name, dtype, std::move(shape)};
}

std::uint64_t length_of(const std::string& preamble) {
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    length |= std::uint64_t{static_cast<unsigned char>(preamble[i])} << (8 * i);
  }
  return length;
}

// The format by hand, without our reader: a little-endian length, JSON in the order that was asked
// for, spaces up to a multiple of 64.
TEST(PlanSafetensors, WritesTheFormatToTheByte) {
  const PlannedSafetensors planned =
      plan_safetensors({tensor("wte", "F32", {3, 2}), tensor("a", "BF16", {5})}, {{"step", "7"}});
  const std::string json =
      R"({"__metadata__":{"step":"7"},)"
      R"("wte":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]},)"  // 3 x 2 x 4 bytes
      R"("a":{"dtype":"BF16","shape":[5],"data_offsets":[24,34]}})";   // 5 x 2 bytes
  const std::size_t data_begin = (8 + json.size() + 63) / 64 * 64;
  ASSERT_EQ(planned.preamble.size(), data_begin);
  EXPECT_EQ(length_of(planned.preamble), data_begin - 8);
  EXPECT_EQ(planned.preamble.substr(8, json.size()), json);
  EXPECT_EQ(planned.preamble.substr(8 + json.size()),
            std::string(data_begin - 8 - json.size(), ' '));

  const auto begin = static_cast<std::int64_t>(data_begin);
  EXPECT_EQ(planned.header.file_bytes, begin + 3 * 2 * 4 + 5 * 2);
  EXPECT_EQ(planned.header.tensors[0].offset, begin);
  EXPECT_EQ(planned.header.tensors[1].offset, begin + 24);
  EXPECT_EQ(planned.header.tensors[1].bytes, 5 * 2);
}

TEST(PlanSafetensors, WhatIsPlannedReadsBack) {
  const PlannedSafetensors planned =
      plan_safetensors({tensor("z", "F64", {2}), tensor("scalar", "F32", {}),
                        tensor("none", "I64", {0, 4}), tensor("quote\"\\\n\xc3\xa9", "U8", {3})},
                       {{"a key", "a \"value\""}});
  const std::string file = planned.preamble + std::string(2 * 8 + 1 * 4 + 0 + 3 * 1, '\0');
  const Expected<SafetensorsHeader> header = parse(file);
  ASSERT_TRUE(header) << to_string(header.errors());
  EXPECT_EQ(header->metadata, planned.header.metadata);
  EXPECT_EQ(header->file_bytes, planned.header.file_bytes);
  ASSERT_EQ(header->tensors.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    const StoredTensor &read = header->tensors[i], &written = planned.header.tensors[i];
    EXPECT_EQ(read.name, written.name);
    EXPECT_EQ(read.dtype, written.dtype);
    EXPECT_EQ(read.shape, written.shape);
    EXPECT_EQ(read.offset, written.offset);
    EXPECT_EQ(read.bytes, written.bytes);
  }
}

TEST(PlanSafetensors, NothingIsAFileToo) {
  const PlannedSafetensors planned = plan_safetensors({}, {});
  EXPECT_EQ(planned.preamble.size(), 64u);
  const Expected<SafetensorsHeader> header = parse(planned.preamble);
  ASSERT_TRUE(header);
  EXPECT_THAT(header->tensors, IsEmpty());
}

TEST(PlanSafetensors, ImpossibleTensorsAreOurMistake) {
  EXPECT_THROW(plan_safetensors({tensor("a", "F32", {1}), tensor("a", "F32", {1})}, {}),
               InvariantError);
  EXPECT_THROW(plan_safetensors({tensor("a", "F31", {1})}, {}), InvariantError);
  EXPECT_THROW(plan_safetensors({tensor("a", "F32", {-1})}, {}), InvariantError);
  EXPECT_THROW(plan_safetensors({tensor("a", "F32", {std::int64_t{1} << 61, 2})}, {}),
               InvariantError);
  EXPECT_THROW(plan_safetensors({tensor("__metadata__", "F32", {1})}, {}), InvariantError);
}

TEST(ParseSafetensors, TensorsComeInTheOrderOfTheirBytes) {
  const auto header = parse(file_of(R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},
      "a":{"dtype":"I64","shape":[],"data_offsets":[0,8]}})",
                                    12));
  ASSERT_TRUE(header) << to_string(header.errors());
  EXPECT_EQ(header->tensors[0].name, "a");
  EXPECT_EQ(header->tensors[1].name, "b");
}

TEST(ParseSafetensors, LengthsAreChecked) {
  EXPECT_THAT(message(parse("")),
              StartsWith("m.safetensors: is 0 bytes long; a safetensors file "));
  EXPECT_THAT(message(parse("1234567")), HasSubstr("is 7 bytes long"));
  const std::string whole = file_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4);
  EXPECT_TRUE(parse(whole).has_value());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_THAT(message(parse(whole.substr(0, length))), StartsWith("m.safetensors: ")) << length;
  }
  EXPECT_THAT(message(parse(whole + "x")),
              HasSubstr("bytes long, but its last tensor ends at byte"));
  EXPECT_THAT(message(parse(std::string(8, '\xff') + "{}")),
              HasSubstr("header length of 18446744073709551615 bytes, over the 100,000,000"));
  EXPECT_THAT(message(parse(file_of("{}", 0).replace(0, 1, "\x03"))),
              HasSubstr("is cut off: 10 bytes long, and its header alone takes 11; copy or"));
}

TEST(ParseSafetensors, HeadersThatAreNotJsonObjects) {
  EXPECT_THAT(fault_of("", 0), HasSubstr("header: is not valid JSON"));
  EXPECT_THAT(fault_of("{\"a\":", 0), HasSubstr("header: is not valid JSON"));
  EXPECT_THAT(fault_of("[1,2]", 0), HasSubstr("is no JSON object; check that this is"));
  EXPECT_THAT(fault_of("{\"a\":1e999}", 0), HasSubstr("beyond what a double can hold"));
  EXPECT_THAT(fault_of(std::string("{}\0{}", 5), 0),
              HasSubstr("header: is not valid JSON: see column 3"));
  EXPECT_THAT(fault_of(std::string(100'000, '['), 0), HasSubstr("is not valid JSON"));
  EXPECT_THAT(fault_of(R"({"__metadata__":3})", 0), HasSubstr("__metadata__ that is no JSON"));
  EXPECT_THAT(fault_of(R"({"__metadata__":{"k":3}})", 0), HasSubstr("whose \"k\" is no string"));
}

TEST(ParseSafetensors, EveryFaultNamesItsTensor) {
  const auto fault_of_a = [](const std::string& fields) {
    return fault_of(R"({"a":{)" + fields + "}}", 8);
  };
  const auto names_it = StartsWith("m.safetensors: tensor a: ");
  for (const char* fields :
       {"", R"("dtype":"F32","shape":[2])", R"("dtype":3,"shape":[2],"data_offsets":[0,8])",
        R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])",
        R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])",
        R"("dtype":"F32","shape":2,"data_offsets":[0,8])",
        R"("dtype":"F32","shape":[2],"data_offsets":[0,8,8])",
        R"("dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8])"}) {
    EXPECT_THAT(fault_of_a(fields), AllOf(names_it, HasSubstr("lacks a dtype, a shape"))) << fields;
  }
  EXPECT_THAT(fault_of_a(R"("dtype":"Q4","shape":[2],"data_offsets":[0,8])"),
              AllOf(names_it, HasSubstr("is of dtype Q4; known are F64, F32")));
  EXPECT_THAT(fault_of_a(R"("dtype":"F32","shape":[3],"data_offsets":[0,12])"),
              AllOf(names_it, HasSubstr("lies at bytes 0 to 12 of data that has 8")));
  EXPECT_THAT(fault_of_a(R"("dtype":"F32","shape":[0],"data_offsets":[8,0])"),
              AllOf(names_it, HasSubstr("lies at bytes 8 to 0")));
  EXPECT_THAT(fault_of_a(R"("dtype":"F32","shape":[3,5],"data_offsets":[0,8])"),
              AllOf(names_it, HasSubstr("has 8 bytes, but F32 of shape [3, 5] takes 60")));
  EXPECT_THAT(fault_of_a(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8])"),
              AllOf(names_it, HasSubstr("takes more than can be counted")));
  EXPECT_THAT(fault_of(R"({"a":[]})", 0), AllOf(names_it, HasSubstr("lacks a dtype")));
}

TEST(ParseSafetensors, OverlapsGapsAndTwinsAreRefused) {
  const auto two = [](int begin, int end, const char* second = "b") {
    return fmt::format(R"({{"a":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}},
        "{}":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}}}})",
                       second, end - begin, begin, end);
  };
  EXPECT_TRUE(parse(file_of(two(4, 8), 8)).has_value());
  EXPECT_THAT(fault_of(two(3, 8), 8), AllOf(HasSubstr("tensor b: begins at byte"),
                                            HasSubstr("before the end of the tensor")));
  EXPECT_THAT(fault_of(two(5, 8), 8), HasSubstr("with a gap after the end of the tensor"));
  EXPECT_THAT(fault_of(two(4, 8, "a"), 8), HasSubstr("header: a: stands there twice; keep one"));
}

TEST(ParseSafetensors, NamesArePrintedWithoutControlCharactersAndCutShort) {
  EXPECT_THAT(fault_of(R"({"a\u0007b":[]})", 0), HasSubstr("tensor a?b: "));
  EXPECT_LT(fault_of("{\"" + std::string(10'000, 'n') + "\":[]}", 0).size(), 400u);
  std::string umlauts = "x";  // so that byte 100 is the middle of a character
  for (int i = 0; i < 100; ++i) umlauts += "\xc3\xa4";
  EXPECT_THAT(fault_of("{\"" + umlauts + "\":[]}", 0),
              HasSubstr("tensor " + umlauts.substr(0, 99) + ": "));
}

TEST(ParseSafetensors, AForeignFileGetsTenFaultsNotThousands) {
  std::string json = "{";
  for (int i = 0; i < 1000; ++i) json += fmt::format("\"t{}\":[],", i);
  json.back() = '}';
  const Expected<SafetensorsHeader> header = parse(file_of(json, 0));
  ASSERT_FALSE(header);
  EXPECT_EQ(header.errors().size(), 10u);
}

class ReadSafetensors : public InFolder {};

TEST_F(ReadSafetensors, ReadsAFileAndNamesWhatCannotBeRead) {
  const fs::path path = folder_ / "m.safetensors";
  put(path, file_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4));
  const Expected<SafetensorsHeader> header = read_safetensors_header(path);
  ASSERT_TRUE(header) << to_string(header.errors());
  EXPECT_THAT(header->tensors[0].shape, ElementsAre(4));

  put(path, "abc");
  EXPECT_THAT(message(read_safetensors_header(path)),
              StartsWith(path.string() + ": is 3 bytes long"));
  EXPECT_THAT(message(read_safetensors_header(folder_)), HasSubstr("is a directory"));
  EXPECT_THAT(message(read_safetensors_header(folder_ / "none")),
              HasSubstr("none: cannot be read: No such file or directory"));
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(message(read_safetensors_header(folder_ / "pipe")), HasSubstr("not a regular file"));
}

}  // namespace
}  // namespace kumihimo
