#!/usr/bin/env bash
# Lint, format, types, scripts, tests: bash run_tests.sh [what pytest takes], or one of them: --only mypy
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh" tests

failed=""

step() {
    local command=("$python" -m "$@")
    printf '== %s\n' "$*"
    if [[ $1 == shellcheck ]]; then # a program, and no module of Python
        command=("${python%/*}/shellcheck" .ci/run ./*.sh experiments/*.sh findings/*.sh)
        if [[ ! -x ${command[0]} ]]; then
            printf 'left out: there is no %s\n' "${command[0]}"
            return
        fi
    fi
    "${command[@]}" || failed="$failed${failed:+; }$*"
}

if [[ ${1:-} == --only ]]; then
    read -r -a words <<<"${2:?what? ruff check ., ruff format --check ., mypy, shellcheck or pytest}"
    step "${words[@]}"
else
    # Every step runs even after a failure: one call shows all there is to mend.
    step ruff check .
    step ruff format --check .
    step mypy
    step shellcheck
    step pytest "$@"
fi

if [[ -n $failed ]]; then
    printf 'run_tests.sh: failed: %s\n' "$failed" >&2
    exit 1
fi
