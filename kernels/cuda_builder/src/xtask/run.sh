#!/bin/sh
# Runs what was bundled on this machine, which needs NVIDIA's driver for the GPU and nothing else.
#
#   ./run.sh [--require-gpu] RESULTS [STEP...]
#
# Steps, in this order unless named: doctor kernels engines train compare bench. Each leaves its output in the folder
# RESULTS, and summary.json says how it went, from the first step on. What needs a GPU is skipped without one, and said;
# --require-gpu makes that a failure, also of the tests that are ignored without one. A step has LIMIT seconds (300). Exit: 0 all passed or were skipped, 1 a step failed, 2 wrong usage.
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
# coreutils' timeout, where there is one, so that a kernel that hangs does not take the other steps with it.
limit=
if command -v timeout >/dev/null; then limit="timeout -k 10 ${LIMIT:-300}"; fi

# record NAME STATUS SECONDS: says how a step went, and keeps it for the summary.
record() {
    echo "== $1: $2 ($3 s)"
    [ "$2" != failed ] || failures=$((failures + 1))
    steps="$steps${steps:+,}
    {\"step\": \"$1\", \"status\": \"$2\", \"seconds\": $3}"
    printf '{\n  "bundle": %s,\n  "steps": [%s\n  ],\n  "failures": %s\n}\n' \
        "$(cat manifest.json)" "$steps" "$failures" >"$results/summary.json"
}

# run NAME OUTPUT COMMAND...: the step NAME, with its output in a file of RESULTS. Exit code 3 is a device that
# cannot be used: the step is skipped.
run() {
    name=$1
    output=$results/$2
    shift 2
    echo "== $name: $*"
    start=$(date +%s)
    $limit "$@" >"$output" 2>"$output.err"
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
            grep -a -E '(ignored|test result)' "$results/$step.txt"
            # The simulated GPU's tests are left out: its library is not in the bundle.
            if [ -n "$require_gpu" ] &&
                grep -a ' ignored' "$results/$step.txt" | grep -v simulated | grep -q -E '(gpu|cuda)'; then
                record "$step on the GPU" failed 0
            fi ;;
        train)
            train loop
            train cpu
            train cuda ;;
        compare)
            # Engines that are named must be usable; otherwise what cannot run is listed with its reason.
            run compare compare.json bin/tilegrad compare --json ${require_gpu:+--devices loop,cpu,cuda} ;;
        bench)
            for bench in bin/benches/*; do
                [ ! -x "$bench" ] || run "bench ${bench##*/}" "bench-${bench##*/}.txt" "$bench" --bench
            done ;;
    esac
done

[ "$failures" = 0 ] && echo "all passed or skipped; see $results" || echo "$failures failed; see $results"
[ "$failures" = 0 ]
