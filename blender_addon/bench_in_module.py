# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures in Blender as a Python module: `python bench_in_module.py EXTENSION.zip [options]`.

`vitruvian bench blender` runs this with a user folder of its own for Blender, into which the extension is
installed as artists do it: with the packages that it brings. Options are `bench_command`'s.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback

import bpy

MODULE = "bl_ext.user_default.vitruvian"


def main(extension: str, options: list[str]) -> int:
    """Install the extension and measure; the exit code is `bench_command.run`'s."""
    bpy.ops.extensions.package_install_files(filepath=extension, repo="user_default", enable_on_install=True)
    try:
        return importlib.import_module(f"{MODULE}.bench_command").run(options)
    finally:
        bpy.ops.preferences.addon_disable(module=MODULE)


if __name__ == "__main__":
    code = 1
    try:
        code = main(sys.argv[1], sys.argv[2:])
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # some versions of the module hang or crash in their own clean-up at exit
