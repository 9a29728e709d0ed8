#!/usr/bin/env bash
# Installs with apt what the build needs and, called with "test", what the tests need too. Where all
# of it is there, it does nothing and needs neither network nor root. KUMIHIMO_WHAT_IF=OFF in the
# environment leaves Emscripten out, the largest of it.
set -euo pipefail

packages=(
  cmake ninja-build g++ pkg-config ccache python3
  libfmt-dev libcli11-dev nlohmann-json3-dev libtomlplusplus-dev libceres-dev libsqlite3-dev
  libdnnl-dev libhwy-dev libopenmpi-dev openmpi-bin libxxhash-dev
  libgtest-dev libgmock-dev libbenchmark-dev
)
if [[ "${1:-build}" == test ]]; then packages+=(clang); fi
# The report's page is bundled by npm; its test opens it in a browser.
if ! command -v npm >/dev/null || ! command -v node >/dev/null; then packages+=(nodejs npm); fi
browser_packages=()
if [[ "${1:-build}" == test ]] && ! command -v chromium >/dev/null &&
  ! command -v google-chrome >/dev/null && [[ -z "${CHROMIUM:-}" ]]; then
  browser_packages=(chromium fonts-noto-cjk)
fi

installed() {
  [[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]
}

as_root() {
  if [[ "$(id -u)" == 0 ]]; then "$@"; else sudo "$@"; fi
}

require_root() {
  if [[ "$(id -u)" == 0 ]] || command -v sudo >/dev/null; then return; fi
  echo "setup: neither root nor sudo here; as root, run" >&2
  echo "  apt-get update && apt-get install --no-install-recommends $*" >&2
  exit 1
}

index_updated=false
update_index() {
  if $index_updated; then return; fi
  as_root apt-get update -qq || echo "setup: going on with the old package lists" >&2
  index_updated=true
}

install() {
  require_root "$@"
  echo "setup: installing $*"
  update_index
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Whether this release of the system has the package at all.
available() {
  require_root "${missing[@]}"
  update_index
  apt-cache show "$1" >/dev/null 2>&1
}

can_link_fuzzers() {
  local program
  program="$(mktemp)"
  echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
    clang++ -fsanitize=fuzzer,address,undefined -x c++ - -o "$program" 2>/dev/null
  local result=$?
  rm -f "$program"
  return $result
}

if ! command -v apt-get >/dev/null; then
  echo "setup: no apt here; make sure that the equivalents of these are installed:" >&2
  echo "  ${packages[*]}" >&2
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  if ! installed "$package"; then missing+=("$package"); fi
done

# Ubuntu 22.04 has no toml++ (CMake fetches it then) and calls g++ 11 its default (12 is needed).
if [[ " ${missing[*]} " == *" libtomlplusplus-dev "* ]] && ! available libtomlplusplus-dev; then
  echo "setup: this release has no libtomlplusplus-dev; CMake will fetch toml++ from its repository"
  kept=(git)
  for package in "${missing[@]}"; do
    if [[ "$package" != libtomlplusplus-dev ]]; then kept+=("$package"); fi
  done
  missing=("${kept[@]}")
fi
if ((${#missing[@]} > 0)); then install "${missing[@]}"; fi

if (($(g++ -dumpversion | cut -d. -f1) < 12)) && ! installed g++-12; then install g++-12; fi

# Compiles the planner into the report's page (110 MB to fetch, 850 MB on disk). Any em++ will do.
if ! command -v em++ >/dev/null && [[ "${KUMIHIMO_WHAT_IF:-ON}" == ON ]]; then
  install emscripten || echo "setup: no Emscripten: pages of reports will not plan anew"
fi

# Ubuntu has no chromium package (a snap, which cannot be tested with here): the test says so then.
if ((${#browser_packages[@]} > 0)); then
  if [[ "$(. /etc/os-release && echo "$ID")" == debian ]]; then
    install "${browser_packages[@]}" || echo "setup: no Chromium: the page is not tested in a browser"
  else
    echo "setup: no Chromium here: the page is not tested in a browser (CHROMIUM may name one)"
  fi
fi

# Some releases keep clang's sanitizer and fuzzer runtime in a package of its own.
if [[ "${1:-build}" == test ]] && ! can_link_fuzzers; then
  install "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
fi
