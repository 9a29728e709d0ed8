#pragma once

#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "cli/program.hpp"

namespace kumihimo::testing {

struct Outcome {
  int code;
  std::string out;
  std::string err;
};

/// Runs `kumihimo arguments...` within this process.
inline Outcome run_kumihimo(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "kumihimo");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const int code = run_program(static_cast<int>(argv.size()), argv.data());
  const std::string out = ::testing::internal::GetCapturedStdout();
  return {code, out, ::testing::internal::GetCapturedStderr()};
}

}  // namespace kumihimo::testing
