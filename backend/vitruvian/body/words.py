"""The shape of the built-in body that a prompt suggests, where the user has not set one."""

from __future__ import annotations

import re

ADULT = {"age": 0.67}
"""Anny's own middle age, 0.5, is a teenager."""

_HINTS: tuple[tuple[str, dict[str, float]], ...] = (
    (r"wom[ae]n|lady|ladies|female|girl|grandmother|businesswoman", {"gender": 0.95}),
    (r"m[ae]n|gentlem[ae]n|male|guy|boy|grandfather|businessman", {"gender": 0.05}),
    (r"old|older|elderly|senior|aged|grandmother|grandfather", {"age": 0.92}),
    (r"teen|teenage|teenaged|teenager|adolescent|girl|boy", {"age": 0.53}),
    (r"heavy|overweight|fat|chubby|stout|plump", {"weight": 0.85}),
    (r"thin|slim|slender|skinny", {"weight": 0.2}),
    (r"muscular|athletic|strong", {"muscle": 0.85}),
    (r"tall", {"height": 0.75}),
)

BODY_WORDS = frozenset(
    word.replace("[ae]", vowel) for words, _ in _HINTS for word in words.split("|") for vowel in "ae"
)
"""Every word that means something here."""


def phenotype_from_words(prompt: str) -> dict[str, float]:
    """Phenotype settings (`anny_arrays.PHENOTYPES`, each in [0, 1]) for the person a prompt describes.

    Only whole words before the first "in", "wearing" or "with" count, for "a man in slim jeans" is not slim;
    where both sexes are named, neither is taken.
    """
    who = re.split(r"\b(?:in|wearing|with|dressed)\b|,", prompt.lower(), maxsplit=1)[0]
    found = dict(ADULT)
    sexes: set[float] = set()
    for words, values in _HINTS:
        if re.search(rf"\b(?:{words})\b", who):
            found |= values
            sexes |= {values["gender"]} if "gender" in values else set()
    if len(sexes) > 1:
        del found["gender"]
    return found
