# SPDX-License-Identifier: GPL-3.0-or-later
"""The batch in Blender as a Python module: `python run_in_module.py FILE.blend [options]`.

`vitruvian batch` runs this in an environment that has bpy. The add-on is loaded from this folder.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

import bpy

NAME = "vitruvian_addon"


def load_addon() -> ModuleType:
    """This folder as a package, imported but not registered."""
    folder = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    return module


def main(arguments: list[str]) -> int:
    """Open the file and do its batch; the exit code is `batch_command.run`'s."""
    addon = load_addon()
    addon.register()
    try:
        try:
            bpy.ops.wm.open_mainfile(filepath=arguments[0])
        except RuntimeError as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        return addon.batch_command.run(arguments[1:])
    finally:
        addon.unregister()


if __name__ == "__main__":
    code = 1
    try:
        code = main(sys.argv[1:])
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # some versions of the module hang or crash in their own clean-up at exit
