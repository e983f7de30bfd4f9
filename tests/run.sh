#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test. Safe to run twice; needs no Python.
#
#   tests/run.sh                 everything: formatting, release build and tests, sanitizer build and unit tests
#   tests/run.sh --quick         without the sanitizer build
#   tests/run.sh -R PATTERN      further arguments go to ctest
set -euo pipefail
cd "$(dirname "$0")/.."
. train/install_packages.sh

quick=false
if [ "${1:-}" = --quick ]; then
    quick=true
    shift
fi
# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES $TEST_PACKAGES

jobs=$(nproc)
# Other versions of clang-format lay out some lines otherwise.
if clang-format --version | grep -q 'version 14\.'; then
    echo "== formatting"
    git ls-files '*.c' '*.h' '*.cpp' '*.cu' | grep -v '^tests/parity/data/' | xargs clang-format --dry-run -Werror
fi
# What a comment explains stands below it: behind it, it would break declarations in three.
if git grep -n '///<' -- '*.c' '*.h' '*.cpp' '*.cu'; then
    echo "comments behind what they explain (///<)" >&2
    exit 1
fi

# Where there is nvcc, the GPU's kernels are built as well; whether there is a GPU or not, they are executed on the host.
cuda=OFF
if command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ]; then cuda=ON; fi
echo "== release build (CUDA $cuda)"
cmake --preset release -DDIFFLMM_CUDA=$cuda >/dev/null
cmake --build --preset release -j "$jobs" -- --quiet
echo "== tests"
# One more side by side than there are cores, for some wait for what they have set going; threads that wait for each other must not do so on a
# core that another test wants.
export OMP_WAIT_POLICY=passive
side_by_side=$((jobs + 1))
ctest --test-dir build -j "$side_by_side" --output-on-failure --no-tests=error "$@"

if ! $quick; then
    echo "== the GPU's test programs, with nothing but compilers, executed on the host"
    tests/gpu/run.sh --cuda-on-cpu
    echo "== memory sanitizer, where clang's is installed: the GPU's kernels executed on the host"
    tests/cuda_on_cpu/memory_check.sh || [ $? -eq 77 ]
    echo "== address and undefined-behaviour sanitizers"
    cmake --preset sanitize >/dev/null
    cmake --build --preset sanitize -j "$jobs" -- --quiet
    # oneDNN and Open MPI keep memory to the end by design; leaks of our own are looked for in the unit tests that use neither.
    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
        ctest --test-dir build-sanitize -j "$side_by_side" --output-on-failure --no-tests=error -LE slow "$@"
fi
