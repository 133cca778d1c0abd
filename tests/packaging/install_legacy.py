"""Runs in a Blender older than the extension system: installs the zip as an add-on, enables and removes it.

blender -b --python install_legacy.py -- ZIP RESULT.json
"""

import json
import sys
from pathlib import Path

import bpy  # pyright: ignore[reportMissingImports]  (Blender's own Python)

source, result = sys.argv[sys.argv.index("--") + 1 :]
bpy.ops.preferences.addon_install(filepath=source)
bpy.ops.preferences.addon_enable(module="vitruvian")
seen = {
    "enabled": "vitruvian" in bpy.context.preferences.addons,
    "registered": sorted(name for name in dir(bpy.types) if name.startswith("VITRUVIAN_")),
}
bpy.ops.preferences.addon_disable(module="vitruvian")
seen["registered_after"] = sorted(name for name in dir(bpy.types) if name.startswith("VITRUVIAN_"))
Path(result).write_text(json.dumps(seen))
