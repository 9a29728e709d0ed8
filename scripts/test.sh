#!/usr/bin/env bash
# Builds everything and runs every test: a few seconds of each fuzz target under the address and
# undefined-behaviour sanitizers, then the tests of the release build, whose summary comes last.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh test
scripts/build.sh all

if command -v clang++ >/dev/null; then
  echo "Fuzzing the parsers"
  cmake --preset asan >/dev/null
  cmake --build --preset asan --target fuzzers
  ctest --preset fuzz -j "$(nproc)"
else
  echo "Fuzzing skipped: no clang++"
fi

ctest --preset release -j "$(nproc)"
