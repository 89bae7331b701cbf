# shellcheck shell=bash
# Sourced by run_all.sh ("runtime") and run_tests.sh ("tests"): goes to the repository's root and leaves in $python a
# Python that has what pyproject.toml asks for. That is the active one if it will do, else the one in .venv, which is
# set up when it is missing. Runs on bash 3.2, the one of macOS.
# shellcheck disable=SC2034,SC2129 # $python is for those who source this; the .pth file is no log

purpose=$1
script=${0##*/}
if [[ ${PYTHON:-} == */* && $PYTHON != /* ]]; then PYTHON=$PWD/$PYTHON; fi
CDPATH="" cd "$(dirname "${BASH_SOURCE[0]}")" || exit
venv=$PWD/.venv
venv_python=$venv/bin/python
log=$venv/set-up.log      # written from the first step on: it also says that .venv is ours
stamp=$venv/set-up.done   # written last: what .venv was built from, then the pins it was built with

say() { printf '%s: %s\n' "$script" "$1" >&2; }

fail() {
    say "$1"
    exit 2
}

needed_python() { sed -n 's/^requires-python = ">=\([0-9.]*\)".*/\1/p' pyproject.toml; }

remedy() { echo "name Python $(needed_python) or newer: PYTHON=/path/to/python3 bash $script"; }

# ---- which Python ----------------------------------------------------------------------------------------------

# One line if this Python will do, more if it lacks something, status 1 if it is none that could serve.
report() { "$1" environment.py report "$purpose" 2>/dev/null </dev/null; }

will_do() {
    local answer
    answer=$(report "$1") && [[ $answer != *$'\n'* ]]
}

active_pythons() {
    if [[ -n ${PYTHON:-} ]]; then
        echo "$PYTHON"
        return
    fi
    local first second
    first=$(type -P python3 || true)
    second=$(type -P python || true)
    if [[ -n $first ]]; then echo "$first"; fi
    # python beside python3 is the same one, and asking it again takes time.
    if [[ -n $second && ${second%/*} != "${first%/*}" ]]; then echo "$second"; fi
}

# Whoever names an interpreter wants no .venv that was built from another.
venv_is_wished() {
    local built_from=""
    if [[ -z ${PYTHON:-} ]]; then return 0; fi
    if [[ -f $stamp ]]; then IFS= read -r built_from <"$stamp" || true; fi
    [[ $built_from == "$(report "$PYTHON" | head -n 1)" ]]
}

venv_will_do() { [[ -x $venv_python ]] && will_do "$venv_python" && venv_is_wished; }

find_python() {
    local candidate
    while IFS= read -r candidate; do
        if will_do "$candidate"; then
            python=$candidate
            return 0
        fi
    done < <(active_pythons)
    if venv_will_do; then
        python=$venv_python
        return 0
    fi
    return 1
}

# ---- setting up .venv ------------------------------------------------------------------------------------------

why_unusable() {
    local version
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || version=""
    if [[ ! $version =~ ^[0-9]+\.[0-9]+$ ]]; then
        echo "$1 does not run as a Python; $(remedy)"
    elif ! "$1" -c "import sys; sys.exit(sys.version_info < ($(needed_python | sed 's/\./, /g')))" 2>/dev/null; then
        echo "$1 is Python $version; $(remedy)"
    else
        "$1" environment.py report "$purpose" 2>&1 >/dev/null | tail -n 1
    fi
}

# Chooses what to build .venv from: the first Python that has torch, else the first that is new enough.
choose_parent() {
    local candidate answer unusable=""
    parent="" parent_name="" parent_has_torch=no
    while IFS= read -r candidate; do
        if ! answer=$(report "$candidate"); then
            unusable=${unusable:-$candidate}
            continue
        fi
        # An activated .venv cannot be its own parent.
        if [[ $answer == .venv* ]]; then continue; fi
        if [[ $answer != *$'\n'torch[=\>]* ]]; then parent_has_torch=yes; fi
        if [[ -z $parent || $parent_has_torch == yes ]]; then
            parent=$candidate
            parent_name=${answer%%$'\n'*}
        fi
        if [[ $parent_has_torch == yes ]]; then break; fi
    done < <(if [[ -n ${PYTHON:-} ]]; then echo "$PYTHON"; else
        type -aP python3 python python3.13 python3.12 python3.11 || true
    fi)
    if [[ -n $parent ]]; then return; fi
    if [[ -n $unusable ]]; then fail "$(why_unusable "$unusable")"; fi
    fail "no python3 on PATH besides that of .venv; $(remedy)"
}

uv_venv() { uv venv --allow-existing --python "$parent" "$venv"; }

make_venv() {
    find "$venv/" -mindepth 1 -maxdepth 1 ! -name lock ! -name set-up.log -exec rm -rf {} + || return 1
    if [[ $parent_has_torch == yes ]]; then
        # The pip of a new .venv may come with an old setuptools, which would hide the one that the torch there needs.
        "$parent" -m venv --without-pip "$venv" || uv_venv || return 1
        "$parent" environment.py parent-path >"$(echo "$venv"/lib/python3*/site-packages)/parent.pth"
    else
        # The second is for Debian without python3-venv, where a .venv can be made but gets no pip.
        "$parent" -m venv "$venv" || "$parent" -m venv --without-pip "$venv" || uv_venv
    fi
} >>"$log" 2>&1

choose_installer() {
    if "$venv_python" -m pip --version; then
        installer=("$venv_python" -m pip install)
    elif "$parent" -m pip --python "$venv_python" --version; then
        installer=("$parent" -m pip --python "$venv_python" install)
    elif type -P uv; then
        installer=(uv pip install --python "$venv_python")
    elif "$venv_python" -m ensurepip; then
        installer=("$venv_python" -m pip install)
    else
        return 1
    fi
} >>"$log" 2>&1

install_packages() {
    local packages=() package
    if compgen -G "$venv/lib/python3*/site-packages/parent.pth" >/dev/null; then
        "$venv_python" environment.py frozen >"$venv/frozen.txt"
        while IFS= read -r package; do packages+=("$package"); done < <(report "$venv_python" | grep '[=>]=')
        if [[ ${#packages[@]} == 0 ]]; then return; fi
        packages+=(-c "$venv/frozen.txt")
    else
        packages=(-r requirements.txt)
        if [[ $purpose == tests ]]; then packages+=(-r requirements-tests.txt); fi
    fi
    # PIP_USER=1, usual on some clusters, fails in a .venv; a question would wait for ever.
    PIP_USER=0 PIP_NO_INPUT=1 "${installer[@]}" "${packages[@]}"
} >>"$log" 2>&1

why_install_failed() {
    local unreachable="ConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|versions: none|sending request|dns error"
    if grep -q "No space left" "$log"; then
        echo "the disk is full (or the one of TMPDIR)"
    elif grep -qE "$unreachable" "$log"; then
        echo "pip reaches no package index, or one without these versions"
    else
        grep -iE "^ *error" "$log" | tail -n 1 | grep . || echo "the installer gave up"
    fi
}

write_stamp() {
    {
        echo "$1"
        if [[ $purpose == tests ]]; then cat requirements.txt requirements-tests.txt; else cat requirements.txt; fi
    } >"$stamp.new" && mv "$stamp.new" "$stamp"
}

set_up() {
    local before=""
    if [[ ! -f $log && -d $venv && -n $(find "$venv/" -mindepth 1 -maxdepth 1 ! -name lock) ]]; then
        fail "$venv was not made here and will not do; install requirements*.txt in it, or remove it"
    fi
    choose_parent
    if ! mkdir -p "$venv" 2>/dev/null || ! { : >>"$venv/lock" && : >>"$log"; } 2>/dev/null; then
        fail "cannot write to $venv; make it writable, or name a Python that has it all: PYTHON=/path/to/python3 bash $script"
    fi

    exec 8>&2 9>>"$venv/lock"
    # By 8, because an interrupted step may have standard error go to the log.
    trap 'say "set-up interrupted; the next call starts it anew" 2>&8; exit 130' INT TERM
    "$parent" environment.py lock
    if find_python; then return; fi # set up by another call while this one waited
    : >"$log"

    if [[ $purpose == tests ]] && (purpose=runtime && venv_will_do); then
        before=$(head -n 1 "$stamp")
        say "Adding the test tools to .venv: about a minute (progress: $log)"
    else
        if [[ $parent_has_torch == yes ]]; then
            say "Setting up .venv on $parent_name, whose torch it uses: about a minute (progress: $log)"
        else
            say "Setting up .venv with $parent_name: some minutes, most of them for torch (progress: $log)"
        fi
        rm -f "$stamp"
        make_venv || fail "$parent_name makes no .venv, is its venv module there (Debian: python3-venv)? See $log"
    fi
    choose_installer || fail "no pip to fill .venv with; install pip (Debian: python3-venv) or uv. See $log"

    rm -f "$stamp"
    if ! install_packages; then
        # Before it says this, pip has changed nothing, and what was there still serves.
        if [[ -n $before ]] && ! grep -q "^Installing collected packages" "$log"; then
            purpose=runtime
            write_stamp "$before"
        fi
        fail "cannot install the requirements: $(why_install_failed). Mend that and call again; see $log"
    fi
    write_stamp "${before:-$parent_name}" || fail "cannot write to $venv: is the disk full?"
    find_python || fail "$venv still lacks $(report "$venv_python" | tail -n 1); see $log"
    say "Set up in $SECONDS s."
}

if [[ -n ${PYTHON:-} ]]; then
    if ! type -P "$PYTHON" >/dev/null; then fail "PYTHON=$PYTHON is no program that can run; $(remedy)"; fi
    PYTHON=$(type -P "$PYTHON")
    if [[ $PYTHON == "$venv"/* ]]; then PYTHON=""; fi
fi
if ! find_python; then
    set_up
    # Neither the lock nor the trap is for what runs next.
    exec 8>&- 9>&-
    trap - INT TERM
fi
