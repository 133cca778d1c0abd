#!/usr/bin/env bash
# Blender's Python module in an environment of its own: the reference that tests marked `blender` compare against.
# bpy pins numpy below 2 and Python to 3.11, so it cannot share the backend's environment.
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=4.5.15
VENV=.venv-blender
PYTHON=${PYTHON:-python3.11}
# What bpy links against and a bare server lacks (Debian's and Ubuntu's names).
LIBRARIES="libx11-6 libxrender1 libxfixes3 libxi6 libxkbcommon0 libsm6 libice6 libgl1 libegl1 libxext6"

if [ -f "$VENV/bpy-$VERSION.ok" ]; then
  exit 0
fi
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
  echo "Blender $VERSION needs Python 3.11 and '$PYTHON' is not: its tests will be skipped" >&2
  exit 0
fi

imports() {
  # bpy writes its settings beside the user's own Blender unless told otherwise.
  BLENDER_USER_RESOURCES="$(mktemp -d)" "$VENV/bin/python" -c \
    "import bpy; assert bpy.app.version_string.startswith('${VERSION%.*}')"
}

"$PYTHON" -m venv --clear "$VENV"
"$VENV/bin/pip" install --quiet --disable-pip-version-check "bpy==$VERSION"
if ! imports 2>/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -qq -y --no-install-recommends $LIBRARIES >/dev/null
  fi
  imports || { echo "error: Blender's module does not start; install its libraries: apt-get install $LIBRARIES" >&2; exit 1; }
fi
touch "$VENV/bpy-$VERSION.ok"
echo "Blender's bpy $VERSION is ready in $VENV"
