#!/usr/bin/env bash
# Mutants of host/engine and host/models by cargo-mutants; what they found is in HOST.md beside this.
# Changes the sources in place, so run it in a clone of its own.
#
#   tests/mutants/host.sh RESULTS K/N [GROUP...]    # every Nth mutant of each group, from the Kth; 0/1 for all
set -euo pipefail
cd "$(dirname "$0")/../.."

mkdir -p "$1"
results=$(realpath "$1") shard=$2
shift 2
export TILEGRAD_PTX=prebuilt
# A mutant that asks for ever more memory shall not take the machine's.
ulimit -v 16000000

# mutants NAME FILTER ARGUMENT...: runs the mutants whose names match the filter.
mutants() {
    local name=$1 filter=$2
    shift 2
    mkdir -p "$results/$name"
    # It ends with an error when a mutant is missed, or takes too long.
    cargo mutants --in-place --baseline skip --timeout 40 --build-timeout 300 --colors never -v -V \
        -o "$results/$name" -C --locked -F "$filter" "$@" || case $? in 2 | 3) ;; *) return 1 ;; esac
}

# group NAME FILTER ARGUMENT...: those of the shard, if the group is asked for, by the tests that see most of them.
asked=" $* "
group() {
    case $asked in "  " | *" $1 "*) mutants "$1" "^host/$2" --shard "$shard" "${@:3}" ;; esac
}

cargo test --locked --profile mutants --no-run --lib --test engines
group models 'models/' -C --lib
group device 'engine/(check|device|emulator|mod|cuda)\.' -C --lib
group matrix 'engine/matrix' -C --test=engines -- -- \
    --skip /emulator --skip simulated --skip same_with --skip matmul --skip dense/
group reference 'engine/reference' -C --test=engines -- -- \
    --skip /emulator --skip /cpu --skip simulated --skip matmul/loop --skip dense/loop
group cpu 'engine/cpu' -C --test=engines -- -- --skip /emulator --skip /loop --skip simulated --skip same_with

# Those that were missed once more, with more tests.
missed=$(cat "$results"/*/mutants.out/missed.txt | sort -u | sed 's/[][\.|$(){}?+*^]/\\&/g' | paste -sd '|')
[ -z "$missed" ] || mutants again "^($missed)\$" -C --lib -C --test=engines -- -- \
    --skip diabetes/emulator --skip simulated --skip same_with --skip matmul --skip dense/
