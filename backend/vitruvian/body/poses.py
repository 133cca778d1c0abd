"""Named poses of the Anny body, written as directions of limbs and resolved to joint rotations.

Anny's reference orientations do not depend on the phenotype, so one set of rotations poses every body alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.body.anny_arrays import AnnyArrays, blendshape_coefficients
from vitruvian.body.kinematics import (
    axis_angle_from_rotation,
    posed_joints,
    rest_joints,
    rotation_from_axis_angle,
)
from vitruvian.core.errors import UserError

Vector = tuple[float, float, float]

_SEGMENT_ENDS = {
    "upperarm01": "lowerarm01",
    "lowerarm01": "wrist",
    "wrist": "finger3-1",
    "upperleg01": "lowerleg01",
    "lowerleg01": "foot",
}
"""Which joint ends the limb that starts at a joint."""


@dataclass(frozen=True)
class _Pose:
    """A joint without ".L" or ".R" stands for both sides, given for the left and mirrored to the right."""

    aims: Mapping[str, Vector] = field(default_factory=dict)
    """World direction of the limb from a joint of `_SEGMENT_ENDS` on: +x body's left, +y back, +z up."""
    world: Mapping[str, Vector] = field(default_factory=dict)
    """Axis-angle, degrees, of a joint against its reference orientation, whatever its parents do:
    keeps feet flat and heads upright."""
    turns: Mapping[str, Vector] = field(default_factory=dict)
    """Axis-angle, degrees, of a joint in its parent's frame."""


_FEET_OUT = {"foot": (0.0, 0.0, 6.0)}
_HANGING = {
    "upperarm01": (0.26, 0.05, -0.97),
    "lowerarm01": (0.12, -0.20, -0.97),
    "wrist": (0.04, -0.16, -0.98),
}
_STANDING = {"upperleg01": (0.05, -0.05, -1.0), "lowerleg01": (0.05, 0.07, -1.0)}

_POSES = {
    "A": _Pose(
        aims={
            "upperarm01": (0.70, 0.0, -0.71),
            "lowerarm01": (0.68, -0.12, -0.72),
            "wrist": (0.64, -0.12, -0.76),
        },
    ),
    "T": _Pose(
        aims={"upperarm01": (1.0, 0.0, 0.0), "lowerarm01": (1.0, -0.06, 0.0), "wrist": (1.0, -0.06, -0.04)},
        turns={"clavicle": (0.0, -8.0, 0.0)},
    ),
    "relaxed": _Pose(aims={**_HANGING, **_STANDING}, world=_FEET_OUT),
    "walking": _Pose(
        aims={
            **_HANGING,
            "upperarm01.L": (0.22, 0.36, -0.91),
            "lowerarm01.L": (0.14, 0.12, -0.98),
            "wrist.L": (0.06, 0.06, -0.99),
            "upperarm01.R": (-0.22, -0.26, -0.94),
            "lowerarm01.R": (-0.04, -0.66, -0.75),
            "wrist.R": (0.04, -0.66, -0.75),
            "upperleg01.L": (0.03, -0.40, -0.92),
            "lowerleg01.L": (0.03, -0.16, -0.98),
            "upperleg01.R": (-0.03, 0.20, -0.98),
            "lowerleg01.R": (-0.03, 0.68, -0.73),
        },
        world={"foot.L": (-12.0, 0.0, 3.0), "foot.R": (40.0, 0.0, -3.0), "head": (0.0, 0.0, 0.0)},
        turns={"spine03": (0.0, 0.0, 4.0), "spine01": (2.0, 0.0, 4.0)},
    ),
    "seated": _Pose(
        aims={
            "upperarm01": (0.22, -0.20, -0.95),
            "lowerarm01": (-0.06, -0.88, -0.46),
            "wrist": (-0.10, -0.96, -0.22),
            "upperleg01": (0.14, -0.98, -0.06),
            "lowerleg01": (0.04, 0.04, -1.0),
        },
        world=_FEET_OUT,
    ),
    "contrapposto": _Pose(
        aims={
            **_HANGING,
            "upperleg01.R": (-0.02, -0.03, -1.0),
            "lowerleg01.R": (0.0, 0.06, -1.0),
            "upperleg01.L": (0.16, -0.26, -0.95),
            "lowerleg01.L": (0.06, 0.18, -0.98),
        },
        world={"foot.L": (0.0, 0.0, 22.0), "foot.R": (0.0, 0.0, -4.0), "head": (0.0, 0.0, 12.0)},
        turns={"root": (0.0, 5.0, 0.0), "spine04": (0.0, -5.0, 0.0), "spine02": (0.0, -4.0, 0.0)},
    ),
    "waving": _Pose(
        aims={
            **_HANGING,
            **_STANDING,
            "upperarm01.R": (-0.86, -0.16, 0.10),
            "lowerarm01.R": (-0.30, -0.22, 0.93),
            "wrist.R": (-0.12, -0.14, 0.98),
        },
        world=_FEET_OUT,
        turns={"clavicle.R": (0.0, 8.0, 0.0)},
    ),
}

POSES = tuple(_POSES)


def joint_rotations_of(arrays: AnnyArrays, pose: str) -> dict[str, Vector]:
    """Axis-angle in radians by joint name, as `anny_body.pose_body` takes them; a fresh dictionary.

    Raises:
        UserError: for an unknown pose.
    """
    if pose not in _POSES:
        raise UserError("pose", pose, "is not a known pose", f"Choose from: {', '.join(POSES)}")
    return dict(_resolve(arrays, pose))


@lru_cache(maxsize=64)
def _resolve(arrays: AnnyArrays, pose: str) -> dict[str, Vector]:
    """Walk the skeleton from the root, turning each posed joint from where its parents have brought it."""
    names = arrays.joint_names
    named = _POSES[pose]
    aims = _both_sides(named.aims, names, rotation=False)
    world, turns = (_both_sides(part, names, rotation=True) for part in (named.world, named.turns))
    heads = _reference_heads(arrays)
    G: list[Tensor] = []
    rotations: dict[str, Vector] = {}
    for joint, name in enumerate(names):
        base = G[arrays.joint_parents[joint]] if joint else torch.eye(3)
        turned = base
        if name in aims:
            start, _, side = name.partition(".")
            limb = base @ (heads[names.index(f"{_SEGMENT_ENDS[start]}.{side}")] - heads[joint])
            turned = _swing(limb, aims[name]) @ base
        elif name in world:
            turned = _rotation(world[name])
        elif name in turns:
            turned = base @ _rotation(turns[name])
        G.append(turned)
        if turned is not base:
            x, y, z = axis_angle_from_rotation(base.T @ turned).tolist()
            rotations[name] = (x, y, z)
    return rotations


def _both_sides(part: Mapping[str, Vector], names: tuple[str, ...], rotation: bool) -> dict[str, Vector]:
    """Sides written out: a direction mirrors as (-x, y, z), a rotation as (x, -y, -z).

    A side's own entry wins.
    """
    written = {name: vector for name, vector in part.items() if name in names}
    for name, (x, y, z) in part.items():
        if name not in names:
            written.setdefault(f"{name}.L", (x, y, z))
            written.setdefault(f"{name}.R", (x, -y, -z) if rotation else (-x, y, z))
    return written


def _reference_heads(arrays: AnnyArrays) -> Float[Tensor, "J 3"]:
    """Joint positions of the mean adult when no joint is rotated."""
    coefficients = blendshape_coefficients(arrays, {"age": 2 / 3})
    identity = torch.eye(3).repeat(len(arrays.joint_names), 1, 1)
    return posed_joints(arrays, rest_joints(arrays, coefficients), identity)[:, :3, 3]


def _swing(limb: Float[Tensor, "3"], direction: Vector) -> Float[Tensor, "3 3"]:
    """The smallest rotation that brings `limb` into `direction`."""
    start = torch.nn.functional.normalize(limb, dim=0)
    end = torch.nn.functional.normalize(torch.tensor(direction), dim=0)
    axis = torch.linalg.cross(start, end)
    angle = torch.atan2(axis.norm(), start @ end)
    return rotation_from_axis_angle((axis / axis.norm().clamp(min=1e-12) * angle)[None])[0]


def _rotation(degrees: Vector) -> Float[Tensor, "3 3"]:
    return rotation_from_axis_angle(torch.deg2rad(torch.tensor(degrees))[None])[0]
