"""Who the synthetic people are: every choice that makes one, from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from vitruvian.wardrobe.palette import EYE_COLOURS, GARMENT_COLOURS, HAIR_COLOURS, SKIN_TONES, jittered
from vitruvian.wardrobe.records import (
    BACKGROUND,
    BEARD,
    BEARDS,
    BELT,
    BOTTOM,
    BOTTOMS,
    DRESS,
    EYES,
    GLASSES,
    HAIR,
    HAIR_STYLES,
    HAT,
    HATS,
    OUTER,
    OUTERS,
    PATTERNS,
    POSES,
    SHOE_KINDS,
    SHOES,
    SKIN,
    SLOT_NAMES,
    SOLES,
    TOP,
    TOPS,
    Garment,
    Geometry,
    Outfit,
    Subject,
    geometry_from_json,
    outfit_from_json,
    to_json,
)  # fmt: skip

__all__ = [
    "BACKGROUND", "BEARD", "BEARDS", "BELT", "BOTTOM", "BOTTOMS", "DRESS", "EYES", "GLASSES", "HAIR",
    "HAIR_STYLES", "HAT", "HATS", "OUTER", "OUTERS", "PATTERNS", "POSES", "SHOES", "SHOE_KINDS", "SKIN",
    "SLOT_NAMES", "SOLES", "TOP", "TOPS", "Garment", "Geometry", "Outfit", "Split", "Subject",
    "geometry_from_json", "outfit_from_json", "sample_geometry", "sample_outfit", "sample_subject",
    "seeds_of", "split_of", "to_json",
]  # fmt: skip

Split = Literal["train", "validation", "test"]

_PATTERN_SHARES: dict[str, dict[str, float]] = {
    "t-shirt": {"plain": 0.40, "striped": 0.22, "dotted": 0.12, "print": 0.26},
    "shirt": {"plain": 0.40, "plaid": 0.25, "striped": 0.12, "vertical stripes": 0.13, "dotted": 0.10},
    "sweater": {"plain": 0.20, "knit": 0.45, "striped": 0.35},
    "tank top": {"plain": 0.65, "striped": 0.25, "dotted": 0.10},
    "jacket": {"plain": 0.70, "denim": 0.20, "plaid": 0.10},
    "coat": {"plain": 0.80, "plaid": 0.20},
    "dress": {"plain": 0.42, "dotted": 0.20, "striped": 0.20, "plaid": 0.08, "vertical stripes": 0.10},
    "trousers": {"plain": 0.84, "vertical stripes": 0.08, "plaid": 0.08},
    "jeans": {"denim": 1.0},
    "shorts": {"plain": 0.70, "denim": 0.20, "plaid": 0.10},
    "skirt": {"plain": 0.50, "plaid": 0.20, "dotted": 0.15, "striped": 0.15},
    "hat": {"plain": 1.0},
    "cap": {"plain": 1.0},
    "beanie": {"knit": 0.6, "plain": 0.2, "striped": 0.2},
}
_SCALES: dict[str, tuple[float, float]] = {
    "striped": (0.055, 0.100), "vertical stripes": (0.050, 0.085), "plaid": (0.100, 0.160),
    "dotted": (0.075, 0.120), "denim": (0.004, 0.006), "knit": (0.016, 0.028), "print": (0.16, 0.26),
    "plain": (0.003, 0.006),
}  # fmt: skip
"""Period of the pattern in metres; of a print, its width."""


def split_of(seed: int) -> Split:
    """The split that a seed's person belongs to, for ever: 90 % train, 5 % validation, 5 % test."""
    mixed = (seed * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF  # splitmix64
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    share = (mixed ^ (mixed >> 31)) % 100
    return "train" if share < 90 else ("validation" if share < 95 else "test")


def seeds_of(split: Split, count: int, start: int = 0) -> list[int]:
    """The first `count` seeds from `start` on that belong to `split`."""
    seeds: list[int] = []
    while len(seeds) < count:
        if split_of(start) == split:
            seeds.append(start)
        start += 1
    return seeds


def sample_subject(seed: int) -> Subject:
    """The person of a seed, with the first of its outfits."""
    geometry = sample_geometry(seed)
    return Subject(geometry, sample_outfit(geometry, np.random.default_rng([seed, 1])))


def sample_geometry(seed: int) -> Geometry:
    """The shapes of a seed's person: sexes and age groups in equal shares, builds uniform."""
    rng = np.random.default_rng([seed, 0])
    sex = "woman" if rng.random() < 0.5 else "man"
    age = str(rng.choice(["teen", "adult", "older"]))
    pose = _choose(rng, {"A": 0.35, "T": 0.12, "relaxed": 0.28, "walking": 0.20, "seated": 0.05})
    in_dress = sex == "woman" and rng.random() < 0.28
    bottom = _choose(
        rng, {"trousers": 0.28, "jeans": 0.34, "shorts": 0.20, "skirt": 0.18 if sex == "woman" else 0.0}
    )
    top = _choose(rng, {"t-shirt": 0.36, "shirt": 0.26, "sweater": 0.24, "tank top": 0.14})
    outer = _choose(rng, {"": 0.72, "jacket": 0.17, "coat": 0.11}) or None
    hat = _choose(rng, {"": 0.82, "hat": 0.06, "cap": 0.06, "beanie": 0.06}) or None
    between = rng.uniform
    sleeves = {"t-shirt": (0.26, 0.42), "shirt": (0.90, 0.98), "sweater": (0.90, 1.0), "tank top": (0.0, 0.0)}
    bottom_hems = {
        "trousers": (0.95, 1.0),
        "jeans": (0.95, 1.0),
        "shorts": (0.40, 0.58),
        "skirt": (0.40, 0.88),
    }
    return Geometry(
        seed=seed,
        phenotype=_sample_phenotype(rng, sex, age),
        sex=sex,
        age=age,
        pose=pose,
        joint_jitter=_sample_jitter(rng, seated=pose == "seated"),
        top=None if in_dress else top,
        bottom=None if in_dress else bottom,
        outer=outer,
        dress="dress" if in_dress else None,
        shoes=str(rng.choice(SHOE_KINDS)),
        hat=hat,
        belt=not in_dress and bottom != "skirt" and rng.random() < 0.35,
        glasses=rng.random() < 0.2,
        hair_style=_sample_hair_style(rng, sex),
        hair_volume=float(between(0.2, 1.0)),
        hair_length=float(between(0.0, 1.0)),
        fringe=bool(rng.random() < 0.4),
        parting=float(between(-0.7, 0.7)),
        beard=_sample_beard(rng, sex, age),
        top_sleeve=float(between(*sleeves[top])) if not in_dress else float(rng.choice([0.0, 0.3, 0.95])),
        outer_sleeve=float(between(0.94, 1.0)),
        top_hem=float(between(0.12, 0.27)),
        outer_hem=float(between(0.50, 0.75) if outer == "coat" else between(0.15, 0.28)),
        bottom_hem=float(between(*bottom_hems[bottom])),
        dress_hem=float(between(0.40, 0.92)),
        neckline=float(between(0.0, 1.0)),
        top_loose=float(between(0.1, 1.0)),
        bottom_loose=float(between(0.1, 1.0)),
        outer_open=float(rng.choice([0.0, between(0.4, 1.0)], p=[0.35, 0.65])),
    )


def sample_outfit(geometry: Geometry, rng: np.random.Generator) -> Outfit:
    """Paint for a person: colours uniform over the palette and independent of one another.

    Independent colours force a model to bind each colour to its garment, not to learn what goes together.
    """
    kinds: dict[int, str | None] = {
        TOP: geometry.top, BOTTOM: geometry.bottom, OUTER: geometry.outer, DRESS: geometry.dress,
        SHOES: geometry.shoes, HAT: geometry.hat, BELT: "belt" if geometry.belt else None,
        GLASSES: "glasses" if geometry.glasses else None,
    }  # fmt: skip
    garments = {slot: _sample_garment(rng, kind, slot) for slot, kind in kinds.items() if kind is not None}
    if SHOES in garments:
        garments[SOLES] = _sample_soles(rng, garments[SHOES])
    skin_tone = str(rng.choice(list(SKIN_TONES)))
    hair_colour = _sample_hair_colour(rng, geometry.age)
    eye_colour = _choose(rng, {"brown": 0.40, "blue": 0.18, "green": 0.14, "grey": 0.12, "hazel": 0.16})
    stubble = {"stubble": 0.62, "moustache": 0.2, "short beard": 0.5, "full beard": 0.6}.get(
        geometry.beard or "", 0.0
    )
    varnished = geometry.sex == "woman" and rng.random() < 0.4
    return Outfit(
        garments=garments,
        hair_colour=hair_colour,
        hair_rgb=jittered(HAIR_COLOURS[hair_colour], rng, 4.0),
        skin_tone=skin_tone,
        skin_rgb=jittered(SKIN_TONES[skin_tone], rng, 3.0),
        eye_colour=eye_colour,
        eye_rgb=jittered(EYE_COLOURS[eye_colour], rng, 3.0),
        lip_strength=float(rng.uniform(0.45, 1.0) if geometry.sex == "woman" else rng.uniform(0.2, 0.5)),
        brow_strength=float(rng.uniform(0.6, 1.0)),
        freckles=float(rng.uniform(0.3, 1.0)) if rng.random() < 0.2 else 0.0,
        stubble=stubble or (float(rng.uniform(0.0, 0.15)) if geometry.sex == "man" else 0.0),
        lines=float(rng.uniform(0.6, 1.0)) if geometry.age == "older" else float(rng.uniform(0.0, 0.15)),
        nails=GARMENT_COLOURS[str(rng.choice(["red", "pink", "purple", "white"]))] if varnished else None,
        seed=int(rng.integers(2**31)),
    )


def _choose(rng: np.random.Generator, shares: Mapping[str, float]) -> str:
    weights = np.array(list(shares.values()))
    return str(rng.choice(list(shares), p=weights / weights.sum()))


def _sample_phenotype(rng: np.random.Generator, sex: str, age: str) -> dict[str, float]:
    """Builds uniform between thin and heavy, short and tall; the outermost tenth of each key looks broken."""
    ages = {"teen": (0.48, 0.58), "adult": (0.62, 0.80), "older": (0.86, 1.0)}
    return {
        "gender": float(rng.uniform(0.85, 1.0) if sex == "woman" else rng.uniform(0.0, 0.15)),
        "age": float(rng.uniform(*ages[age])),
        "muscle": float(rng.uniform(0.2, 0.85)),
        "weight": float(rng.uniform(0.12, 0.88)),
        "height": float(rng.uniform(0.2, 0.8)),
        "proportions": float(rng.uniform(0.0, 0.6)),
    }


def _sample_jitter(rng: np.random.Generator, seated: bool) -> dict[str, tuple[float, float, float]]:
    """Small rotations of the big joints, so that no two people stand alike; a seat holds the legs still."""
    degrees = {"neck01": 4.0, "head": 6.0, "spine03": 2.5, "spine01": 2.0}
    for side in "LR":
        degrees |= {f"upperarm01.{side}": 5.0, f"lowerarm01.{side}": 6.0, f"wrist.{side}": 5.0}
        if not seated:
            degrees |= {f"upperleg01.{side}": 2.5, f"lowerleg01.{side}": 2.5}
    angles = {joint: np.deg2rad(rng.normal(size=3).clip(-2, 2) * d / 2) for joint, d in degrees.items()}
    return {joint: (float(x), float(y), float(z)) for joint, (x, y, z) in angles.items()}


def _sample_hair_style(rng: np.random.Generator, sex: str) -> str:
    women = {
        "buzz": 0.03,
        "short": 0.14,
        "bob": 0.19,
        "long": 0.24,
        "ponytail": 0.15,
        "bun": 0.14,
        "afro": 0.11,
    }
    men = {
        "bald": 0.12,
        "buzz": 0.20,
        "short": 0.36,
        "bob": 0.08,
        "long": 0.08,
        "ponytail": 0.05,
        "afro": 0.11,
    }
    return _choose(rng, women if sex == "woman" else men)


def _sample_beard(rng: np.random.Generator, sex: str, age: str) -> str | None:
    if sex == "woman" or age == "teen" or rng.random() < 0.45:
        return None
    return str(rng.choice(BEARDS))


def _sample_hair_colour(rng: np.random.Generator, age: str) -> str:
    """Each colour is about as frequent as the others over all ages; old people are grey more often."""
    if age == "older" and rng.random() < 0.35:
        return str(rng.choice(["grey", "white"]))
    shares = {"black": 0.21, "brown": 0.21, "blonde": 0.21, "red": 0.19, "grey": 0.09, "white": 0.09}
    return _choose(rng, shares)


def _sample_garment(rng: np.random.Generator, kind: str, slot: int) -> Garment:
    names = list(GARMENT_COLOURS)
    # Half of all jeans are what a prompt most often asks for; the other half may be any colour.
    usual = ["blue", "blue", "navy", "black", "grey"] if kind == "jeans" and rng.random() < 0.5 else names
    if kind == "glasses":
        usual = ["black", "black", "brown", "grey", "red", "navy"]
    colour = str(rng.choice(usual))
    colour2 = _contrasting(rng, colour)
    pattern = _choose(rng, _PATTERN_SHARES.get(kind, {"plain": 1.0}))
    low, high = _SCALES[pattern]
    return Garment(
        kind=kind, slot=slot, colour=colour, rgb=jittered(GARMENT_COLOURS[colour], rng), colour2=colour2,
        rgb2=jittered(GARMENT_COLOURS[colour2], rng), pattern=pattern, scale=float(rng.uniform(low, high)),
        phase=(float(rng.random()), float(rng.random())), duty=float(rng.uniform(0.27, 0.36)),
        seed=int(rng.integers(2**31)),
    )  # fmt: skip


def _sample_soles(rng: np.random.Generator, shoes: Garment) -> Garment:
    """Sneakers have light soles more often than not, other shoes dark ones."""
    light = rng.random() < (0.7 if shoes.kind == "sneakers" else 0.1)
    colour = (
        ("white" if shoes.colour != "white" else "grey") if light else str(rng.choice(["black", "brown"]))
    )
    return Garment(
        kind="soles", slot=SOLES, colour=colour, rgb=jittered(GARMENT_COLOURS[colour], rng), colour2=colour,
        rgb2=GARMENT_COLOURS[colour], pattern="plain", scale=0.004, phase=(0.0, 0.0), duty=0.3,
        seed=int(rng.integers(2**31)),
    )  # fmt: skip


def _contrasting(rng: np.random.Generator, colour: str) -> str:
    """A second colour: often white or black, else any; never the main colour."""
    pool = ["white", "black"] if rng.random() < 0.5 else list(GARMENT_COLOURS)
    choices = [name for name in pool if name != colour]
    return str(rng.choice(choices))
