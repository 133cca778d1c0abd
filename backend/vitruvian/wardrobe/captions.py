"""Captions of the wardrobe's people: true, partial, in free order and in many words.

A caption speaks of the whole person whatever the view shows, as a prompt at run time does; what a view
shows is said by `core.view_words` alone. Fabric phases, seeds and scales are never said.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vitruvian.core.camera import ViewKind
from vitruvian.core.view_words import view_words
from vitruvian.wardrobe import phrases
from vitruvian.wardrobe.palette import EYE_COLOURS, GARMENT_COLOURS, HAIR_COLOURS, SKIN_TONES
from vitruvian.wardrobe.records import (
    BEARDS,
    BELT,
    BOTTOM,
    BOTTOMS,
    DRESS,
    GLASSES,
    HAIR_STYLES,
    HAT,
    HATS,
    OUTER,
    OUTERS,
    PATTERNS,
    SHOE_KINDS,
    SHOES,
    TOP,
    TOPS,
    Garment,
    Geometry,
    Outfit,
)  # fmt: skip

_SLOTS = {
    TOP: "top", BOTTOM: "bottom", OUTER: "outer", DRESS: "dress", SHOES: "shoes", HAT: "hat", BELT: "belt",
    GLASSES: "glasses",
}  # fmt: skip
_KINDS = {
    "top": TOPS, "bottom": BOTTOMS, "outer": OUTERS, "dress": ("dress",), "shoes": SHOE_KINDS, "hat": HATS,
    "belt": ("belt",), "glasses": ("glasses",),
}  # fmt: skip
_LENGTHS = ("short", "long")


def _attribute_values() -> dict[str, tuple[str, ...]]:
    values: dict[str, tuple[str, ...]] = {
        "sex": ("woman", "man"), "age": ("teen", "older"), "skin": tuple(SKIN_TONES),
        "hair style": HAIR_STYLES, "hair colour": tuple(HAIR_COLOURS), "eyes": tuple(EYE_COLOURS),
        "beard": (*BEARDS, "beard"), "length": _LENGTHS, "open": ("open", "closed"),
        "side": ("left", "right"), "behind": ("behind",), "framing": ("body", "upper", "face"),
    }  # fmt: skip
    for slot, kinds in _KINDS.items():
        values |= {f"{slot} kind": kinds, f"{slot} colour": tuple(GARMENT_COLOURS)}
        if slot not in ("belt", "glasses", "shoes"):
            values |= {f"{slot} pattern": PATTERNS, f"{slot} colour2": tuple(GARMENT_COLOURS)}
    return values


ATTRIBUTES: dict[str, tuple[str, ...]] = _attribute_values()
"""Everything that a caption can say, and the values it can take."""


@dataclass(frozen=True)
class Caption:
    text: str
    said: dict[str, str] = field(default_factory=dict)
    """Attribute -> value, for every attribute that the text gives away; keys and values of `ATTRIBUTES`."""


def caption(
    geometry: Geometry,
    outfit: Outfit,
    rng: np.random.Generator,
    azimuth_degrees: float | None = None,
    kind: ViewKind = "extra",
) -> str:
    """A caption in words only; see `compose`."""
    return compose(geometry, outfit, rng, azimuth_degrees, kind).text


def compose(
    geometry: Geometry,
    outfit: Outfit,
    rng: np.random.Generator,
    azimuth_degrees: float | None = None,
    kind: ViewKind = "extra",
) -> Caption:
    """Describe a person; `azimuth_degrees` and `kind` add the run-time view words (none when it is None).

    The same arguments and generator state give the same caption.
    """
    said: dict[str, str] = {}
    person = _person(geometry, outfit, rng, said)
    clothes = _clothes(geometry, outfit, rng, said)
    text = _assemble(person, clothes, rng)
    if azimuth_degrees is not None:
        words = view_words(azimuth_degrees, kind)
        text += words
        said |= _view_attributes(words, kind)
    return Caption(text, said)


def _view_attributes(words: str, kind: ViewKind) -> dict[str, str]:
    found = {"framing": str(kind)} if kind != "extra" else {}
    for side in ("left", "right"):
        if f"{side}-hand side" in words:
            found["side"] = side
    return found | ({"behind": "behind"} if "from behind" in words else {})


@dataclass(frozen=True)
class _Person:
    noun: str
    """With its adjectives, without an article."""
    features: list[str]
    """What follows "with"."""


def _person(geometry: Geometry, outfit: Outfit, rng: np.random.Generator, said: dict[str, str]) -> _Person:
    noun = _pick(rng, phrases.PERSON_NOUNS[geometry.sex, geometry.age])
    if rng.random() < 0.06:
        noun = "person"
    else:
        said["sex"] = geometry.sex
        if noun in phrases.AGE_OF_NOUN:
            said["age"] = phrases.AGE_OF_NOUN[noun]
    features: list[str] = []
    if geometry.hair_style == "bald":
        if rng.random() < 0.9:
            said["hair style"] = "bald"
            if rng.random() < 0.6:
                noun = f"bald {noun}"
            else:
                features.append(_pick(rng, ("a bald head", "no hair")))
    elif rng.random() < 0.9:
        features.append(_hair(geometry, outfit, rng, said))
    if rng.random() < 0.45:
        said["skin"] = outfit.skin_tone
        tone = _pick(rng, phrases.SKIN_PHRASES[outfit.skin_tone])
        if rng.random() < 0.5:
            noun = f"{tone}-skinned {noun}"
        else:
            features.append(f"{tone} skin")
    if rng.random() < 0.06:
        said["eyes"] = outfit.eye_colour
        features.append(f"{outfit.eye_colour} eyes")
    if geometry.beard is not None and rng.random() < 0.85:
        phrase = _pick(rng, phrases.BEARD_PHRASES[geometry.beard])
        said["beard"] = "beard" if phrase == "a beard" else geometry.beard
        if rng.random() < 0.3 and phrase == "a beard":
            noun = f"bearded {noun}"
        else:
            features.append(phrase)
    return _Person(noun, _shuffled(rng, features))


def _hair(geometry: Geometry, outfit: Outfit, rng: np.random.Generator, said: dict[str, str]) -> str:
    colour = _pick(rng, phrases.HAIR_COLOUR_WORDS[outfit.hair_colour])
    if rng.random() < 0.92:
        said["hair colour"] = outfit.hair_colour
    else:
        colour = ""
    if colour and rng.random() < 0.08:
        return f"{colour} hair"
    said["hair style"] = geometry.hair_style
    phrase = " ".join(_pick(rng, phrases.HAIR_PHRASES[geometry.hair_style]).format(c=colour).split())
    return with_article(phrase.removeprefix("a ")) if phrase.startswith("a ") else phrase


def _clothes(geometry: Geometry, outfit: Outfit, rng: np.random.Generator, said: dict[str, str]) -> list[str]:
    told: list[str] = []
    for slot, share in _SHARES.items():
        garment = outfit.garments.get(slot)
        covered = slot in (TOP, DRESS) and geometry.outer is not None and geometry.outer_open == 0.0
        if garment is not None and rng.random() < share * (0.6 if covered else 1.0):
            told.append(_garment(geometry, garment, rng, said))
    return told if rng.random() < 0.5 else _shuffled(rng, told)


def _garment(geometry: Geometry, garment: Garment, rng: np.random.Generator, said: dict[str, str]) -> str:
    """E.g. "a red striped shirt", "blue jeans", "a red and white striped shirt", "a coat with white dots"."""
    slot = _SLOTS[garment.slot]
    said[f"{slot} kind"] = garment.kind
    noun = _pick(rng, phrases.KIND_NOUNS[garment.kind])
    colours = _pick(rng, phrases.COLOUR_WORDS[garment.colour])
    with_colour = rng.random() < (0.5 if slot == "glasses" else 0.95)
    if with_colour:
        said[f"{slot} colour"] = garment.colour
    adjectives: list[str] = []
    tail = ""
    if f"{slot} pattern" in ATTRIBUTES and rng.random() < _PATTERN_SAID.get(garment.pattern, 0.93):
        said[f"{slot} pattern"] = garment.pattern
        tells_second = garment.pattern in phrases.PATTERN_NOUNS and with_colour
        second = _pick(rng, phrases.COLOUR_WORDS[garment.colour2])
        style = rng.random()
        if tells_second and style < 0.18:
            said[f"{slot} colour2"] = garment.colour2
            tail = _tail(_pick(rng, phrases.PATTERN_NOUNS[garment.pattern]), second)
        elif tells_second and style < 0.30 and garment.pattern != "print":
            said[f"{slot} colour2"] = garment.colour2
            colours = f"{colours} and {second}"
            adjectives.append(_pick(rng, phrases.PATTERN_ADJECTIVES[garment.pattern]))
        elif garment.kind != "jeans":
            adjectives.append(_pick(rng, phrases.PATTERN_ADJECTIVES[garment.pattern]))
    if with_colour:
        adjectives.insert(0 if rng.random() < 0.8 or " and " in colours else len(adjectives), colours)
    adjectives = [*_shape(geometry, slot, rng, said), *adjectives]
    phrase = " ".join([*adjectives, noun]) + tail
    return phrase if garment.kind in phrases.PLURAL_KINDS else with_article(phrase)


_SHARES = {
    DRESS: 0.96, OUTER: 0.94, TOP: 0.93, BOTTOM: 0.93, SHOES: 0.85, HAT: 0.92, GLASSES: 0.9, BELT: 0.5,
}  # fmt: skip
"""How often a garment is mentioned."""
_PATTERN_SAID = {"plain": 0.12, "denim": 0.8, "knit": 0.6}


def _tail(noun: str, colour: str) -> str:
    article, _, rest = noun.rpartition(" ")
    return " with " + (with_article(f"{colour} {rest}") if article == "a" else f"{colour} {noun}")


def _shape(geometry: Geometry, slot: str, rng: np.random.Generator, said: dict[str, str]) -> list[str]:
    """Length of skirts and dresses, openness of jackets: said now and then."""
    hem = {
        "dress": geometry.dress_hem,
        "bottom": geometry.bottom_hem if geometry.bottom == "skirt" else 0.6,
    }.get(slot)
    if hem is not None and not 0.5 <= hem <= 0.7 and rng.random() < 0.35:
        said["length"] = "short" if hem < 0.5 else "long"
        return [said["length"]]
    if slot == "outer" and rng.random() < 0.25:
        said["open"] = "open" if geometry.outer_open > 0.0 else "closed"
        return [said["open"]]
    return []


def _assemble(person: _Person, clothes: list[str], rng: np.random.Generator) -> str:
    style = rng.random()
    if style < 0.15:  # a list of tags
        tags = _shuffled(rng, [*person.features, *clothes])
        return ", ".join(
            [person.noun if rng.random() < 0.5 else with_article(person.noun), *map(_bare, tags)]
        )
    features = f" with {_join(person.features)}" if person.features else ""
    if style < 0.25 and clothes:  # clothes first
        return f"{_join(clothes)} on {with_article(person.noun)}{features}"
    verb = _pick(rng, ("in", "in", "wearing", "dressed in"))
    subject = with_article(person.noun)
    if rng.random() < 0.1:
        subject = _pick(rng, phrases.OPENINGS) + subject
    if style < 0.40 and clothes and features:
        return f"{subject} {verb} {_join(clothes)},{features}"
    dressed = f" {verb} {_join(clothes)}" if clothes else ""
    return f"{subject}{features}{dressed}"


def with_article(phrase: str) -> str:
    """`phrase` with "a" or "an" in front of it."""
    return ("an " if phrase[0] in "aeio" else "a ") + phrase


def _bare(phrase: str) -> str:
    return phrase.removeprefix("a ").removeprefix("an ")


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def _shuffled(rng: np.random.Generator, items: list[str]) -> list[str]:
    return [items[i] for i in rng.permutation(len(items))]
