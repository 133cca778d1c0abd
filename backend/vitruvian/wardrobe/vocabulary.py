"""Every word that a caption of the wardrobe can hold: what a prior that is trained on it was taught."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from vitruvian.core.view_words import FRAMING_WORDS, view_words
from vitruvian.wardrobe import phrases
from vitruvian.wardrobe.palette import EYE_COLOURS

CONNECTING = (
    "a an and in on wearing dressed with person body short long open closed bald bearded no head hair skin "
    "skinned eyes"
)
"""What `captions` itself puts between the phrases."""

_NOUNS: Mapping[str, tuple[str, ...]] = {
    "who": tuple(dict.fromkeys(w for words in phrases.PERSON_NOUNS.values() for w in words)),
    "hair": (
        *(p.format(c="black") for words in phrases.HAIR_PHRASES.values() for p in words),
        "a bald head",
    ),
    "colours of hair": tuple(w for words in phrases.HAIR_COLOUR_WORDS.values() for w in words),
    "beards": tuple(w for words in phrases.BEARD_PHRASES.values() for w in words),
    "skin": tuple(f"{w} skin" for words in phrases.SKIN_PHRASES.values() for w in words),
    "eyes": tuple(f"{colour} eyes" for colour in EYE_COLOURS),
    "garments": tuple(w for words in phrases.KIND_NOUNS.values() for w in words),
    "colours of garments": tuple(w for words in phrases.COLOUR_WORDS.values() for w in words),
    "patterns": tuple(
        w for words in (*phrases.PATTERN_ADJECTIVES.values(), *phrases.PATTERN_NOUNS.values()) for w in words
    ),
    "lengths and fronts": ("a short skirt", "a long dress", "an open jacket", "a closed coat"),
}


def topics() -> dict[str, list[str]]:
    """Phrases by what they speak of, each once, in the order of the wardrobe."""
    return {topic: list(dict.fromkeys(found)) for topic, found in _NOUNS.items()}


def caption_words() -> list[str]:
    """All words of all captions, in lower case, sorted; hyphenated ones count as their parts."""
    views = [view_words(azimuth, kind) for azimuth in (0.0, 90.0, -90.0, 180.0) for kind in FRAMING_WORDS]
    return words_of([CONNECTING, *(p for found in _NOUNS.values() for p in found), *phrases.OPENINGS, *views])


def words_of(texts: Iterable[str]) -> list[str]:
    return sorted({word for text in texts for word in re.findall(r"[a-z]+", text.lower())})


def page() -> str:
    """docs/vocabulary.md."""
    told = [f"**{topic.capitalize()}**: {', '.join(found)}.\n" for topic, found in topics().items()]
    return "\n".join([_INTRODUCTION, *told, _LIMITS])


_INTRODUCTION = """# What the bundled prior knows

`mini` learned from captions of this project's own synthetic people, and from nothing else. It knows the words
below, in any order and in part. `vitruvian generate`, the service and Blender's panel name the words of a
prompt that it was never taught. (Written by `python scripts/vocabulary_page.py`; a test compares.)
"""
_LIMITS = """Words about the build of the person (thin, heavy, muscular, tall, and the like) shape the
built-in body ([bodies](bodies.md)). Without effect, for no caption says them: who somebody is, mood, light,
places, art styles, brands, and "no" or "without": what you do not want goes into `--negative`.
"""
