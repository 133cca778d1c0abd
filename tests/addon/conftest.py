"""The add-on's modules without bpy, importable as `vitruvian_addon.<module>`: its __init__ needs Blender."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from world import World

ADDON = Path(__file__).parents[2] / "blender_addon"

package = types.ModuleType("vitruvian_addon")
package.__path__ = [str(ADDON)]
sys.modules.setdefault("vitruvian_addon", package)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A session that has done nothing yet."""
    from world import World  # which needs the package above

    return World(tmp_path)
