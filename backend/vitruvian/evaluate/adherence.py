"""Does each garment, and the hair, have the colour that was asked for?"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitruvian.core.colour import ciede2000, srgb_to_lab
from vitruvian.evaluate.metrics import dominant_colour
from vitruvian.evaluate.people import JUDGED_SLOTS, Person, palette_of, region
from vitruvian.wardrobe.palette import nearest_colour

FEWEST_PIXELS = 60
"""A garment that shows less than this over all views is not judged."""


@dataclass(frozen=True)
class ColourFinding:
    """One garment of one person."""

    seed: int
    what: str
    asked: str
    found: str
    """Name of the palette colour nearest to the measured one."""
    difference: float
    """CIEDE2000 between the measured colour and the asked palette colour."""
    rgb: tuple[float, float, float]
    """The measured colour, sRGB in [0, 1]."""

    @property
    def right(self) -> bool:
        return self.asked == self.found


def judge_colours(
    person: Person, images: Float[Tensor, "N 3 H W"], mask: Bool[Tensor, "N H W"]
) -> list[ColourFinding]:
    """Measure the dominant colour of each asked slot where the true person shows it.

    Args:
        images: what was generated, from `person.rig`.
        mask: where the proxy is.
    """
    findings: list[ColourFinding] = []
    pixels = images.permute(0, 2, 3, 1)
    for slot, asked in person.asked.items():
        where = region(person, slot, mask)
        if int(where.sum()) < FEWEST_PIXELS:
            continue
        palette = palette_of(slot)
        measured = dominant_colour(pixels[where])
        target = torch.tensor(palette[asked], dtype=measured.dtype)
        findings.append(
            ColourFinding(
                person.seed,
                JUDGED_SLOTS[slot],
                asked,
                nearest_colour(measured[None], palette)[0],
                float(ciede2000(srgb_to_lab(measured), srgb_to_lab(target))),
                (float(measured[0]), float(measured[1]), float(measured[2])),
            )
        )
    return findings


def share_right(findings: list[ColourFinding]) -> float:
    """Share of findings whose nearest palette colour is the asked one, 0 to 1."""
    return sum(finding.right for finding in findings) / max(len(findings), 1)


def median_difference(findings: list[ColourFinding]) -> float:
    """Median CIEDE2000."""
    return statistics.median([finding.difference for finding in findings]) if findings else float("nan")
