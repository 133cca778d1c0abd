"""Named poses of the Anny body, as directions of the limbs."""
from __future__ import annotations

from typing import TYPE_CHECKING

from vitruvian.core.errors import UserError

if TYPE_CHECKING:
    from vitruvian.body.anny_arrays import AnnyArrays

POSES = ("A",)


def joint_rotations_of(arrays: AnnyArrays, pose: str) -> dict[str, tuple[float, float, float]]:
    if pose not in POSES:
        raise UserError("pose", pose, "is not a known pose", f"Choose from: {', '.join(POSES)}")
    return {}
