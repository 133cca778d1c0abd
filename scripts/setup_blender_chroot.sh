#!/usr/bin/env bash
# A newer Blender with a window than this machine's distribution has, in a folder of its own, the host untouched:
#   trixie   Debian 13's Blender 4.3 (Python 3.13)
#   sid      Debian unstable's Blender, 5.2 in November 2026 (Python 3.14)
# Prints the command to give the window tests:
#   BLENDER="$(scripts/setup_blender_chroot.sh trixie)" make window
# Needs root and debootstrap's mirror; 2 GB each in ~/.cache/vitruvian (VITRUVIAN_CHROOT=FOLDER takes another folder).
set -euo pipefail

RELEASE=${1:-trixie}
case $RELEASE in
  trixie) EXTRA= ;;
  sid) EXTRA="python3-cattr python3-requests" ;;  # 5.2's extension tool imports them, its package does not ask for them
  *) echo "error: '$RELEASE' is not a release that this script knows; take trixie or sid" >&2; exit 2 ;;
esac
FOLDER=${VITRUVIAN_CHROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/vitruvian}/blender-$RELEASE
PACKAGES="blender python3-numpy libgl1-mesa-dri libegl1 libgl1 libegl-mesa0 libglx-mesa0 xdotool imagemagick $EXTRA"

if [ "$(id -u)" != 0 ]; then
  echo "error: $0 needs root, for debootstrap and chroot" >&2
  exit 1
fi
if [ ! -f "$FOLDER/ready" ]; then
  command -v debootstrap >/dev/null || { apt-get update -qq && apt-get install -qq -y debootstrap; } >&2
  [ -x "$FOLDER/usr/bin/apt-get" ] || debootstrap --variant=minbase "$RELEASE" "$FOLDER" >&2
  # A mirror may be weeks behind, and what unstable's index says is meant to be good for one.
  echo 'Acquire::Check-Valid-Until "false";' >"$FOLDER/etc/apt/apt.conf.d/50vitruvian"
  chroot "$FOLDER" apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive chroot "$FOLDER" apt-get install -qq -y --no-install-recommends $PACKAGES >&2
  touch "$FOLDER/ready"
fi
# Blender wants /proc and /dev; /tmp brings it the screen's socket, the tests' folders and the extension's zip. The
# mounts are seen by this Blender only and end with it, so that deleting the folder never deletes what is mounted there.
cat >"$FOLDER.blender" <<END
#!/bin/sh
exec unshare --mount sh -c '
  for place in proc dev tmp; do mount --rbind "/\$place" "$FOLDER/\$place" || exit 1; done
  exec chroot "$FOLDER" blender "\$@"' sh "\$@"
END
chmod +x "$FOLDER.blender"
echo "$FOLDER.blender"
