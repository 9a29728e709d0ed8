#!/usr/bin/env bash
# The main job on real input: the best layouts for LLaMA 13B on 64 A100, and why the first one wins.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/build.sh

run() {
  echo
  echo "\$ $*"
  "$@"
}
job=(--model llama-13b --cluster a100-80gb-sxm --gpus 64 --seq-length 2048
     --global-batch-size 2048 --vocab-size 128000)
run build/kumihimo plan "${job[@]}"
run build/kumihimo explain "${job[@]}" --trace build/demo-trace.json
run build/kumihimo report "${job[@]}" --out build/demo-report.html

cat <<'END'

Where to look:
  the first table above     the layouts predicted to be the fastest; the best one measured
                            for this job: tp 1, pp 1, dp 64, mb 1: 70.6 % MFU (arXiv:2311.05610)
  build/demo-report.html    the plan as one page: open it in a browser
  build/demo-trace.json     its pipeline in time: open it at https://ui.perfetto.dev
  build/kumihimo --help     every command, each with an example under its own --help
END
