#!/usr/bin/env bash
# Blender's Python module, each version in an environment of its own: scripts/setup_blender_env.sh [4.5|5.2]
#   4.5  .venv-blender      Python 3.11   tests marked `blender`, and the tool that validates the extension
#   5.2  .venv-blender-5.2  Python 3.13   the add-on's tests on the newest Blender
# bpy pins its own numpy and one Python version, so it cannot share the backend's environment. pyzmq and msgpack stay
# out of both: the extension brings its own, and the tests see whether it does.
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-4.5} in
  4.5) VERSION=4.5.15 VENV=.venv-blender NEEDED=3.11 ;;
  5.2) VERSION=5.2.3 VENV=.venv-blender-5.2 NEEDED=3.13 ;;
  *) echo "error: '$1' is not a version that this script knows; take 4.5 or 5.2" >&2; exit 2 ;;
esac
# What bpy links against and a bare server lacks (Debian's and Ubuntu's names).
LIBRARIES="libx11-6 libxrender1 libxfixes3 libxi6 libxkbcommon0 libsm6 libice6 libgl1 libegl1 libxext6"

if [ -f "$VENV/bpy-$VERSION.ok" ]; then
  exit 0
fi

is_needed() {
  "$1" -c "import sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$NEEDED')" 2>/dev/null
}
apt_install() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null &&
    apt-get update -qq && apt-get install -qq -y --no-install-recommends "$@" >/dev/null 2>&1
}
# Prints a Python of the needed version: $PYTHON, one on the path, one of pyenv's, else the distribution's or uv's.
find_python() {
  local candidate
  for candidate in "${PYTHON:-}" "python$NEEDED" "$HOME/.pyenv/versions/$NEEDED".*/bin/python; do
    if [ -n "$candidate" ] && is_needed "$candidate"; then echo "$candidate"; return; fi
  done
  if apt_install "python$NEEDED" "python$NEEDED-venv" && is_needed "python$NEEDED"; then
    echo "python$NEEDED"
  elif command -v uv >/dev/null && uv python install --quiet "$NEEDED"; then
    uv python find "$NEEDED"
  fi
}
imports() {
  # bpy writes its settings beside the user's own Blender unless told otherwise.
  BLENDER_USER_RESOURCES="$(mktemp -d)" "$VENV/bin/python" -c \
    "import bpy; assert bpy.app.version_string.startswith('${VERSION%.*}')"
}

python=$(find_python) || python=
if [ -z "$python" ]; then
  echo "Blender $VERSION needs Python $NEEDED and there is none: its tests will be skipped." \
    "Install it (https://www.python.org/downloads/) or name yours: PYTHON=/path/python$NEEDED $0 ${1:-4.5}" >&2
  exit 0
fi
"$python" -m venv --clear "$VENV"
"$VENV/bin/pip" install --quiet --disable-pip-version-check "bpy==$VERSION"
if ! imports 2>/dev/null; then
  apt_install $LIBRARIES || true
  imports || { echo "error: Blender's module does not start; install its libraries: apt-get install $LIBRARIES" >&2; exit 1; }
fi
touch "$VENV/bpy-$VERSION.ok"
echo "Blender's bpy $VERSION is ready in $VENV"
