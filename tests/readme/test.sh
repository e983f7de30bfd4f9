#!/usr/bin/env bash
# Checks the commands of every README, and that the check finds what it is for, in READMEs that are made up.
#
#   tests/readme/test.sh [BUILD]
# shellcheck disable=SC2016 # backquotes are the READMEs'
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "${1:-$here/build}" && pwd)
folder=$(mktemp -d "${TMPDIR:-/tmp}/difflmm-readme-XXXXXX")
trap 'rm -rf "$folder"' EXIT
check() { "$here/tests/readme/check.sh" "$build" "$@"; }

fail() {
    echo "FAILED: $*" >&2
    [ ! -s "$folder/said" ] || cat "$folder/said" >&2
    exit 1
}

# refused TEXT MESSAGE: a README with that text is wrong, once, and the message says why.
refused() {
    printf '%b\n' "$1" >"$folder/README.md"
    ! check "$folder/README.md" >"$folder/said" 2>&1 || fail "accepted: $1"
    grep -q ' 1 wrong$' "$folder/said" || fail "not one error: $1"
    grep -qF -- "$2" "$folder/said" || fail "it does not say: $2"
}

# accepted TEXT COMMANDS: a README with that text is right, and has that many commands.
accepted() {
    printf '%b\n' "$1" >"$folder/README.md"
    check "$folder/README.md" >"$folder/said" 2>&1 || fail "refused: $1"
    grep -q "^$2 commands" "$folder/said" || fail "not $2 commands: $1"
}

accepted 'It trains.\n\n    difflmm train configs/tiny_stage1.yaml training.max_steps=3 --processes 2   # a comment' 1
accepted '```\ndifflmm plan CONFIG [section.key=value ...] [--time]      before: what will it be?\n```' 1
accepted '    cmake --preset release && cmake --build --preset release\n    cmake --install build --prefix ~/.local' 3
accepted 'Try `ctest --test-dir build -R fault_` or `tests/faults/signals.sh`; `training.max_steps=3 lora.lora_r=4` are keys.' 4
accepted '    tests/gpu/run.sh --tests\n\nLast\nrun 2026-11-25.' 1
accepted '| `tests/gpu/run.sh` | last run November 2026 |' 1
accepted 'Not run yet:\n\n    difflmm train configs/difflmm-7b-pretrain.yaml' 1
accepted 'Where `srun --mpi=none` starts them, in `model.safetensors` or the folder `tests/gpu/`.' 0

refused '    difflmm trian configs/tiny_stage1.yaml' "there is no verb 'trian'"
refused '```\ndifflmm train configs/tiny_stage1.yaml training.learning_rat=1e-3\n```' "learning_rat"
refused '    difflmm train configs/tiny_stage1.yaml training.max_steps=many' "max_steps"
refused '    mpirun -n 2 difflmm train configs/tiny_stage1.yaml trainin.max_steps=3' "trainin"
refused '    difflmm train configs/tiny_stage1.yaml --proceses 2' "train has no option '--proceses'"
refused '    difflmm plan configs/tiny_stage3.yaml' "there is no configs/tiny_stage3.yaml"
refused 'It has `difflmm exprot RUN DIR`.' "there is no verb 'exprot'"
refused 'Set `training.max_step=3`.' "there is no key 'training.max_step'"
refused 'Set `training.outlier_acton: skip`.' "there is no key 'training.outlier_acton'"
refused '    tests/faults/kil_and_resume.sh' "there is no script"
refused '    tests/faults/kill_and_resume.sh --kils 3' "has no option '--kils'"
refused '    ctest --test-dir build -R test_ops_nrom' "no test is called 'test_ops_nrom'"
refused '    cmake --preset relase' "there is no preset 'relase'"
refused '    cmake --build --preset relase' "there is no preset 'relase'"
refused '    build/tests/bench/bench_opps' "there is no program bench_opps"
refused '    make all' "no command that the check knows"
refused '    tests/gpu/run.sh' "when this was last run"
refused 'Runs with `python tests/parity/record_archives.py`.' "when this was last run"
refused '    python tests/parity/record_archive.py\n\nLast run in 2026.' "there is no tests/parity/record_archive.py"
refused '    difflmm train configs/difflmm-7b-pretrain.yaml' "when this was last run"
refused '    srun -n 8 difflmm train CONFIG' "when this was last run"
refused 'Last run November 2026.\n\nOf something else.\n\n    tests/gpu/run.sh' "when this was last run"
refused 'Last run on a GPU.\n\n    tests/gpu/run.sh' "when this was last run"
echo "what is misspelt, missing or undated is found"

mapfile -t readmes < <(find "$here" -name README.md -not -path "$here/build*" -not -path "$here/runs/*" | sort)
[ ${#readmes[@]} -ge 14 ] || fail "only ${#readmes[@]} READMEs"
check "${readmes[@]}"
