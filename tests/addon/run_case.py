"""Runs in Blender's own environment: one case in one process, with the add-on installed from its zip.

python run_case.py ZIP FOLDER MODULE CASE [ADDRESS]

MODULE is a file beside this one; a CASE that talks to a server that really serves finds it at ADDRESS. Leaves
with 0, or prints what went wrong and leaves with 1.
"""

import importlib
import os
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bpy  # pyright: ignore[reportMissingImports]
import kit

if __name__ == "__main__":
    code = 1
    try:
        module, case = importlib.import_module(sys.argv[3]), sys.argv[4]
        kit.install()
        kit.fresh()
        if len(sys.argv) > 5:
            kit.talk_to(sys.argv[5])
        getattr(module, f"case_{case}")()
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    if not code:
        # Enabled at exit, it would crash or hang some versions: leave as Blender's own quit does.
        bpy.ops.preferences.addon_disable(module=kit.MODULE)
    os._exit(code)
