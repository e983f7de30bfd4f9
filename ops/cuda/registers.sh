#!/usr/bin/env bash
# Compiles the kernels for each supported architecture with warnings as errors and prints the registers, spilled bytes and static
# shared memory of every kernel. Exits with 1 if a kernel spills.
#
#   ops/cuda/registers.sh [ARCHITECTURE...]      default: 80 86 89 90a 100 120
set -euo pipefail
cd "$(dirname "$0")/../.."
nvcc=${NVCC:-nvcc}
host=${CUDA_HOST_COMPILER:-g++}
[ $# -gt 0 ] || set -- 80 86 89 90a 100 120
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

compile() { # ARCHITECTURE SOURCE
    "$nvcc" -std=c++17 -arch="sm_$1" -ccbin "$host" -I. -D_GNU_SOURCE -O3 -Xptxas -v -Xcompiler=-Wall,-Wextra,-Werror \
        -Werror=all-warnings -cubin "$2" -o "$folder/out.$BASHPID.cubin" 2>"$folder/$1.$(basename "$2").log" ||
        { cat "$folder/$1.$(basename "$2").log" >&2; exit 1; }
}

for architecture in "$@"; do
    for source in ops/cuda/*.cu; do compile "$architecture" "$source"; done
    cat "$folder/$architecture."*.log | c++filt | awk -v architecture="$architecture" '
        /Function properties for/ { sub(/.*Function properties for /, ""); name = $0 }
        /bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
        /Used [0-9]+ registers/ {
            match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5, RLENGTH - 5)
            shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART, RLENGTH - 11) : 0
            kernels++
            if (stores + loads > 0) spilling++
            gsub(/\(anonymous namespace\)::|_INTERNAL_[0-9a-zA-Z_]*::/, "", name)
            printf "sm_%-4s %4d registers %4d spilled %6d shared  %s\n", architecture, registers, stores + loads, shared, substr(name, 1, 90)
        }
        END { printf "sm_%s: %d kernels, %d spill\n", architecture, kernels, spilling; exit spilling > 0 }' || failed=1
done
exit "${failed:-0}"
