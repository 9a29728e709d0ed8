// The program's output, byte for byte, against the files of expected/. Long decimals are compared
// to nine digits: the tenth may differ between processors and maths libraries.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <regex>
#include <sstream>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "cost/stack_profile_file.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;

const fs::path folder = fs::path(KUMIHIMO_SOURCE_DIR) / "tests/golden";

struct Case {
  std::string name;
  std::string arguments;
};

void PrintTo(const Case& golden, std::ostream* out) { *out << golden.name; }

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<Case> cases() {
  std::vector<Case> result;
  std::ifstream file(folder / "cases.txt");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(':');
    if (line.empty() || line[0] == '#' || colon == std::string::npos) continue;
    const std::size_t begin = std::min(line.size(), colon + 2);
    result.push_back({line.substr(0, colon), line.substr(begin)});
  }
  return result;
}

/// A folder of its own for one run.
class Scratch {
 public:
  Scratch() {
    std::string pattern = (fs::temp_directory_path() / "kumihimo-golden-XXXXXX").string();
    if (mkdtemp(pattern.data()) != nullptr) path_ = pattern;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  fs::path file(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
};

/// `text` with every decimal of more than nine digits cut to nine.
std::string rounded(const std::string& text) {
  static const std::regex decimal(R"([0-9]+\.[0-9]{6,}(e[-+]?[0-9]+)?|[0-9]+(\.[0-9]+)?e-[0-9]+)");
  std::string result;
  auto begin = text.begin();
  for (std::sregex_iterator match(text.begin(), text.end(), decimal), end; match != end; ++match) {
    result.append(begin, text.begin() + match->position());
    char digits[40];
    std::snprintf(digits, sizeof digits, "%.9g", std::strtod(match->str().c_str(), nullptr));
    result += digits;
    begin = text.begin() + match->position() + match->length();
  }
  return result.append(begin, text.end());
}

/// What a user sees: the command, standard output, standard error, the exit code, the file OUT.
std::string transcript(const Case& golden) {
  const Scratch scratch;
  const std::string out = scratch.file("out").string();
  std::string arguments = golden.arguments;
  const std::size_t place = arguments.find("OUT");
  if (place != std::string::npos) arguments.replace(place, 3, out);
  const std::string command = "cd '" + folder.string() + "' && '" KUMIHIMO_PROGRAM "' " +
                              arguments + " > '" + scratch.file("stdout").string() + "' 2> '" +
                              scratch.file("stderr").string() + "' < /dev/null";
  const int status = std::system(command.c_str());
  std::string text = "$ kumihimo " + golden.arguments + "\n" + text_of(scratch.file("stdout"));
  const std::string errors = text_of(scratch.file("stderr"));
  if (!errors.empty()) text += "[standard error]\n" + errors;
  if (place != std::string::npos) text += "[OUT]\n" + text_of(out);
  return rounded(text) + "[exit " + std::to_string(WEXITSTATUS(status)) + "]\n";
}

/// The first line that differs, or nothing.
std::string first_difference(const std::string& text, const std::string& expected) {
  std::istringstream left(text), right(expected);
  for (int number = 1; left && right; ++number) {
    std::string printed, wanted;
    std::getline(left, printed);
    std::getline(right, wanted);
    if (printed != wanted || left.eof() != right.eof()) {
      return "line " + std::to_string(number) + "\n  printed:  " + printed +
             "\n  expected: " + wanted + "\n";
    }
  }
  return "";
}

bool updating() { return std::getenv("KUMIHIMO_UPDATE_GOLDEN") != nullptr; }

/// The profile of the cases: the defaults of today, kept in a file so that they stay.
TEST(GoldenInputs, StackProfileIsComplete) {
  const fs::path path = folder / "inputs/stack.toml";
  if (updating()) {
    StackProfile profile;
    profile.name = "golden";
    profile.description = "Round figures for tests";
    profile.origin = "invented, fitted to nothing";
    profile.cluster = "two-nodes";
    profile.time_residual = 0.04;
    std::ofstream(path, std::ios::binary) << write_stack_profile(profile);
  }
  const auto profile = read_stack_profile(path.string());
  ASSERT_TRUE(profile) << to_string(profile.errors());
}

class Golden : public testing::TestWithParam<Case> {};

TEST_P(Golden, PrintsWhatItPrintedBefore) {
  const fs::path expected = folder / "expected" / (GetParam().name + ".txt");
  const std::string text = transcript(GetParam());
  if (updating()) {
    fs::create_directories(expected.parent_path());
    std::ofstream(expected, std::ios::binary) << text;
    return;
  }
  EXPECT_EQ(first_difference(text, text_of(expected)), "")
      << "if the change is meant: run this with KUMIHIMO_UPDATE_GOLDEN=1, and read the diff";
}

INSTANTIATE_TEST_SUITE_P(Cases, Golden, testing::ValuesIn(cases()), [](const auto& golden) {
  return std::regex_replace(golden.param.name, std::regex("[^a-zA-Z0-9]"), "_");
});

}  // namespace
}  // namespace kumihimo
