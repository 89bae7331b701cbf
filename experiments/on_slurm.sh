#!/usr/bin/env bash
# Trains a suite on a Slurm cluster, a job per run: bash experiments/on_slurm.sh [EXPERIMENT ...] [OPTION ...]
#
# For example:
#   bash experiments/on_slurm.sh table3_depth --setting imagenet --data /data/imagenet
#
# The options are those of `bash run_all.sh runs`; --setting is needed. Runs that need no other go into one
# array of jobs; those that replay another's learning rates, or begin with its weights, into a second one that waits for
# the first. A quarter of an hour before its time is up (an evaluation on ImageNet takes minutes), a job saves its run
# and goes back into the queue; the next one goes on from there. A job whose run is finished ends at once, so that the
# same command again trains what is left. results/ must be on a file system that all nodes share.
#
#   SBATCH="--gpus=1 --cpus-per-task=16 --time=24:00:00"   further options for sbatch
#   EXECUTION=""                                           one for all runs; if empty, a graph on GPUs, eager on CPUs
#   FOLDER=results/slurm                                   where lists of runs and output go
#   TRAIN=""                                               further options for train, e.g. "--results DIR"
set -euo pipefail
# Slurm runs a copy of this file, from elsewhere: a job is told where the repository is.
repository=${REPOSITORY:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
cd "$repository"
FOLDER=${FOLDER:-results/slurm}

if [[ -n ${SLURM_ARRAY_TASK_ID:-} ]]; then # inside a job: RUNS and OPTIONS come from the submission
    name=$(sed -n "${SLURM_ARRAY_TASK_ID}p" "$RUNS")
    # shellcheck disable=SC2153 # not `options`: the file that holds them
    mapfile -t options <"$OPTIONS"
    read -r -a train <<<"${TRAIN:-}"
    "${PYTHON:?}" -m plain_vs_residual train "${options[@]}" ${EXECUTION:+--execution "$EXECUTION"} "${train[@]}" \
        --run "$name" --jobs 1 --no-report &
    running=$! time_is_up=
    # Slurm tells this script that time is nearly up, not what it has started. A job that somebody cancels is told
    # otherwise, and stays out of the queue.
    trap 'time_is_up=yes; kill -TERM "$running"' USR1
    code=138
    while ((code == 138)); do # the signal ends the wait, not the process
        code=0
        wait "$running" || code=$?
    done
    if [[ -n $time_is_up ]] && ((code == 130)); then
        scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
    fi
    exit "$code"
fi

if ! command -v sbatch >/dev/null; then
    echo "on_slurm.sh: sbatch is not here; call this on a login node of a Slurm cluster" >&2
    exit 2
fi
if [[ " $* " != *" --setting"* ]]; then
    echo "on_slurm.sh: --setting is needed: this machine and the nodes might choose different ones" >&2
    exit 2
fi
# shellcheck source-path=SCRIPTDIR source=../environment.sh
source "$repository/environment.sh" runtime # sets $python
mkdir -p "$FOLDER"
folder=$(mktemp -d "$(cd "$FOLDER" && pwd)/XXXXXX")
: >"$folder/options"
if (($#)); then printf '%s\n' "$@" >"$folder/options"; fi
"$python" -m plain_vs_residual runs "$@" >"$folder/runs"
awk 'NF == 1 {print $1}' "$folder/runs" >"$folder/first"
awk 'NF > 1 {print $1}' "$folder/runs" >"$folder/second"
read -r -a extra <<<"${SBATCH:-}"

submit() { # LIST [OPTION ...]: prints the number of the array
    local list=$folder/$1
    shift
    sbatch --parsable --requeue --signal=B:USR1@900 --array="1-$(wc -l <"$list")" --job-name=plain_vs_residual \
        --output="$folder/%A_%a.out" --export="ALL,REPOSITORY=$repository,RUNS=$list,OPTIONS=$folder/options,PYTHON=$python" \
        "${extra[@]}" "$@" "$repository/experiments/on_slurm.sh"
}

first=$(submit first)
echo "on_slurm.sh: $(wc -l <"$folder/first") runs submitted as array $first; output in $folder"
if [[ -s $folder/second ]]; then
    second=$(submit second --dependency="afterany:${first%%;*}")
    echo "on_slurm.sh: $(wc -l <"$folder/second") runs that need others wait for it as array $second"
fi
echo "on_slurm.sh: when all have ended, draw the report: bash $(printf '%q' "$repository/run_all.sh") report"
