"""A whole job, stage by stage, and its sampling against diffusers' own pipeline view by view."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from vitruvian.body.anny_body import anny_body
from vitruvian.core.report import Report, silent
from vitruvian.diffusion.catalogue import VRAM_MODES
from vitruvian.diffusion.counting import count
from vitruvian.diffusion.full_size import check_room, random_prior
from vitruvian.diffusion.loading import load_prior
from vitruvian.diffusion.pipeline import pipeline_of
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.text import view_prompts
from vitruvian.diffusion.weights import ControlWeight
from vitruvian.evaluate.bench.floor import floor_table, matrix_rate
from vitruvian.evaluate.protocol import Target
from vitruvian.export.folder import write_files
from vitruvian.methods.inputs import Inputs
from vitruvian.methods.mvhuman import MVHumanSettings, control_images, paint_views, run, suited
from vitruvian.methods.record import Account
from vitruvian.render.conditions import render_conditions
from vitruvian.render.rigs import default_rig

DEMO_PROMPT = "a woman with short black hair in a red striped shirt, blue jeans and white sneakers"
ROUND_STEPS, ROUNDS = 5, 3
"""Steps of a timed round of plain sampling, and rounds: ours and theirs in turn."""


@dataclass(frozen=True)
class Bench:
    """What is timed, and what it should reach."""

    steps: int
    texture: int
    times_diffusers: float
    sampling_seconds: float | None = None
    whole_seconds: float = 90.0
    matrix_share: float | None = None


DEMO = Bench(steps=20, texture=1024, times_diffusers=1.5)
ON_A_CARD = Bench(
    steps=30,
    texture=4096,
    times_diffusers=2.5,
    sampling_seconds=5.0,
    whole_seconds=12.0,
    matrix_share=35.0,
)
"""16 views of 512 px at Stable Diffusion 1.5's size."""


def bench_generate(
    prior_name: str, device: torch.device, report: Report, show: Callable[[str, list[Target]], None]
) -> None:
    """The demo's job with a prior: what it cannot do without, its stages, and the alternatives.

    Measured in this process after the prior is loaded: what `vitruvian generate` adds is loading.

    Args:
        show: is given each table with its title.
    """
    begin = time.perf_counter()
    prior = load_prior(prior_name, device)
    loading = time.perf_counter() - begin
    show("operations, counted", floor_of(prior, DEMO))
    show("sampling without guidance, 16 views", against_diffusers(prior, DEMO))
    stages = whole_job(prior, DEMO, report, loading)
    show(f"the demo's job: 16 views, {DEMO.steps} steps, {DEMO.texture} px texture", stages)


def bench_full_size(
    family: str, device: torch.device, report: Report, show: Callable[[str, list[Target]], None]
) -> None:
    """The same with networks of a known family's size and random weights, which cost the same.

    Raises:
        UserError: a machine on which they do not fit; what they cost is counted and shown even so.
    """
    ghost = random_prior(family, torch.device("meta"))
    show(f"operations at {family}'s size, counted", floor_of(ghost, ON_A_CARD))
    check_room(device)
    prior = random_prior(family, device)
    show(f"sampling without guidance, 16 views, {family}'s size", against_diffusers(prior, ON_A_CARD))
    show("the whole job, warm", whole_job(prior, ON_A_CARD, report, 0.0))
    show("most memory of the card, by mode", memory_by_mode(prior, report))


def floor_of(prior: Prior, bench: Bench) -> list[Target]:
    """Operations of the job with the settings that suit the prior."""
    settings = suited(MVHumanSettings(steps=bench.steps), prior)
    assert settings.consistency is not None
    return floor_table(prior, settings.consistency, 16, bench.steps)


def against_diffusers(
    prior: Prior, bench: Bench, steps: int = ROUND_STEPS, rounds: int = ROUNDS
) -> list[Target]:
    """Plain sampling of 16 views, ours together and diffusers' pipeline one by one, in turn.

    Same networks, ControlNets, steps and guidance; neither attends to a reference, neither decodes. Every
    round encodes its texts and embeds its conditions, which weighs more in few steps than in many.
    """
    inputs = _inputs(prior)
    settings = suited(MVHumanSettings(steps=steps, reference=False, consistency=None), prior)
    ours, theirs = _ours(inputs, settings, prior), _theirs(inputs, settings, prior)
    times: dict[Callable[[], float], list[float]] = {ours: [], theirs: []}
    for turn in range(rounds + 1):
        for way, seconds in times.items():
            spent = way()
            if turn:  # the first round warms caches up
                seconds.append(spent)
    ratio = statistics.median(b / a for a, b in zip(times[ours], times[theirs], strict=True))
    mine, others = (statistics.median(seconds) for seconds in times.values())
    rate = len(inputs.rig) * steps * count(prior).step.operations / mine
    peak, whole = matrix_rate(prior.device, prior.dtype), mine * bench.steps / steps
    wanted, share = bench.sampling_seconds, bench.matrix_share
    reached = 100 * rate / peak
    return [
        Target(f"ours, {steps} steps", mine, "", None, "s"),
        Target(f"diffusers' pipeline view by view, {steps} steps", others, "", None, "s"),
        Target("diffusers / ours", ratio, f">= {bench.times_diffusers:g}", ratio >= bench.times_diffusers),
        Target(f"ours, {bench.steps} steps", whole, f"<= {wanted:g}" if wanted else "",
               whole <= wanted if wanted else None, "s"),
        Target(f"large {str(prior.dtype).removeprefix('torch.')} products", peak / 1e12, "", None, "TFLOP/s"),
        Target("sampling's share of that rate", reached, f">= {share:g}" if share else "",
               reached >= share if share else None, "%"),
    ]  # fmt: skip


def whole_job(prior: Prior, bench: Bench, report: Report, loading: float) -> list[Target]:
    """Every stage of a guided job, export included, and the same views sampled without guidance."""
    inputs = _inputs(prior)
    settings = MVHumanSettings(steps=bench.steps, texture_size=bench.texture)
    warm_up = replace(settings, steps=2, texture_size=512)
    run(inputs, warm_up, prior, silent)
    alone = Account()
    paint_views(inputs, replace(settings, consistency=None), prior, report, alone)
    avatar = run(inputs, settings, prior, report)
    seconds = dict(avatar.report["seconds"])
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        write_files(avatar, Path(folder), report=report)
    seconds["export"] = time.perf_counter() - begin
    total = loading + sum(seconds.values())
    added = 100 * (seconds["sampling"] / alone.seconds["sampling"] - 1)
    memory, most = avatar.report["peak_memory_gb"]["process"], bench.whole_seconds
    return [
        *([Target("loading the prior", loading, "", None, "s")] if loading else []),
        *(Target(f"stage: {stage}", value, "", None, "s") for stage, value in seconds.items()),
        Target("of sampling: consistency", seconds["sampling"] - alone.seconds["sampling"], "", None, "s"),
        Target("consistency on top of sampling", added, "", None, "%"),
        Target("the whole job", total, f"<= {most:g}", total <= most, "s"),
        Target("peak memory of the process", memory, "<= 4", memory <= 4, "GB"),
    ]


def memory_by_mode(prior: Prior, report: Report) -> list[Target]:
    """Most bytes on the card in each mode; three steps have every stage that thirty have."""
    inputs, limits = _inputs(prior), {"auto": 12.0, "low": 6.0, "offload": None}
    lines = []
    for mode in VRAM_MODES:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(prior.device)
        run(inputs, MVHumanSettings(steps=3, texture_size=4096, memory=mode), prior, report)
        peak, limit = torch.cuda.max_memory_reserved(prior.device) / 1e9, limits[mode]
        met = None if limit is None else peak <= limit
        lines.append(Target(mode, peak, "" if limit is None else f"<= {limit:g}", met, "GB"))
    return lines


def _inputs(prior: Prior) -> Inputs:
    body = anny_body()
    return Inputs(body, default_rig(body.mesh, prior.image_size), DEMO_PROMPT)


def _ours(inputs: Inputs, settings: MVHumanSettings, prior: Prior) -> Callable[[], float]:
    def seconds() -> float:
        account = Account()
        paint_views(inputs, settings, prior, silent, account)
        return account.seconds["sampling"]

    return seconds


def _theirs(inputs: Inputs, settings: MVHumanSettings, prior: Prior) -> Callable[[], float]:
    rig = inputs.rig.to(prior.device)
    conditions, _ = render_conditions(inputs.body.mesh.to(prior.device), rig, None)
    pictures = {n: image for n, image in control_images(conditions).items() if n in prior.controlnets}
    pipeline = pipeline_of(prior, settings.sampler, list(pictures))
    weights = [(settings.control or {}).get(name, ControlWeight(1.0, 1.0)).at(0.5) for name in pictures]
    prompts = view_prompts(prior, inputs.prompt, rig)

    def seconds() -> float:
        account = Account()
        with account.timed("sampling"), torch.no_grad():
            for view, prompt in enumerate(prompts):
                images = [image[view : view + 1] for image in pictures.values()]
                pipeline(
                    prompt,
                    images if len(images) > 1 else images[0],
                    num_inference_steps=settings.steps,
                    guidance_scale=settings.guidance,
                    controlnet_conditioning_scale=weights if len(weights) > 1 else weights[0],
                    output_type="latent",
                )
        return account.seconds["sampling"]

    return seconds
