"""The add-on's modules without bpy, importable as `vitruvian_addon.<module>`: its __init__ needs Blender."""

from __future__ import annotations

import sys
import types
from pathlib import Path

ADDON = Path(__file__).parents[2] / "blender_addon"

package = types.ModuleType("vitruvian_addon")
package.__path__ = [str(ADDON)]
sys.modules.setdefault("vitruvian_addon", package)
