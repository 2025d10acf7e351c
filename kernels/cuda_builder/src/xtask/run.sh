#!/bin/sh
# Runs what was bundled on this machine, which needs NVIDIA's driver for the GPU and nothing else.
#
#   ./run.sh [--require-gpu] RESULTS [STEP...]
#
# Steps, in this order unless named: doctor kernels engines determinism checkpoint train compare headline rungs bench cpu.
# Each leaves its output in the folder RESULTS, and summary.json says how it went, from the first step on. What needs a GPU is
# skipped without one, and said; --require-gpu makes that a failure, also of the tests that are ignored without one, and
# of figures without cuBLAS beside them. A step has LIMIT seconds (300), a bench three times and one by criterion six times as many; what a bench had
# timed by then is in its JSON. Exit: 0 all passed or were skipped, 1 a step failed, 2 wrong usage.
#
# Where time is short: doctor kernels headline are the first to be run. headline has the few figures that one asks for first,
# rungs from which sizes on each of the product's kernels is the fastest, by which what follows chooses, bench all kernels, and
# cpu what needs no GPU. When the kernels' tests fail, each
# of the GPU's is run once more in a process of its own, as one kernel's fault ends the tests behind it.
#
# The step sanitize, which has to be named, runs the kernels' tests, the engine's and a training under each of the four
# tools of NVIDIA's compute-sanitizer (on the PATH, or named by COMPUTE_SANITIZER). It needs a GPU, and fails on any
# finding. The tools make kernels many times slower: give it a LIMIT.
set -u

usage() {
    echo "usage: ./run.sh [--require-gpu] RESULTS [doctor|kernels|engines|determinism|checkpoint|train|compare|headline|rungs|bench|cpu|sanitize]..." >&2
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
[ $# -ge 1 ] || set -- doctor kernels engines determinism checkpoint train compare headline rungs bench cpu
for step; do
    case $step in doctor|kernels|engines|determinism|checkpoint|train|compare|headline|rungs|bench|cpu|sanitize) ;; *) usage ;; esac
done

cd "$(dirname "$0")" || exit 2
TILEGRAD_ROOT=$(pwd)
TILEGRAD_BIN=$TILEGRAD_ROOT/bin/tilegrad
CRITERION_HOME=$results/criterion
# What was measured elsewhere does not count here.
unset TILEGRAD_RUNGS
export TILEGRAD_ROOT TILEGRAD_BIN CRITERION_HOME

failures=0
steps=
# coreutils' timeout, where there is one, so that a kernel that hangs does not take the other steps with it.
limit=
allow() {
    if command -v timeout >/dev/null; then limit="timeout -k 10 $1"; fi
}
allow "${LIMIT:-300}"

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

# sanitize TOOL NAME COMMAND...: the command under a tool of compute-sanitizer. Its exit code is not enough: warnings
# leave it at 0, and so does a program that never came to the GPU. The tool's log must end with a count of 0.
sanitize() {
    tool=$1
    what=$2
    shift 2
    log=$results/sanitize-$tool-$what.log
    rm -f "$log"
    set -- --tool "$tool" --error-exitcode 86 --log-file "$log" "$@"
    if [ "$tool" = memcheck ]; then set -- --leak-check full "$@"; fi
    run "sanitize $tool $what" "sanitize-$tool-$what.txt" "${COMPUTE_SANITIZER:-compute-sanitizer}" "$@"
    # Exit code 3, which is skipped elsewhere, is here a GPU that the tool had nothing to look at on.
    if [ "$code" = 0 ] || [ "$code" = 3 ]; then
        if grep -a -q 'SUMMARY: 0 ' "$log" 2>/dev/null && ! grep -a 'SUMMARY: [1-9]' "$log"; then
            if grep -a ' ignored' "$results/sanitize-$tool-$what.txt" | grep -v simulated | grep -q -E '(gpu|cuda)'; then
                record "sanitize $tool $what on the GPU" failed 0
            fi
        else
            echo "no count of 0 findings in $log"
            record "sanitize $tool $what without findings" failed 0
        fi
    fi
}

# The tests of the kernels on the GPU one by one, a line each.
apart() {
    echo "== kernels apart: each of the GPU's tests in a process of its own"
    bin/tests/kernels --list 2>/dev/null | grep -a '/gpu: test$' | while IFS=: read -r test _; do
        if $limit bin/tests/kernels --exact "$test" >/dev/null 2>"$results/kernels-apart.err"; then
            echo "$test ok"
        else
            echo "$test failed: $(tail -n 1 "$results/kernels-apart.err")"
        fi
    done >"$results/kernels-apart.txt"
    grep -a ' failed: ' "$results/kernels-apart.txt"
    rm -f "$results/kernels-apart.err"
}

# cuBLAS as Python's packages bring it, unless another is named: the system's loader does not look there.
find_cublas() {
    [ -z "${TILEGRAD_CUBLAS-}" ] || return 0
    packages=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2>/dev/null) || return 0
    for file in "$packages"/nvidia/*/lib/libcublas.so.1[123]; do
        if [ -e "$file" ]; then
            TILEGRAD_CUBLAS=$file
            export TILEGRAD_CUBLAS
            echo "cuBLAS is that of Python's packages, $file"
        fi
    done
}

# figures NAME FILE DEVICE OPTION...: a bench, with its table and JSON in files of that name.
figures() {
    name=$1
    file=$2
    device=$3
    shift 3
    commit=$(sed -n 's/.*"commit": "\([^"]*\)".*/\1/p' manifest.json | head -n 1)
    allow $((3 * ${LIMIT:-300}))
    run "$name" "$file.md" bin/tilegrad bench --device "$device" --json "$results/$file.json" \
        --commit "${commit:-unknown}" "$@"
    allow "${LIMIT:-300}"
    if [ -n "$require_gpu" ] && grep -q 'none: cuBLAS takes no part' "$results/$file.json" 2>/dev/null; then
        record "$name beside cuBLAS" failed 0
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
        kernels|engines|determinism|checkpoint)
            run "$step" "$step.txt" "bin/tests/$step"
            # The tests that could not run are listed by name.
            grep -a -E '(ignored|test result)' "$results/$step.txt"
            # The simulated GPU's tests are left out: its library is not in the bundle.
            if [ -n "$require_gpu" ] &&
                grep -a ' ignored' "$results/$step.txt" | grep -v simulated | grep -q -E '(gpu|cuda)'; then
                record "$step on the GPU" failed 0
            fi
            [ "$step" != kernels ] || [ "$code" = 0 ] || apart ;;
        train)
            train loop
            train cpu
            train cuda ;;
        compare)
            # Engines that are named must be usable; otherwise what cannot run is listed with its reason.
            run compare compare.json bin/tilegrad compare --json ${require_gpu:+--devices loop,cpu,cuda} ;;
        sanitize)
            for tool in memcheck racecheck initcheck synccheck; do
                sanitize "$tool" kernels bin/tests/kernels --test-threads=1 gpu
                sanitize "$tool" engines bin/tests/engines --test-threads=1 cuda
                sanitize "$tool" train bin/tilegrad train linear --data tests/data/diabetes.csv --target progression \
                    --iterations 3 --device cuda --json
            done ;;
        headline)
            find_cublas
            figures "headline on cuda" headline-cuda cuda --headline ;;
        rungs)
            figures "rungs on cuda" rungs-cuda cuda --rungs
            if [ "$code" = 0 ]; then
                TILEGRAD_RUNGS=$results/rungs-cuda.json
                export TILEGRAD_RUNGS
                run "engines by these rungs" engines-by-rungs.txt bin/tests/engines
            fi ;;
        bench)
            find_cublas
            figures "bench on cuda" bench-cuda cuda --plot "$results/bench-cuda.svg" ;;
        cpu)
            figures "bench on cpu" bench-cpu cpu --plot "$results/bench-cpu.svg"
            allow $((6 * ${LIMIT:-300}))
            for bench in bin/benches/*; do
                [ ! -x "$bench" ] || run "bench ${bench##*/}" "bench-${bench##*/}.txt" "$bench" --bench
            done
            allow "${LIMIT:-300}" ;;
    esac
done

[ "$failures" = 0 ] && echo "all passed or skipped; see $results" || echo "$failures failed; see $results"
[ "$failures" = 0 ]
