"""What a joint is, from its name: Anny/MakeHuman, SMPL, Mixamo, Rigify, Unreal and VRM spellings."""

from __future__ import annotations

import re
from typing import Literal

Side = Literal["L", "R", ""]

_SIDES: dict[str, Side] = {"l": "L", "left": "L", "r": "R", "right": "R"}
_NOISE = {"j", "bip", "def", "org", "mixamorig", "smplhf", "bone", "c"}

_ROLES = {
    "shoulder": ("upperarm01", "upperarm", "uparm", "arm", "shoulder"),
    "elbow": ("lowerarm01", "lowerarm", "forearm", "elbow"),
    "wrist": ("wrist", "hand"),
    "hip": ("upperleg01", "upperleg", "upleg", "thigh", "hip"),
    "knee": ("lowerleg01", "lowerleg", "shin", "calf", "knee", "leg"),
    "ankle": ("ankle", "foot"),
    "eye": ("eye",),
    "head": ("head",),
}
"""Spellings of each joint, the most telling first: beside an upper arm, "shoulder" is a collar bone."""

_REGION_WORDS = (
    (
        "hands",
        (
            "hand",
            "wrist",
            "finger",
            "thumb",
            "index",
            "middle",
            "ring",
            "pinky",
            "little",
            "metacarpal",
            "palm",
        ),
    ),
    ("feet", ("foot", "toe", "ankle", "heel")),
    ("arms", ("arm", "elbow")),
    ("legs", ("leg", "thigh", "shin", "calf", "knee")),
    ("head", ("head", "neck", "eye", "jaw", "tongue", "brow", "lip", "ear", "nose", "cheek", "hair")),
)


def parse_joint(name: str) -> tuple[str, Side]:
    """The name in lower case without separators, prefixes and side, and the side ("" for the middle).

    "mixamorig:RightUpLeg" -> ("upleg", "R"); "upperarm01.L" -> ("upperarm01", "L").
    """
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name.rsplit(":", 1)[-1])
    side: Side = ""
    kept = []
    for word in (w.lower() for w in words):
        if word in _SIDES and not side:
            side = _SIDES[word]
        elif word not in _NOISE:
            kept.append(word)
    return "".join(kept), side


def find_joint(names: tuple[str, ...], role: str, side: Side) -> int | None:
    """Index of the joint that plays `role` (a key of `_ROLES`); None where there is none."""
    parsed = {parse_joint(name): index for index, name in reversed(list(enumerate(names)))}
    return next((parsed[spelling, side] for spelling in _ROLES[role] if (spelling, side) in parsed), None)


def region_of_joint(name: str, names: tuple[str, ...]) -> str:
    """Which region of the body a joint moves: "hands", "feet", "arms", "legs", "head", else "torso"."""
    base, side = parse_joint(name)
    if side and base == "shoulder":
        # SMPL's shoulder is the upper arm; where another joint is, it is the collar bone.
        return "arms" if names.index(name) == find_joint(names, "shoulder", side) else "torso"
    if side and base == "hip":
        return "legs"
    return next((region for region, words in _REGION_WORDS if any(word in base for word in words)), "torso")
