# shellcheck shell=bash
# Sourced by run_all.sh ("runtime") and run_tests.sh ("tests"): goes to the repository's root and leaves in $python a
# Python that has what pyproject.toml asks for. That is the active one if it will do, else that of an environment in
# .venvs/, which is set up when it is missing; .venv is a link to the last one. Runs on bash 3.2, the one of macOS.
#
# No environment is changed or removed for another one, because a suite may be running from it. Each stays where it was
# built: its path stands in its files. In it, set-up.log is written from the first step on, and says that it was made
# here; set-up.done is written last, and says what it was built from, then by which pins of constraints.txt.
# shellcheck disable=SC2034,SC2129 # $python is for those who source this; the .pth file is no log

purpose=$1
script=${0##*/}
if [[ ${PYTHON:-} == */* && $PYTHON != /* ]]; then PYTHON=$PWD/$PYTHON; fi
CDPATH="" cd "$(dirname "${BASH_SOURCE[0]}")" || exit
venv=$PWD/.venv # a link, or the folder that earlier versions made
environments=$PWD/.venvs

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

# Whoever names an interpreter wants no environment that was built from another.
is_wished() {
    local built_from=""
    if [[ -z ${PYTHON:-} ]]; then return 0; fi
    if [[ -f $1/set-up.done ]]; then IFS= read -r built_from <"$1/set-up.done" || true; fi
    [[ $built_from == "$(report "$PYTHON" | head -n 1)" ]]
}

find_environment() {
    local candidate
    for candidate in "$venv" "$environments"/*; do
        if [[ -x $candidate/bin/python ]] && will_do "$candidate/bin/python" && is_wished "$candidate"; then
            environment=$candidate
            return 0
        fi
    done
    return 1
}

find_python() {
    local candidate
    while IFS= read -r candidate; do
        if will_do "$candidate"; then
            python=$candidate
            return 0
        fi
    done < <(active_pythons)
    find_environment && python=$environment/bin/python
}

# ---- setting up an environment ---------------------------------------------------------------------------------

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

# Chooses what to build from: the first Python that has torch, else the first that is new enough.
choose_parent() {
    local candidate answer unusable=""
    parent="" parent_name="" parent_has_torch=no
    while IFS= read -r candidate; do
        if ! answer=$(report "$candidate"); then
            unusable=${unusable:-$candidate}
            continue
        fi
        # An environment is not built from another one of these.
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

# Whatever was cut short is removed: nothing runs from it.
choose_place() {
    local candidate name=${parent_name#Python } number=1
    name=${name%% *}
    for candidate in "$venv" "$environments"/*; do
        if [[ -f $candidate/set-up.log && ! -f $candidate/set-up.done ]]; then rm -rf "$candidate"; fi
    done
    environment=$environments/$name
    while [[ -e $environment ]]; do
        number=$((number + 1))
        environment=$environments/$name-$number
    done
    unfinished=$environment
    log=$environment/set-up.log
    mkdir "$environment" && : >"$log"
}

uv_venv() { uv venv --allow-existing --python "$parent" "$environment"; }

make_venv() {
    if [[ $parent_has_torch == yes ]]; then
        # The pip of a new .venv may come with an old setuptools, which would hide the one that the torch there needs.
        "$parent" -m venv --without-pip "$environment" || uv_venv || return 1
        "$parent" environment.py parent-path >"$(echo "$environment"/lib/python3*/site-packages)/parent.pth"
    else
        # The second is for Debian without python3-venv, where a .venv can be made but gets no pip.
        "$parent" -m venv "$environment" || "$parent" -m venv --without-pip "$environment" || uv_venv
    fi
} >>"$log" 2>&1

choose_installer() {
    local venv_python=$environment/bin/python
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

lacking() { report "$environment/bin/python" | grep '[=>]='; }

install_packages() {
    local packages=() package constraints=constraints.txt
    # PIP_USER=1, usual on some clusters, fails in a .venv; a question would wait for ever.
    local -x PIP_USER=0 PIP_NO_INPUT=1
    if compgen -G "$environment/lib/python3*/site-packages/parent.pth" >/dev/null; then
        # What the parent has serves in its own versions, above all torch.
        constraints=$environment/frozen.txt
        "$environment/bin/python" environment.py frozen >"$constraints"
    fi
    while IFS= read -r package; do packages+=("$package"); done < <(lacking)
    if [[ ${#packages[@]} != 0 ]]; then "${installer[@]}" -c "$constraints" "${packages[@]}" || return 1; fi
    while IFS= read -r package; do
        if [[ -z $package ]]; then continue; fi
        "${installer[@]}" -c "$constraints" "$package" </dev/null || echo "left out: $package"
    done < <("$environment/bin/python" environment.py added "$purpose")
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
    local stamp=$environment/set-up.done
    {
        echo "$1"
        "$environment/bin/python" environment.py stamp "$purpose"
    } >"$stamp.new" && mv "$stamp.new" "$stamp"
}

say_what_is_kept() {
    local candidate words
    for candidate in "$venv" "$environments"/*; do
        if [[ ! -f $candidate/set-up.done || $candidate -ef $environment ]]; then continue; fi
        words="rm -rf $(printf '%q' "$candidate")"
        if [[ $candidate == "$venv" ]]; then words+=" && ln -s .venvs/${environment##*/} $(printf '%q' "$venv")"; fi
        say "$candidate is kept for whatever runs from it; when nothing does: $words"
    done
}

check_places() {
    if [[ ! -f $venv/set-up.log && -d $venv && -n $(find "$venv/" -mindepth 1 -maxdepth 1 ! -name lock) ]]; then
        fail "$venv was not made here and will not do; install what pyproject.toml names in it, or remove it"
    fi
    if [[ -f $venv ]]; then fail "cannot write to $venv: it is a file; remove it"; fi
    if ! mkdir -p "$environments" 2>/dev/null || ! { : >>"$environments/lock"; } 2>/dev/null; then
        fail "cannot write to $environments; make it writable, or name a Python that has it all: PYTHON=/path/to/python3 bash $script"
    fi
}

set_up() {
    local built_from beside=""
    choose_parent
    check_places

    exec 8>&2 9>>"$environments/lock"
    # By 8, because an interrupted step may have standard error go to the log.
    trap 'rm -rf "$unfinished"; say "set-up interrupted; the next call starts it anew" 2>&8; exit 130' INT TERM
    "$parent" environment.py lock
    if find_python; then return; fi # set up by another call while this one waited

    if [[ $purpose == tests ]] && purpose=runtime find_environment; then
        # Nothing that runs from it is touched: pip adds what is missing and replaces nothing that it finds there.
        built_from=$(head -n 1 "$environment/set-up.done")
        log=$environment/set-up.log
        say "Adding the test tools to .venv: about a minute (progress: $log)"
        : >"$log"
    else
        built_from=$parent_name
        if [[ -d $venv ]]; then beside=" beside the present one"; fi
        choose_place || fail "cannot write to $environment: is the disk full?"
        if [[ $parent_has_torch == yes ]]; then
            say "Setting up .venv$beside on $parent_name, whose torch it uses: about a minute (progress: $log)"
        else
            say "Setting up .venv$beside with $parent_name: some minutes, most of them for torch (progress: $log)"
        fi
        make_venv || fail "$parent_name makes no .venv, is its venv module there (Debian: python3-venv)? See $log"
    fi
    choose_installer || fail "no pip to fill .venv with; install pip (Debian: python3-venv) or uv. See $log"
    install_packages ||
        fail "cannot install the requirements: $(why_install_failed). Mend that and call again; see $log"
    if lacking >/dev/null; then fail "$environment still lacks $(lacking | tail -n 1); see $log"; fi
    write_stamp "$built_from" || fail "cannot write to $environment: is the disk full?"
    if [[ -n $unfinished ]]; then
        unfinished=""
        "$parent" environment.py link "$environment" 2>>"$log" || say "no link .venv could be made, see $log"
        say_what_is_kept
    fi
    find_python || fail "$environment will not do; see $log"
    say "Set up in $SECONDS s."
}

unfinished=""
if [[ -n ${PYTHON:-} ]]; then
    if ! type -P "$PYTHON" >/dev/null; then fail "PYTHON=$PYTHON is no program that can run; $(remedy)"; fi
    PYTHON=$(type -P "$PYTHON")
    # An environment that will not do is completed, or replaced by one that is built from another Python.
    if [[ $PYTHON == "$venv"/* || $PYTHON == "$environments"/* ]] && ! will_do "$PYTHON"; then PYTHON=""; fi
fi
if ! find_python; then
    set_up
    # Neither the lock nor the trap is for what runs next.
    exec 8>&- 9>&-
    trap - INT TERM
fi
# Not through the link, which may come to point elsewhere while this Python runs.
if [[ $python == "$venv"/* && -L $venv && $(readlink "$venv") == .venvs/* ]]; then
    python=$PWD/$(readlink "$venv")/${python#"$venv"/}
fi
