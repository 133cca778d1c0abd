"""Prompts to embeddings, and the words that are added for each view."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import torch

from vitruvian.core.camera import CameraRig
from vitruvian.core.view_words import view_words
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.text_states import TextStates


@torch.no_grad()
def encode_prompts(prior: Prior, prompts: Sequence[str]) -> TextStates:
    """Last hidden states of the prior's text encoder; equal prompts are encoded once.

    The empty prompt is text like any other: it takes the same path in training and in guidance. Prompts are
    padded to the encoder's length, and cut there (`vocabulary.dropped_words` tells what is lost).
    """
    unique = list(dict.fromkeys(prompts))
    ids = prior.tokenizer(
        unique, padding="max_length", max_length=text_length(prior), truncation=True, return_tensors="pt"
    ).input_ids
    states = prior.text_encoder(ids.to(prior.device))[0]
    return TextStates(states.float())[[unique.index(prompt) for prompt in prompts]]


def view_prompts(prior: Prior, prompt: str, rig: CameraRig, own: Sequence[str] = ()) -> list[str]:
    """One prompt a view: what was asked, what was asked of this view, and from where it sees the body.

    A prompt too long for the text encoder loses words at its end, never those of the view.

    Args:
        own: one a camera, "" for nothing; empty where no view has any.
    """
    return [fit_prompt(prior, prompt.strip(), ending) for ending in view_endings(rig, own)]


def view_endings(rig: CameraRig, own: Sequence[str] = ()) -> list[str]:
    """What stands behind the prompt, one a view; `own` as for `view_prompts`."""
    azimuths = [float(a) for a in rig.azimuth_degrees]
    words = [view_words(azimuth, kind) for azimuth, kind in zip(azimuths, rig.kinds, strict=True)]
    added = [f", {text.strip()}" if text.strip() else "" for text in own] or [""] * len(rig)
    return [a + w for a, w in zip(added, words, strict=True)]


def fit_prompt(prior: Prior, prompt: str, ending: str) -> str:
    """`prompt + ending`, with as many words of `prompt` as the text encoder has room for."""
    words = prompt.split()
    kept = bisect.bisect(
        range(1, len(words) + 1), False, key=lambda n: not _fits(prior, " ".join(words[:n]) + ending)
    )
    return " ".join(words[:kept]) + ending


def text_length(prior: Prior) -> int:
    """Tokens that the text encoder reads, start and end included."""
    return int(prior.text_encoder.config.max_position_embeddings)


def _fits(prior: Prior, text: str) -> bool:
    return len(prior.tokenizer(text, truncation=False, verbose=False).input_ids) <= text_length(prior)
