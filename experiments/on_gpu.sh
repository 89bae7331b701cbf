#!/usr/bin/env bash
# Reproduces the paper's figures on a GPU that is available for short sessions only:
# bash experiments/on_gpu.sh FOLDER [DATA]
#
# A call works for about PIECE seconds and keeps everything in FOLDER. The next call continues from there, on this
# machine or, if FOLDER is copied, on another one. Exit codes: 0, all done; 3, call again; any other, a step failed.
# Training goes on where it was cut off. A benchmark that was cut off begins anew, and must fit into one piece.
#
#   PIECE=540      seconds that a call may take, at least 60
#   DEVICE=cuda    use cpu for a trial
#   SETTING=cifar10  SHORT=cifar10-short   the setting that is trained in full, and the short one with more seeds
#   SEEDS=3        number of seeds of the headline pairs in full, and of everything in the short setting
#   TRAIN=""       further options for all training, e.g. "--iterations 20" for a trial
#   STEPS="..."    the steps and their order
#   CASES="..."    the cases of the throughput benchmark
#   THROUGHPUT, JOBS, EQUIVALENCE, FAULTS   options for these benchmarks, e.g. FAULTS="--kills 100"
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

out=${1:?name the folder that keeps results, figures and benchmark tables}
data=${2:-}
PIECE=${PIECE:-540} DEVICE=${DEVICE:-cuda} SETTING=${SETTING:-cifar10} SHORT=${SHORT:-cifar10-short} SEEDS=${SEEDS:-3}
if ! [[ $PIECE =~ ^[0-9]+$ ]] || ((PIECE < 60)); then
    echo "on_gpu.sh: PIECE=$PIECE: a number of seconds from 60 on is needed" >&2
    exit 2
fi
read -r -a extra <<<"${TRAIN:-}"
read -r -a steps <<<"${STEPS:-short headline everything throughput jobs equivalence faults pages}" # training comes first
mkdir -p "$out/done" "$out/benchmarks"
out=$(cd "$out" && pwd)
if [[ -n $data ]]; then data=$(cd "$(dirname "$data")" && pwd)/$(basename "$data"); fi
export BENCHMARK_RESULTS=$out/benchmarks # so that a table grows from piece to piece, on whichever machine

# shellcheck source-path=SCRIPTDIR source=../environment.sh
source "$repository/environment.sh" runtime # sets $python, which takes some minutes on a fresh machine

again() {
    echo "on_gpu.sh: the piece is over in step $1; the same command goes on from there" >&2
    exit 3
}

# Runs a command for the time that is left; SIGTERM lets training save its checkpoints before it ends.
within_the_piece() {
    local step=$1 resumes=$2 left=$((PIECE - SECONDS - 30)) code=0 whole options=(--signal=TERM --kill-after=60)
    shift 2
    # Training saves its processes itself; a second signal, to the whole group, would have it kill them.
    if [[ $resumes == yes ]]; then options+=(--foreground); fi
    if ((left < 20)); then again "$step"; fi
    whole=$((left >= PIECE - 60))
    timeout "${options[@]}" "$left" "$@" || code=$?
    if ((code == 124 || code == 130 || code == 137)); then
        if [[ $resumes == no && $whole == 1 ]]; then
            echo "on_gpu.sh: step $step does not fit into a piece of $PIECE s: a larger PIECE or less work is needed" >&2
            exit 1
        fi
        again "$step"
    fi
    return "$code"
}

train() { # step, setting, further arguments of `train`
    local step=$1 setting=$2
    shift 2
    local options=(--setting "$setting" --device "$DEVICE" --results "$out/results" --plots "$out/plots")
    if [[ -n $data && $setting != digits ]]; then options+=(--data "$data"); fi
    within_the_piece "$step" yes bash run_all.sh "$@" "${options[@]}" ${extra[@]+"${extra[@]}"}
}

benchmark() { # step, module, options
    local step=$1
    shift
    within_the_piece "$step" no "$python" -m "$@"
}

networks() {
    local name
    for name in "$@"; do printf -- '--network %s ' "$name"; done
}

for step in "${steps[@]}"; do
    if [[ -e $out/done/$step ]]; then continue; fi
    echo "on_gpu.sh: step $step, $SECONDS s into the piece" >&2
    case $step in
    throughput) # one case at a time, because a call may be too short for all of them
        # shellcheck disable=SC2086 # options and cases, one word each
        while read -r case; do
            if [[ -e $out/done/$step-$case ]]; then continue; fi
            benchmark "$step" benchmarks.throughput --device "$DEVICE" --case "$case" ${THROUGHPUT:-} </dev/null
            touch "$out/done/$step-$case"
        done < <(printf '%s\n' ${CASES:-$("$python" -c 'from benchmarks.throughput import CASES; print(*CASES)')})
        ;;
    jobs)
        # shellcheck disable=SC2086
        benchmark "$step" benchmarks.jobs --device "$DEVICE" ${JOBS:-}
        ;;
    equivalence) # it trains, and goes on where it was cut off
        # shellcheck disable=SC2086
        within_the_piece "$step" yes "$python" -m benchmarks.equivalence --device "$DEVICE" --results "$out/equivalence" \
            ${EQUIVALENCE:-}
        ;;
    faults)
        # shellcheck disable=SC2086
        benchmark "$step" benchmarks.faults --device "$DEVICE" --record ${FAULTS:---kills 20}
        ;;
    headline)
        # shellcheck disable=SC2046 # one word each
        train "$step" "$SETTING" fig4_depth fig6_cifar_depth --seeds "$SEEDS" \
            $(networks cifar-plain20 cifar-plain56 cifar-residual20-A cifar-residual56-A) \
            $(networks plain18 plain34 residual18-A residual34-A)
        ;;
    everything) train "$step" "$SETTING" --seeds 1 ;;
    short) train "$step" "$SHORT" --seeds "$SEEDS" ;;
    pages)
        bash run_all.sh verify --results "$out/results"
        bash run_all.sh report --results "$out/results" --plots "$out/plots"
        ;;
    *)
        echo "on_gpu.sh: unknown step $step" >&2
        exit 2
        ;;
    esac
    touch "$out/done/$step"
done
echo "on_gpu.sh: all done; records in $out/results, reports in $out/plots, tables in $out/benchmarks"
