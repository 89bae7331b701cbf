#!/usr/bin/env bash
# torchrun of torch 2.13.0: after SIGTERM it fails with exit code 1 and a traceback, although all its processes
# saved and ended with 0.
#
# Expected: a launcher passes on the exit code of what it launched.
# Seen: SIGTERM reaches the workers, each of them ends with 0, and torchrun raises SignalException. A scheduler
# that asks a job to save before it takes the machine away books it as failed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.3.5
cd "$folder"
cat >work.py <<'PYTHON'
import os
import pathlib
import signal
import sys
import time


def save(*_):
    pathlib.Path(f"saved-{os.environ['RANK']}").touch()
    sys.exit(0)


signal.signal(signal.SIGTERM, save)
pathlib.Path(f"ready-{os.environ['RANK']}").touch()
time.sleep(60)
PYTHON
venv/bin/torchrun --standalone --nproc-per-node 2 work.py 2>log &
launcher=$!
for _ in $(seq 300); do
    if [[ -e ready-0 && -e ready-1 ]]; then break; fi
    sleep 0.2
done
kill -TERM "$launcher"
code=0
wait "$launcher" || code=$?
echo "torchrun ended with $code; $(ls -m saved-*); $(grep -o 'SignalException.*' log | head -1)"
[[ $code == 1 && -e saved-0 && -e saved-1 ]]
grep -q SignalException log
