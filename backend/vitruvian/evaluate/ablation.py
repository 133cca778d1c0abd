"""What each device of multi-view sampling brings: each is switched off in turn, all else kept."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from vitruvian.core.report import Report
from vitruvian.diffusion.consistency import ConsistencySettings
from vitruvian.diffusion.prior import Prior
from vitruvian.evaluate.consistency import ViewFigures, measure_views
from vitruvian.evaluate.people import held_out_people
from vitruvian.evaluate.protocol import FULL_RING, SEED, make, sheet
from vitruvian.methods.mvhuman import MVHumanSettings


@dataclass(frozen=True)
class Ablation:
    name: str
    figures: list[ViewFigures]
    seconds: float
    """Mean time of the sampling stage, for comparison within one run only."""

    def mean(self, key: str) -> float:
        return statistics.fmean(getattr(f, key) for f in self.figures)


def variants(prior: Prior) -> dict[str, MVHumanSettings]:
    """The default, then the default with one device changed each; last, what makes guidance cheaper."""
    full = MVHumanSettings(seed=SEED)
    consistency = full.consistency or ConsistencySettings()

    def changed(**changes: object) -> MVHumanSettings:
        return replace(full, consistency=replace(consistency, **changes))  # pyright: ignore[reportArgumentType]

    tiny = {
        "round trip cancelled and tiny autoencoder": changed(cancel_round_trip=True, tiny=True, every_n=1),
    }
    return {
        "full": full,
        "independent views": replace(full, consistency=None),
        "no reference attention": replace(full, reference=False),
        "round trip cancelled": changed(cancel_round_trip=True),
        "guided at every second step": changed(every_n=2),
        "variance not kept": changed(keep_variance=False),
        "plain averaging (power 0)": changed(power_start=0.0, power_end=0.0),
        "pairwise neighbour warps": replace(full, fuser="neighbours"),
        "guided until 80 % of the steps": changed(end=0.8),
        "round trip cancelled and every tenth step": changed(cancel_round_trip=True, tiny=False, every_n=10),
        **(tiny if prior.tiny_vae is not None else {}),
    }


def ablate(prior: Prior, out: Path, report: Report, people: int = 2) -> list[Ablation]:
    """Measure every variant on the same people and seeds; writes `ablation.json` and a sheet each."""
    out.mkdir(parents=True, exist_ok=True)
    everyone = held_out_people(people, prior.image_size, FULL_RING)
    results: list[Ablation] = []
    settings = variants(prior)
    for index, (name, variant) in enumerate(settings.items()):
        report("ablation", index, len(settings))
        avatars = [make(person, prior, variant) for person in everyone]
        figures = [measure_views(p, avatar) for p, avatar in zip(everyone, avatars, strict=True)]
        seconds = statistics.fmean(avatar.report["seconds"]["sampling"] for avatar in avatars)
        results.append(Ablation(name, figures, seconds))
        # First, and after every variant: a run that is killed leaves what it has, in a folder known as ours.
        (out / "ablation.json").write_text(json.dumps([asdict(result) for result in results], indent=1))
        sheet(out / f"{name.split('(')[0].strip().replace(' ', '_').replace('%', 'percent')}.png",
              [avatar.views.images for avatar in avatars])  # fmt: skip
    report("ablation", len(settings), len(settings))
    return results
