#!/bin/sh
# Runs what was bundled on this machine, which needs NVIDIA's driver for the GPU and nothing else.
#
#   ./run.sh [--require-gpu] RESULTS [STEP...]
#
# Steps, in this order unless named: doctor kernels engines train compare bench. Each leaves its output in the folder
# RESULTS, and summary.json says how it went. What needs a GPU is skipped without one, and said; --require-gpu makes
# that a failure. Exit: 0 all passed or were skipped, 1 a step failed, 2 wrong usage.
set -u

usage() {
    echo "usage: ./run.sh [--require-gpu] RESULTS [doctor|kernels|engines|train|compare|bench]..." >&2
    exit 2
}

require_gpu=
if [ "${1-}" = --require-gpu ]; then
    require_gpu=yes
    shift
fi
[ $# -ge 1 ] || usage
case $1 in -*|"") usage ;; esac
mkdir -p "$1" || exit 2
results=$(cd "$1" && pwd) || exit 2
shift
[ $# -ge 1 ] || set -- doctor kernels engines train compare bench
for step; do
    case $step in doctor|kernels|engines|train|compare|bench) ;; *) usage ;; esac
done

cd "$(dirname "$0")" || exit 2
TILEGRAD_ROOT=$(pwd)
CRITERION_HOME=$results/criterion
export TILEGRAD_ROOT CRITERION_HOME

failures=0
steps=

# record NAME STATUS SECONDS: says how a step went, and keeps it for the summary.
record() {
    echo "== $1: $2 ($3 s)"
    [ "$2" != failed ] || failures=$((failures + 1))
    steps="$steps${steps:+,}
    {\"step\": \"$1\", \"status\": \"$2\", \"seconds\": $3}"
}

# run NAME OUTPUT COMMAND...: the step NAME, with its output in a file of RESULTS. Exit code 3 is a device that
# cannot be used: the step is skipped.
run() {
    name=$1
    output=$results/$2
    shift 2
    echo "== $name: $*"
    start=$(date +%s)
    "$@" >"$output" 2>"$output.err"
    code=$?
    seconds=$(($(date +%s) - start))
    [ -s "$output.err" ] || rm -f "$output.err"
    case $code in
        0) record "$name" passed "$seconds" ;;
        3) if [ -n "$require_gpu" ]; then status=failed; else status=skipped; fi
           record "$name" "$status" "$seconds" ;;
        *) record "$name" failed "$seconds"
           echo "exit code $code; its last lines:" ;;
    esac
    if [ "$code" != 0 ]; then
        tail -n 20 "$output"
        [ ! -e "$output.err" ] || tail -n 20 "$output.err"
    fi
}

train() {
    run "train on $1" "train-$1.json" bin/tilegrad train linear --data tests/data/diabetes.csv \
        --target progression --learning-rate 0.1 --iterations 1000 --device "$1" --json
}

for step; do
    case $step in
        doctor)
            run doctor doctor.txt bin/tilegrad doctor
            cat "$results/doctor.txt" ;;
        kernels|engines)
            run "$step" "$step.txt" "bin/tests/$step"
            # The tests that could not run are listed by name.
            grep -a -E '(ignored|test result)' "$results/$step.txt" ;;
        train)
            train loop
            train cpu
            train cuda ;;
        compare)
            run compare compare.json bin/tilegrad compare --json ;;
        bench)
            for bench in bin/benches/*; do
                [ ! -x "$bench" ] || run "bench ${bench##*/}" "bench-${bench##*/}.txt" "$bench" --bench
            done ;;
    esac
done

printf '{\n  "bundle": %s,\n  "steps": [%s\n  ],\n  "failures": %s\n}\n' \
    "$(cat manifest.json)" "$steps" "$failures" >"$results/summary.json"
[ "$failures" = 0 ] && echo "all passed or skipped; see $results" || echo "$failures failed; see $results"
[ "$failures" = 0 ]
