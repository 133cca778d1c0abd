#!/usr/bin/env bash
# Makes the environment that Vitruvian runs in: scripts/setup_venv.sh [folder]
# PYTHON chooses the interpreter, TORCH the torch to install (a pip requirement).
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${1:-.venv}
python=${PYTHON:-python3.11}
torch=${TORCH:-torch==2.13.0}

fail() { echo "error: $*" >&2; exit 1; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "'$python' is not a Python 3.11 or newer. Install Python 3.11 (https://www.python.org/downloads/)," \
         "or name yours: make PYTHON=/path/to/python3.11"
if [ ! -x "$venv/bin/python" ]; then
    "$python" -m venv "$venv" ||
        fail "'$python' cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3.11-venv"
fi

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
echo "Setting up $venv (once; a few hundred MB are downloaded)"
pip install --quiet "$torch"
# Without its requirements: they bring torchvision, which fits no other build of torch (docs/decisions.md).
pip install --quiet --no-deps controlnet-aux==0.0.10
pip install --quiet --editable .
