"""What is written down about a synthetic person, and how it is kept as JSON.

`Geometry` holds what changes shapes (rendered once), `Outfit` what is only paint (painted many times over
the same rendering). Fabric seeds and phases are deliberately not something a caption can say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vitruvian.wardrobe.palette import RGB

# Material slots, as the dressed mesh and its pixels carry them.
(
    BACKGROUND, SKIN, HAIR, EYES, TOP, BOTTOM, OUTER, SHOES, SOLES, HAT, GLASSES, BELT, DRESS, BEARD,
) = range(14)  # fmt: skip
SLOT_NAMES = (
    "background", "skin", "hair", "eyes", "top", "bottom", "outer", "shoes", "soles", "hat", "glasses",
    "belt", "dress", "beard",
)  # fmt: skip

TOPS = ("t-shirt", "shirt", "sweater", "tank top")
BOTTOMS = ("trousers", "jeans", "shorts", "skirt")
OUTERS = ("jacket", "coat")
SHOE_KINDS = ("sneakers", "boots", "shoes")
HATS = ("hat", "cap", "beanie")
HAIR_STYLES = ("bald", "buzz", "short", "bob", "long", "ponytail", "bun", "afro")
BEARDS = ("stubble", "moustache", "short beard", "full beard")
"""Stubble and moustaches are paint; short and full beards may also have geometry (slot BEARD)."""
POSES = ("A", "T", "relaxed", "walking", "seated")
PATTERNS = ("plain", "striped", "vertical stripes", "plaid", "dotted", "denim", "knit", "print")


@dataclass(frozen=True)
class Garment:
    """The fabric of one garment."""

    kind: str
    """What it is ("t-shirt", "jeans", ...)."""
    slot: int
    colour: str
    """Name of the main colour, a key of `GARMENT_COLOURS`; at least 60 % of the visible area."""
    rgb: RGB
    """The main colour as it is: the named one, jittered."""
    colour2: str
    """Name of the second colour (stripes, dots, print)."""
    rgb2: RGB
    pattern: str
    """One of `PATTERNS`."""
    scale: float
    """Period in metres."""
    phase: tuple[float, float]
    """Offset of the pattern along u and v, in periods, in [0, 1)."""
    duty: float
    """Share of the period that the second colour takes, in (0, 0.4]."""
    seed: int
    """Of weave noise and details (pockets, which print)."""


@dataclass(frozen=True)
class Geometry:
    """Everything about a person that changes shapes."""

    seed: int
    phenotype: dict[str, float]
    """Anny's keys, in [0, 1]; gender 0 = male, 1 = female; age 0.5 = teen, 2/3 = young adult, 1 = old."""
    sex: str
    """"man" or "woman"."""
    age: str
    """"teen", "adult" or "older"."""
    pose: str
    """One of `POSES`."""
    joint_jitter: dict[str, tuple[float, float, float]]
    """Anny bone name -> axis-angle in radians, applied on top of the named pose."""
    top: str | None
    bottom: str | None
    outer: str | None
    dress: str | None
    shoes: str | None
    hat: str | None
    belt: bool
    glasses: bool
    hair_style: str
    """One of `HAIR_STYLES`."""
    hair_volume: float
    """Thickness of the hair in [0, 1]."""
    hair_length: float
    """Within what the style allows, in [0, 1]."""
    fringe: bool
    parting: float
    """Where the parting runs: -1 at the body's right, 0 in the middle, 1 at its left."""
    beard: str | None
    """One of `BEARDS`."""
    top_sleeve: float
    """Sleeve lengths run from 0 (none) to 1 (wrist); 0.3 is the middle of the upper arm."""
    outer_sleeve: float
    top_hem: float
    """Hems run from 0 (waist) to 1 (ankle); 0.26 is the crotch, 0.6 the knee. Same for all hems."""
    outer_hem: float
    bottom_hem: float
    dress_hem: float
    neckline: float
    """How far down the top or dress is cut at the neck: 0 (close) to 1 (wide)."""
    top_loose: float
    """Ease of the garment in [0, 1]: 0 hugs the body."""
    bottom_loose: float
    outer_open: float
    """0 = closed at the front, 1 = wide open."""


@dataclass(frozen=True)
class Outfit:
    """Everything about a person that is only paint."""

    garments: dict[int, Garment]
    """By material slot, for every slot that the geometry wears (soles, belt and glasses included)."""
    hair_colour: str
    hair_rgb: RGB
    skin_tone: str
    skin_rgb: RGB
    eye_colour: str
    eye_rgb: RGB
    lip_strength: float
    """How much the lips differ from the skin, in [0, 1]; lipstick near 1."""
    brow_strength: float
    freckles: float
    """Density in [0, 1]; 0 = none."""
    stubble: float
    """Strength of painted beard shadow in [0, 1]."""
    lines: float
    """Strength of age lines in [0, 1]."""
    nails: RGB | None
    """Nail varnish, or None."""
    seed: int
    """Of skin and hair variation."""


@dataclass(frozen=True)
class Subject:
    geometry: Geometry
    outfit: Outfit


def to_json(record: Geometry | Outfit | Subject) -> dict[str, Any]:
    """A record as plain JSON values."""
    data = asdict(record)
    outfit = data["outfit"] if isinstance(record, Subject) else data
    if "garments" in outfit:
        outfit["garments"] = {str(slot): garment for slot, garment in outfit["garments"].items()}
    return data


def geometry_from_json(data: Mapping[str, Any]) -> Geometry:
    """The inverse of `to_json`."""
    jitter = {joint: _triple(angle) for joint, angle in data["joint_jitter"].items()}
    return Geometry(**{**data, "joint_jitter": jitter})


def outfit_from_json(data: Mapping[str, Any]) -> Outfit:
    """The inverse of `to_json`."""
    garments = {int(slot): _garment_from_json(garment) for slot, garment in data["garments"].items()}
    colours = {key: _triple(data[key]) for key in ("hair_rgb", "skin_rgb", "eye_rgb")}
    nails = _triple(data["nails"]) if data["nails"] is not None else None
    return Outfit(**{**data, **colours, "garments": garments, "nails": nails})


def _garment_from_json(data: Mapping[str, Any]) -> Garment:
    u, v = data["phase"]
    return Garment(**{**data, "rgb": _triple(data["rgb"]), "rgb2": _triple(data["rgb2"]), "phase": (u, v)})


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    a, b, c = values
    return (a, b, c)
