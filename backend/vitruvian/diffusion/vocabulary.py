"""Words of a prompt that a prior cannot follow, told instead of being ignored in silence."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from vitruvian.body.words import BODY_WORDS
from vitruvian.core.camera import CameraRig
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.text import fit_prompt, view_endings

_SILENT = frozenset(
    ("the", "his", "her", "hers", "their", "its", "is", "are", "has", "who", "that", "which", "at", "for",
     "to", "some", "one", "two", "pair")
)  # fmt: skip
"""Words that carry nothing to paint."""


def unknown_words(prior: Prior, texts: Sequence[str]) -> list[str]:
    """Words, each once, that no caption in the training of `prior` held; none where its card does not say.

    Words that shape the built-in body (`body.words`) are not counted: they are followed elsewhere.
    """
    taught = prior.card.get("words", ())
    if not taught:
        return []
    known = _SILENT | BODY_WORDS | set(taught)
    found = (word for text in texts for word in re.findall(r"[^\W\d_]+", text.lower()))
    return [word for word in dict.fromkeys(found) if word not in known]


def dropped_words(prior: Prior, prompt: str, endings: Sequence[str]) -> str:
    """The end of `prompt` that the text encoder has no room for in some view; "" where all fits.

    Args:
        endings: what is put behind the prompt, one a view (`text.view_endings`).
    """
    kept = min(len(fit_prompt(prior, prompt, ending).removesuffix(ending).split()) for ending in endings)
    return " ".join(prompt.split()[kept:])


def prompt_notes(
    prior: Prior, rig: CameraRig, prompt: str, negative: str = "", view_prompts: Sequence[str] = ()
) -> list[str]:
    """What the user should be told about the words, in sentences; arguments as in `methods.inputs.Inputs`."""
    notes = []
    unknown = unknown_words(prior, [prompt, negative, *view_prompts])
    if unknown:
        told = ", ".join(word + _meant(word, prior.card["words"]) for word in unknown)
        notes.append(f"The image model was never taught these words and may ignore them: {told}.")
    dropped = dropped_words(prior, prompt, view_endings(rig, view_prompts))
    if dropped:
        notes.append(
            f"The prompt is longer than the image model reads; some or all views miss its end: {dropped}."
        )
    return notes


def _meant(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.8)
    return f" (meant: {close[0]}?)" if close else ""
