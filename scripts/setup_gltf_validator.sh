#!/usr/bin/env bash
# Installs the Khronos glTF validator for the test that validates human.glb. Without Node.js that test is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p node_modules
if ! command -v npm >/dev/null; then
    echo "npm is not installed: the glTF validator's test will be skipped (install Node.js to run it)" >&2
    exit 0
fi
npm install --silent --no-save --no-package-lock --no-audit --no-fund --prefix . gltf-validator@2.0.0-dev.3.10
