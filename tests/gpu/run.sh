#!/usr/bin/env bash
# Builds the engine with its CUDA kernels, runs its tests on this machine's GPU and measures it. Needs nvcc, CMake, make and a C and C++
# compiler, nothing else.
#
#   tests/gpu/run.sh                    everything: tests of ops, parity of networks, speed of ops, full-size training steps
#   tests/gpu/run.sh --tests            without measurements
#   tests/gpu/run.sh --cuda-on-cpu      the same programs with the kernels executed on the processor; measures nothing
#
# Logs go to $OUT, or to the build folder: $BUILD, build-gpu or build-gpu-host. Exits with 1 if something failed. A test that takes longer
# than $TEST_SECONDS (240) has failed. NCCL is tested with one rank if libnccl.so.2 is found (LD_LIBRARY_PATH), else skipped.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

on_cpu=false measure=true
for argument in "$@"; do
    case $argument in
    --tests) measure=false ;;
    --cuda-on-cpu) on_cpu=true measure=false ;;
    *) sed -n '2,10p' "$0" >&2; exit 2 ;;
    esac
done
build=${BUILD:-build-gpu}
$on_cpu && build=${BUILD:-build-gpu-host}
out=${OUT:-$build}
mkdir -p "$build" "$out"
failed=()
since() { echo $(($(date +%s) - $1)); }
begin=$(date +%s)

gpu=none
options=(-DDIFFLMM_CUDA_ON_CPU=ON)
if ! $on_cpu; then
    gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1)
    architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d .)
    [ "$architecture" != 90 ] || architecture=90a # with the kernels for Hopper alone
    # CUDA_ARCHITECTURES: to build on a machine without a GPU.
    options=("-DCMAKE_CUDA_ARCHITECTURES=${CUDA_ARCHITECTURES:-${architecture:-native}}")
    echo "== GPU: ${gpu:-none found}"
fi
command -v ninja >/dev/null && [ ! -e "$build/Makefile" ] && options+=(-G Ninja)

echo "== build"
if ! { cmake -S tests/gpu -B "$build" "${options[@]}" && cmake --build "$build" -j "$(nproc)"; } >"$out/build.log" 2>&1; then
    grep -E -A 5 'error|Error|warning' "$out/build.log" | head -n 60
    echo "the build failed: $out/build.log"
    exit 1
fi
echo "built in $(since "$begin") s with $(nproc) cores"

echo "== tests"
printf '%-28s %-7s %5s  %s\n' program result s tests
for program in "$build"/test_*; do
    if [ ! -x "$program" ] || [ ! -f "$program" ]; then continue; fi
    name=$(basename "$program") start=$(date +%s)
    DIFFLMM_TEST_DEVICE=cuda timeout "${TEST_SECONDS:-240}" "$program" >"$out/$name.log" 2>&1
    case $? in
    0) result=ok ;;
    77) result=skipped ;; # NCCL is not installed
    *) result=FAILED failed+=("$name") ;;
    esac
    printf '%-28s %-7s %5s  %s\n' "$name" "$result" "$(since "$start")" "$(grep '^\[=====' "$out/$name.log" | cut -c 14-)"
done
for name in "${failed[@]}"; do
    echo "-- $name"
    # What failed and where; a program that stopped says so in its last lines.
    grep -E '^(/|\[  FAILED|.*:[0-9]+: )' "$out/$name.log" | head -n 12
    tail -n 3 "$out/$name.log" | grep -v '^\['
done

# What a GPU can do at best without sparsity, from its data sheet: TFLOP/s in float32 and in bfloat16 on tensor cores, TB/s of memory.
peak_of() {
    case $1 in
    *H100*PCIe*) echo 51.2 756 2.0 ;;
    *H100*NVL*) echo 60 835 3.9 ;;
    *H200*) echo 66.9 989 4.8 ;;
    *H100*) echo 66.9 989 3.35 ;;
    *A100*80*) echo 19.5 312 2.0 ;;
    *A100*) echo 19.5 312 1.55 ;;
    *L40S*) echo 91.6 362 0.864 ;;
    *4090*) echo 82.6 165 1.0 ;;
    *) echo 0 0 0 ;;
    esac
}

run() { # NAME PROGRAM ARGUMENT...
    local log="$out/$1.log" name=$1
    shift
    timeout 150 "$build/$1" "${@:2}" >"$log" 2>&1 || failed+=("$name")
    cat "$log"
}

if $measure; then
    read -r float32 bfloat16 bandwidth <<<"$(peak_of "${gpu:-}")"
    echo "== speed of ops (the peak: $float32 and $bfloat16 TFLOP/s, $bandwidth TB/s)"
    run bench_ops bench_ops --device cuda --quick --official --peak "$float32" "$bfloat16"
    if [ "${architecture:-}" = 90a ]; then
        echo "== attention with the kernels for Hopper alone"
        DIFFLMM_CUDA_LEVEL=sm_90a run bench_ops-sm_90a bench_ops attention --device cuda --quick --official --type bfloat16 --peak "$float32" "$bfloat16"
    fi
    run bench_memory bench_memory --device cuda --quick --peak "$bandwidth"
    echo "== a micro-batch's pictures to the device"
    run bench_transfer bench_transfer --device cuda
    echo "== training steps of the tiny model, features cached"
    run bench_step bench_step --device cuda
    echo "== training steps at full size, random weights"
    run full-stage1 bench_full_step --peak "$bfloat16"
    run full-stage1-batch8 bench_full_step --batch 8 --peak "$bfloat16"
    run full-stage2-batch4 bench_full_step --stage 2 --batch 4 --recompute 1 --peak "$bfloat16"
    if [ "${architecture:-}" = 90a ]; then
        DIFFLMM_CUDA_LEVEL=sm_90a run full-stage1-batch8-sm_90a bench_full_step --batch 8 --peak "$bfloat16"
    fi
    run full-stage1-batch8-fp8 bench_full_step --batch 8 --fp8 --peak "$bfloat16"
elif $on_cpu; then
    run transfer bench_transfer --device cuda --rounds 1
    run full-small bench_full_step --small --steps 1
    run full-small-stage2 bench_full_step --small --steps 1 --stage 2 --recompute 1
    DIFFLMM_CUDA_LEVEL=sm_90a CUDA_ON_CPU_LEVEL=sm_90a run full-small-sm_90a bench_full_step --small --steps 1
    run full-small-fp8 bench_full_step --small --steps 1 --fp8
fi

echo "== $(since "$begin") s in all; failed: ${failed[*]:-nothing}"
[ ${#failed[@]} -eq 0 ]
