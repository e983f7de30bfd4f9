#!/usr/bin/env bash
# Checks the commands of READMEs, as far as that takes no hours: verbs, options, configurations and their keys, scripts, programs, names of
# tests and of presets are there. What no test runs (it needs a GPU, a cluster, published weights, Python, or an idle machine) must say beside
# it when it was last run, with the year, or that it was not run yet.
#
#   tests/readme/check.sh BUILD README...       exit code 1: something is wrong, and is told
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
shift
difflmm=$build/difflmm
tests=$(ctest --test-dir "$build" --show-only=json-v1)
checked=0 wrong=0

complain() {
    echo "$place: $*: $line" >&2
    wrong=$((wrong + 1))
}

# What no test runs.
needs_date() {
    [ "$dated" = dated ] || complain "it does not say when this was last run"
}

# Whether the option $word stands in what is read.
is_option_in() { grep -qE -- "(^|[^-a-z0-9])$word([^-a-z0-9]|\$)"; }

# A configuration with settings, or the settings alone.
check_configuration() { # CONFIG SETTING...
    local config=$1 said
    shift
    case $config in *difflmm-7b-* | *smollm2*) needs_date ;; esac
    [ -f "$here/$config" ] || { complain "there is no $config" && return; }
    said=$(cd "$here" && "$difflmm" config "$config" "$@" 2>&1 >/dev/null) || complain "$said"
}

check_difflmm() { # VERB ARGUMENT...
    local verb=${1:-} help config=configs/tiny_stage1.yaml word settings=()
    [[ $verb =~ ^[a-z-]+$ ]] || return 0 # VERB
    help=$("$difflmm" "$verb" --help 2>/dev/null) || { complain "there is no verb '$verb'" && return; }
    for word in "${@:2}"; do
        [[ $word != \[* ]] || { word=${word#[} && word=${word%]}; } # of a list, as eval.tasks=[points], it is the value's
        case $word in
        section.key=*) ;;
        --*) is_option_in <<<"$help" || complain "$verb has no option '$word'" ;;
        *.yaml) config=$word ;;
        *=*) settings+=("$word") ;;
        model.* | lora.* | data.* | training.* | eval.*) "$difflmm" config "$word" >/dev/null 2>&1 || complain "there is no key '$word'" ;;
        esac
    done
    check_configuration "$config" "${settings[@]}"
}

check_script() { # SCRIPT ARGUMENT...
    local script=$1 word
    [ -x "$here/$script" ] || { complain "there is no script $script" && return; }
    for word in "${@:2}"; do
        [[ $word != --* ]] || is_option_in <"$here/$script" || complain "$script has no option '$word'"
    done
    # tests/run.sh runs this.
    [ "$script" = tests/run.sh ] || grep -qF "$here/$script\"" <<<"$tests" || needs_date
}

check_python() { # SCRIPT ARGUMENT...
    local script=$1 word
    [ -f "$here/$script" ] || script=$(cd "$here" && find tests checkpoints -name "${1##*/}" | head -n 1)
    [ -n "$script" ] || { complain "there is no $1" && return; }
    for word in "${@:2}"; do
        word=${word#[}
        [[ $word != --* ]] || is_option_in <"$here/$script" || complain "$script has no option '$word'"
    done
    needs_date
}

# A program of the tests, or one of tests/gpu, which is built there alone.
check_program() { # PROGRAM ARGUMENT...
    local name=${1##*/}
    [ -x "$build/tests/bench/$name" ] || [ -x "$build/${1#build/}" ] || [ -f "$here/tests/gpu/$name.c" ] ||
        { complain "there is no program $name" && return; }
    [ "$name" = difflmm ] || grep -qF "/$name\"" <<<"$tests" || needs_date
}

check_ctest() {
    local pattern=
    while [ $# -gt 0 ]; do
        [ "$1" != -R ] || pattern=${2:-}
        shift
    done
    [[ $pattern != PATTERN && -n $pattern ]] || return 0
    ctest --test-dir "$build" -N -R "$pattern" | grep -qE '^Total Tests: [1-9]' || complain "no test is called '$pattern'"
}

check_cmake() {
    local listing=()
    [ "$1" != --install ] || return 0
    [ "$1" != --build ] || { listing=(--build) && shift; }
    [ "$1" = --preset ] || { complain "neither a preset nor an installation" && return; }
    (cd "$here" && cmake "${listing[@]}" --list-presets) | grep -qF "\"$2\"" || complain "there is no preset '$2'"
}

check() { # WORD...
    while [[ ${1:-} =~ ^[A-Z_]+= ]]; do shift; done
    [ $# -gt 0 ] || return 0
    case $1 in
    difflmm) check_difflmm "${@:2}" ;;
    ctest) check_ctest "${@:2}" ;;
    cmake) check_cmake "${@:2}" ;;
    mpirun | srun)
        [ "$1" = mpirun ] || needs_date
        while [ $# -gt 0 ] && [ "$1" != difflmm ]; do shift; done
        [ $# -eq 0 ] || check "$@"
        ;;
    python) check_python "${@:2}" ;;
    pip) needs_date ;;
    for | done) return 0 ;;
    do) check "${@:2}" ;;
    */*.sh) check_script "$@" ;;
    *.py) check_python "$@" ;;
    build/* | bench_*) check_program "$@" ;;
    *) complain "this is no command that the check knows" ;;
    esac
    checked=$((checked + 1))
}

# Between backquotes stand commands, keys and all kinds of names.
is_command() {
    [[ $line =~ ^(difflmm\ [a-z]|ctest\ |cmake\ |(mpirun|srun)\ .*difflmm|python\ |pip\ |[A-Z_]+=[^\ ]*\ |[a-z/_]+/[a-z_]+\.sh|[a-z_/]+\.py\ |[a-z_/]+/train_frozen\.py|build/[a-z_/]*[a-z]+$|build/[a-z_/]+\ |bench_[a-z_]+) ]]
}

is_key() { [[ $line =~ ^(model|lora|data|training|eval)\.[a-z_]+(: |=|$) ]]; }

check_inline() {
    local word
    if is_command; then
        check_block
    elif is_key && [[ ! $line =~ \.(safetensors|json)$ ]]; then
        for word in $line; do
            word=${word%%[=:]*}
            [[ $word != *.* ]] || "$difflmm" config "$word" >/dev/null 2>&1 || complain "there is no key '$word'"
            checked=$((checked + 1))
            [[ $line != *": "* ]] || return 0 # a key and its values
        done
    fi
}

check_block() {
    local command words
    while IFS= read -r command; do
        read -ra words <<<"$command"
        check "${words[@]}"
    done < <(sed 's/ && /\n/g; s/; /\n/g' <<<"$line")
}

for readme in "$@"; do
    while IFS=$'\t' read -r place kind dated line; do
        "check_$kind"
    done < <(awk -f "$here/tests/readme/commands.awk" "$readme")
done
echo "$checked commands and keys of $# files, $wrong wrong"
[ $wrong -eq 0 ]
