#!/usr/bin/env bash
# Builds the release preset. Without arguments only the program, at build/kumihimo, and what is
# installed with it; with "all" the tests too. Arguments after that go to CMake's configuration.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

targets=(--target kumihimo kumihimo_documents)
if [[ "${1:-}" == all ]]; then
  targets=()
  shift
fi

scripts/setup.sh
# The default compiler of Ubuntu 22.04 is older than C++20 as written here needs.
if [[ -z "${CXX:-}" ]] && (($(g++ -dumpversion | cut -d. -f1) < 12)); then export CXX=g++-12; fi

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
if ! cmake --preset release "$@" >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
cmake --build --preset release "${targets[@]}"
