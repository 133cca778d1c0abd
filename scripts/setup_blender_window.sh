#!/usr/bin/env bash
# What the tests marked `window` need: a Blender with a window, a virtual screen, a mouse and a camera for it.
# Debian's and Ubuntu's packages; another Blender is taken from $BLENDER.
set -euo pipefail

PACKAGES="xvfb xauth xdotool imagemagick"
if [ -z "${BLENDER:-}" ]; then
  PACKAGES="blender python3-numpy $PACKAGES"
fi
have() { command -v "$1" >/dev/null; }
if have "${BLENDER:-blender}" && have xvfb-run && have xdotool && have import; then
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! have apt-get; then
  echo "error: the window tests need these packages: apt-get install $PACKAGES" >&2
  exit 1
fi
apt-get update -qq
apt-get install -qq -y --no-install-recommends $PACKAGES >/dev/null
echo "$("${BLENDER:-blender}" --version | head -1) and a virtual screen are ready"
