"""Prompts to embeddings, and the words that are added for each view."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.view_words import view_words
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.text_states import TextStates


@torch.no_grad()
def encode_prompts(prior: Prior, prompts: Sequence[str]) -> TextStates:
    """Hidden states of the prior's text encoders; equal prompts are encoded once.

    The last states of one encoder; of two (SDXL) the last but one, side by side, and the pooled vector of the
    second. Prompts are padded to the encoders' length, and cut there (`vocabulary.dropped_words` tells what
    is lost). With an IP-Adapter they bring an empty picture along, which says nothing.
    """
    unique = list(dict.fromkeys(prompts))
    encoded = _one_encoder(prior, unique) if prior.text_encoder_2 is None else _two_encoders(prior, unique)
    if prior.style is not None:
        blank = prior.style.blank.to(prior.device)
        encoded = replace(encoded, picture=blank.expand(len(unique), *blank.shape))
    return encoded.each(torch.Tensor.float)[[unique.index(prompt) for prompt in prompts]]


def encode_negatives(prior: Prior, prompts: Sequence[str]) -> TextStates:
    """What guidance leads away from. An empty one is zeros if the prior was trained so, else a text like any
    other: it takes the same path in training and in guidance."""
    text = encode_prompts(prior, prompts)
    if not prior.zero_empty_prompt:
        return text
    said = torch.tensor([float(bool(prompt.strip())) for prompt in prompts], device=prior.device)
    silenced = text.each(lambda part: part * said.view(-1, *[1] * (part.dim() - 1)))
    return replace(silenced, picture=text.picture)


def _one_encoder(prior: Prior, prompts: Sequence[str]) -> TextStates:
    ids = _ids(prior, prior.tokenizer, prompts)
    if not prior.clip_skip:
        return TextStates(prior.text_encoder(ids)[0])
    hidden = prior.text_encoder(ids, output_hidden_states=True).hidden_states[-(prior.clip_skip + 1)]
    # Only the last layer's states pass the final normalisation by themselves.
    return TextStates(getattr(prior.text_encoder, "text_model", prior.text_encoder).final_layer_norm(hidden))


def _two_encoders(prior: Prior, prompts: Sequence[str]) -> TextStates:
    pairs: Any = ((prior.tokenizer, prior.text_encoder), (prior.tokenizer_2, prior.text_encoder_2))
    made = [
        encoder(_ids(prior, tokenizer, prompts), output_hidden_states=True) for tokenizer, encoder in pairs
    ]
    states = [output.hidden_states[-(prior.clip_skip + 2)] for output in made]
    return TextStates(torch.cat(states, dim=-1), made[1].text_embeds)


def _ids(prior: Prior, tokenizer: Any, prompts: Sequence[str]) -> Int[Tensor, "N L"]:
    ids = tokenizer(
        list(prompts),
        padding="max_length",
        max_length=text_length(prior),
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return ids.to(prior.device)


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
