"""The people that everything is judged on: test subjects of the wardrobe, what is asked, what is true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from vitruvian.body.body import Body
from vitruvian.core.camera import CameraRig
from vitruvian.evaluate.metrics import erode
from vitruvian.render.rigs import default_rig
from vitruvian.wardrobe.captions import Caption, compose
from vitruvian.wardrobe.dress import dress
from vitruvian.wardrobe.paint import paint
from vitruvian.wardrobe.palette import GARMENT_COLOURS, HAIR_COLOURS, RGB
from vitruvian.wardrobe.records import BOTTOM, DRESS, HAIR, OUTER, SHOES, TOP
from vitruvian.wardrobe.render import SUPERSAMPLING, DressedPixels, render_dressed
from vitruvian.wardrobe.subject import sample_subject, seeds_of

JUDGED_SLOTS = {TOP: "top", BOTTOM: "bottom", OUTER: "outer", DRESS: "dress", SHOES: "shoes", HAIR: "hair"}
_CAPTION_TRIES = 40


@dataclass(frozen=True)
class Person:
    """A test subject seen by `rig`."""

    seed: int
    prompt: str
    asked: dict[int, str]
    """Material slot -> the name of the colour that the prompt asks for."""
    body: Body
    """The bare proxy, as at run time."""
    rig: CameraRig
    truth: Float[Tensor, "N 3 H W"]
    """Renderings of the dressed person, RGB in [0, 1], white background."""
    slots: UInt8[Tensor, "N H W"]
    """Material slot of each pixel; 0 where the pixel is background or mixed."""


def held_out_people(count: int, size: int, views_per_ring: int) -> list[Person]:
    """The first `count` people of the test split, seen by the default rings."""
    return [_person(seed, size, views_per_ring) for seed in seeds_of("test", count)]


def palette_of(slot: int) -> dict[str, RGB]:
    """The colours among which the nearest one is looked for."""
    return HAIR_COLOURS if slot == HAIR else GARMENT_COLOURS


def _person(seed: int, size: int, views_per_ring: int) -> Person:
    subject = sample_subject(seed)
    dressed = dress(subject.geometry)
    rig = default_rig(dressed.body.mesh, size, views_per_ring)
    pixels = render_dressed(dressed, rig)
    words = _fullest_caption(seed)
    asked = {
        slot: words.said["hair colour" if slot == HAIR else f"{name} colour"]
        for slot, name in JUDGED_SLOTS.items()
        if ("hair colour" if slot == HAIR else f"{name} colour") in words.said
    }
    truth = paint(pixels, subject.outfit, subject.geometry)
    return Person(seed, words.text, asked, dressed.body, rig, truth, pure_slots(pixels))


def _fullest_caption(seed: int) -> Caption:
    """Of the captions this person may get, the one that says most colours."""
    subject = sample_subject(seed)
    rng = np.random.default_rng([seed, 2])
    captions = [compose(subject.geometry, subject.outfit, rng) for _ in range(_CAPTION_TRIES)]
    return max(captions, key=lambda c: sum(key.endswith("colour") for key in c.said))


def pure_slots(pixels: DressedPixels) -> UInt8[Tensor, "N H W"]:
    """The slot of every final pixel whose supersamples all agree, else 0."""
    fine = np.zeros((pixels.views, pixels.height * pixels.width), dtype=np.uint8)
    fine[pixels.view, pixels.pixel] = pixels.slot
    s = SUPERSAMPLING
    blocks = fine.reshape(pixels.views, pixels.height // s, s, pixels.width // s, s)
    first = blocks[:, :, :1, :, :1]
    pure = (blocks == first).all(axis=(2, 4))
    return torch.from_numpy(np.where(pure, first[:, :, 0, :, 0], 0).astype(np.uint8))


def region(person: Person, slot: int, mask: Bool[Tensor, "N H W"]) -> Bool[Tensor, "N H W"]:
    """Where `slot` is to be seen on the proxy, a pixel away from its border."""
    return erode((person.slots == slot) & mask, 1)
