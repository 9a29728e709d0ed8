#!/usr/bin/env bash
# Builds and runs every benchmark of bench/. Arguments go to each: --benchmark_filter=search ...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/build.sh all -DKUMIHIMO_BENCH=ON
for program in build/bench/bench_*; do
  if [[ -f "$program" && -x "$program" ]]; then "$program" "$@"; fi
done
