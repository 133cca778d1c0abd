#!/usr/bin/env bash
# Blender's Python module in an environment of its own: the reference that tests marked `blender` compare against.
# bpy pins numpy below 2 and Python to 3.11, so it cannot share the backend's environment.
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=4.5.15
VENV=.venv-blender
PYTHON=${PYTHON:-python3.11}

if [ -f "$VENV/bpy-$VERSION.ok" ]; then
  exit 0
fi
"$PYTHON" -m venv --clear "$VENV"
"$VENV/bin/pip" install --quiet --disable-pip-version-check "bpy==$VERSION"
# bpy writes its settings beside the user's own Blender unless told otherwise.
BLENDER_USER_RESOURCES="$(mktemp -d)" "$VENV/bin/python" -c "import bpy; assert bpy.app.version_string.startswith('4.5')"
touch "$VENV/bpy-$VERSION.ok"
echo "Blender's bpy $VERSION is ready in $VENV"
