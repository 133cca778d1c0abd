"""The fixed evaluation: the same people, prompts and seeds for every prior and every version of the code."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from vitruvian.core.images import Avatar
from vitruvian.core.report import Report, silent
from vitruvian.diffusion.prior import Prior
from vitruvian.evaluate.adherence import ColourFinding, judge_colours, median_difference, share_right
from vitruvian.evaluate.consistency import (
    PatchPool,
    ViewFigures,
    measure_views,
    reconstruction_psnr,
    truth_floor,
)
from vitruvian.evaluate.people import Person, held_out_people
from vitruvian.methods.inputs import Inputs
from vitruvian.methods.mvhuman import MVHumanSettings, run
from vitruvian.render.texturing import render_texture

SEED = 7
QUICK_RING, FULL_RING = 4, 8
"""Views per ring when colours are judged (24 people), and when views are compared (a few people)."""


@dataclass(frozen=True)
class Target:
    """One line of the table."""

    what: str
    value: float
    target: str
    met: bool | None
    """None where the line is there to be read only."""
    unit: str = ""


@dataclass(frozen=True)
class Evaluation:
    colours: list[ColourFinding]
    colours_of_truth: list[ColourFinding]
    """The same measurement on true renderings: how far the measurement itself can be trusted."""
    reconstructions: list[float]
    """dB of the autoencoder's reconstruction of each true rendering."""
    guided: list[ViewFigures]
    independent: list[ViewFigures]
    pooled_guided: float
    """Patch distance of all guided views to all true renderings."""
    pooled_independent: float
    floor: float
    """The same between two halves of the true renderings."""

    def table(self) -> list[Target]:
        guided, alone = _means(self.guided), _means(self.independent)
        right, true = share_right(self.colours), share_right(self.colours_of_truth)
        difference = median_difference(self.colours)
        overlap, gain = guided.overlap_psnr, guided.overlap_psnr - alone.overlap_psnr
        sharp = guided.sharpness / alone.sharpness
        near, far = guided.patch_distance, alone.patch_distance
        drawn = statistics.fmean(self.reconstructions)
        again, covered = guided.texture_psnr, guided.coverage
        return [
            Target("colours: nearest palette colour right", 100 * right, ">= 90", right >= 0.90, "%"),
            Target("colours: the same on true renderings", 100 * true, "", None, "%"),
            Target("colours: median CIEDE2000", difference, "<= 12", difference <= 12),
            Target("autoencoder, mean of the pictures, inside the body", drawn, ">= 28", drawn >= 28, "dB"),
            Target("overlap PSNR, guided", overlap, ">= 28", overlap >= 28, "dB"),
            Target("overlap PSNR, independent", alone.overlap_psnr, "", None, "dB"),
            Target("overlap PSNR, gain", gain, ">= 6", gain >= 6, "dB"),
            Target("Laplacian energy, guided / independent", sharp, ">= 0.85", sharp >= 0.85),
            Target("patch distance to the person's truth, guided", near, "<= independent", near <= far),
            Target("patch distance to the person's truth, independent", far, "", None),
            Target("all people's patches together, guided", self.pooled_guided, "", None),
            Target("all people's patches together, independent", self.pooled_independent, "", None),
            Target("all people's patches together, halves of the truth", self.floor, "", None),
            Target("texture drawn again vs its views", again, ">= 30", again >= 30, "dB"),
            Target("coverage of visible texels", 100 * covered, ">= 99.5", covered >= 0.995, "%"),
        ]


def evaluate(
    prior: Prior,
    out: Path,
    report: Report,
    people: int = 24,
    compared: int = 4,
    settings: MVHumanSettings | None = None,
) -> Evaluation:
    """Run the whole protocol and write `evaluation.json` and contact sheets to `out`.

    Args:
        people: test people whose colours are judged, on the finished texture.
        compared: test people sampled twice, guided and independently, with the full rig.
    """
    settings = settings or MVHumanSettings()
    settings = replace(settings, seed=SEED)
    out.mkdir(parents=True, exist_ok=True)
    colours, truth, drawn = _judge_all_colours(prior, out, report, people, settings)
    everyone = held_out_people(max(compared, 2), prior.image_size, FULL_RING)
    guided: list[ViewFigures] = []
    independent: list[ViewFigures] = []
    pool = PatchPool(compared)
    for index, person in enumerate(everyone[:compared]):
        report("guided against independent", index, compared)
        avatar = make(person, prior, settings)
        single = make(person, prior, replace(settings, consistency=None))
        guided.append(measure_views(person, avatar))
        independent.append(measure_views(person, single))
        pool.add(person, {"guided": avatar.views, "independent": single.views})
        sheet(out / f"views_{person.seed}.png", [person.truth, avatar.views.images, single.views.images])
    report("guided against independent", compared, compared)
    evaluation = Evaluation(
        colours=colours,
        colours_of_truth=truth,
        reconstructions=drawn,
        guided=guided,
        independent=independent,
        pooled_guided=pool.distance("guided"),
        pooled_independent=pool.distance("independent"),
        floor=truth_floor(everyone),
    )
    (out / "evaluation.json").write_text(json.dumps(_as_json(evaluation, prior), indent=1))
    return evaluation


def make(person: Person, prior: Prior, settings: MVHumanSettings) -> Avatar:
    """The avatar that `vitruvian generate` would make for this person's prompt, body and cameras."""
    inputs = Inputs(body=person.body, rig=person.rig, prompt=person.prompt)
    return run(inputs, settings, prior, silent)


def sheet(path: Path, rows: list[torch.Tensor]) -> None:
    """Rows of views, [N, 3, H, W] in [0, 1], as one picture."""
    stacked = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    pixels = (stacked.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    Image.fromarray(pixels).save(path)


def _judge_all_colours(
    prior: Prior, out: Path, report: Report, count: int, settings: MVHumanSettings
) -> tuple[list[ColourFinding], list[ColourFinding], list[float]]:
    """Findings on what was made and on the truth, and how well the autoencoder reconstructs the truth."""
    drawn: list[float] = []
    found: list[ColourFinding] = []
    true: list[ColourFinding] = []
    rows: list[torch.Tensor] = []
    for index, person in enumerate(held_out_people(count, prior.image_size, QUICK_RING)):
        report("colours asked and found", index, count)
        avatar = make(person, prior, settings)
        mask = avatar.views.gbuffer.mask
        textured = render_texture(avatar.mesh, avatar.views.gbuffer, avatar.texture.albedo)
        found += judge_colours(person, textured, mask)
        true += judge_colours(person, person.truth, mask)
        drawn += reconstruction_psnr(prior, person, mask)
        rows += [person.truth, textured]
    report("colours asked and found", count, count)
    for first in range(0, len(rows), 12):
        sheet(out / f"colours_{first // 12}.png", rows[first : first + 12])
    return found, true, drawn


def _means(figures: list[ViewFigures]) -> ViewFigures:
    means = {key: statistics.fmean(getattr(f, key) for f in figures) for key in vars(figures[0])}
    return ViewFigures(**means)


def _as_json(evaluation: Evaluation, prior: Prior) -> dict[str, Any]:
    return {
        "prior": {"name": prior.name, "sha256": prior.hash},
        "seed": SEED,
        "table": [asdict(line) for line in evaluation.table()],
        **asdict(evaluation),
    }
