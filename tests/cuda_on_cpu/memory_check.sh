#!/usr/bin/env bash
# Executes the GPU's kernels on the host under clang's memory sanitizer: a branch, an address or a result of an op that depends on
# device, shared or local memory which nothing has written is an error, with the line that uses it. What the address sanitizer
# finds (cmake --preset sanitize) is not looked for here.
#
#   tests/cuda_on_cpu/memory_check.sh       the emulator's own tests, ops and the optimizer
#
# Takes three and a half minutes of processor time with its build, most of them for attention, losses and norms. CC and CXX name another
# clang; not with -march=native: clang 14 does not know that a vectorised scatter defines what it writes, and reports a read of it.
# Builds in build-memory, or $BUILD. Exits with 77 where clang or its sanitizer is not installed (Debian: clang, libclang-rt-dev), which
# tests/run.sh passes over, with 1 if something failed.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

export CC=${CC:-clang} CXX=${CXX:-clang++}
build=${BUILD:-build-memory}
mkdir -p "$build" || exit 1
for compiler in "$CC" "$CXX"; do
    language=c
    [ "$compiler" = "$CXX" ] && language=c++
    if ! echo 'int main(void) { return 0; }' | "$compiler" -x $language -fsanitize=memory - -o "$build/probe" 2>/dev/null; then
        echo "skipped: $compiler -fsanitize=memory does not work here (Debian: clang, libclang-rt-dev)"
        exit 77
    fi
done

generator=()
command -v ninja >/dev/null && [ ! -e "$build/Makefile" ] && generator=(-G Ninja)
# the longest first
ops=(test_ops_attention test_ops_loss test_ops_norm test_ops_products test_ops_elementwise test_ops_packs test_ops_shape test_optimizer)
if ! { cmake -S tests/gpu -B "$build" "${generator[@]}" -DDIFFLMM_CUDA_ON_CPU=ON -DDIFFLMM_MEMORY_SANITIZER=ON &&
    cmake --build "$build" -j "$(nproc)" --target test_cuda_on_cpu test_cuda_runtime test_warpgroups "${ops[@]}"; } >"$build/build.log" 2>&1; then
    grep -A 5 error "$build/build.log" | head -n 60
    echo "the build failed: $build/build.log"
    exit 1
fi

run() { # PROGRAM
    local name log start result=ok
    name=$(basename "$1") start=$(date +%s)
    log="$build/$name.log"
    DIFFLMM_TEST_DEVICE=cuda timeout 1200 "$build/$1" >"$log" 2>&1 || result=FAILED
    printf '%-22s %-6s %4s s  %s\n' "$name" $result $(($(date +%s) - start)) "$(grep '^\[=====' "$log" | cut -c 14-)"
    [ $result = ok ] || { grep -v '^\[ *\(RUN\|OK\)' "$log" | head -n 40; return 1; }
}
export -f run
export build
failed=false
printf '%s\n' "${ops[@]}" cuda_on_cpu/test_cuda_on_cpu cuda_on_cpu/test_cuda_runtime cuda_on_cpu/test_warpgroups | xargs -P "$(nproc)" -I PROGRAM bash -c 'run PROGRAM' || failed=true

# A check that finds nothing must be one that can: this test reads what nothing has written, in processes of its own.
if ! grep -q '^\[ *OK \] uninitialised_reads_are_found_exactly' "$build/test_cuda_on_cpu.log"; then
    echo "the memory sanitizer did not find what test_cuda_on_cpu reads uninitialised"
    failed=true
fi
! $failed
