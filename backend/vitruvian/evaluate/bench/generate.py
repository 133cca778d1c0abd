"""A whole job, stage by stage."""

from __future__ import annotations

import time

import torch

from vitruvian.body.anny_body import anny_body
from vitruvian.core.report import Report
from vitruvian.diffusion.loading import load_prior
from vitruvian.evaluate.protocol import Target
from vitruvian.methods.inputs import Inputs
from vitruvian.methods.mvhuman import MVHumanSettings, run
from vitruvian.render.rigs import default_rig

DEMO_PROMPT = "a woman with short black hair in a red striped shirt, blue jeans and white sneakers"


def bench_generate(prior_name: str, device: torch.device, report: Report) -> list[Target]:
    """The demo's job, stage by stage, guided and with independent views; 20 steps, 1024 px texture.

    Measured in this process after the prior is loaded: what `vitruvian generate` adds is loading and saving.
    """
    begin = time.perf_counter()
    prior = load_prior(prior_name, device)
    body = anny_body()
    loading = time.perf_counter() - begin
    inputs = Inputs(body, default_rig(body.mesh, prior.image_size), DEMO_PROMPT)
    alone = run(inputs, MVHumanSettings(consistency=None), prior, report).report["seconds"]
    avatar = run(inputs, MVHumanSettings(), prior, report)
    guided = avatar.report["seconds"]
    total = loading + sum(guided.values())
    memory = avatar.report["peak_memory_gb"]["process"]
    stages = [Target(f"stage: {stage}", seconds, "", None, "s") for stage, seconds in guided.items()]
    return [
        Target("loading the prior and the body", loading, "", None, "s"),
        *stages,
        Target("generation, loading included", total, "<= 90 (2 cores, 16 views)", total <= 90, "s"),
        Target("sampling, guided / independent views", guided["sampling"] / alone["sampling"], "", None),
        Target("peak memory of the process", memory, "<= 4", memory <= 4, "GB"),
    ]
