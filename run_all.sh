#!/usr/bin/env bash
# Trains the pairs, checks the claims, draws the figures, and runs every other command: bash run_all.sh --help
set -euo pipefail
called_from=$PWD
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh" runtime

root=$PWD
cd "$called_from" # where relative paths among the options start
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} PYTHONSAFEPATH=1
if (($# == 0)); then set -- train; fi
exec "$python" -m plain_vs_residual "$@"
