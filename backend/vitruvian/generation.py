"""From a request to an avatar: what the command line, Python and the service's workers all call."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch

from vitruvian.body.anny_body import anny_body
from vitruvian.body.body import Body
from vitruvian.body.files import load_body
from vitruvian.body.words import phenotype_from_words
from vitruvian.core.camera import CameraRig
from vitruvian.core.errors import UserError
from vitruvian.core.images import Avatar
from vitruvian.core.mesh import Mesh
from vitruvian.core.pictures import read_picture
from vitruvian.core.report import Report, silent
from vitruvian.diffusion.catalogue import VramMode
from vitruvian.diffusion.loading import load_prior
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.vocabulary import prompt_notes
from vitruvian.export.folder import save_avatar
from vitruvian.job import GenerateJob, check_job
from vitruvian.methods import METHODS
from vitruvian.methods.inputs import Inputs, cell_pixels
from vitruvian.methods.mvhuman import MVHumanSettings
from vitruvian.render.kaolin_note import kaolin_note
from vitruvian.render.rigs import cover_greedily, default_rig, rig_from_json


def generate(prompt: str, *, report: Report = silent, **options: Any) -> Avatar:
    """Paint a body from a description.

    Args:
        prompt: the person in plain words.
        report: called between steps; may raise `Cancelled`.
        options: fields of `GenerateJob`, for example `out`, `seed`, `pose`, `texture_size`.

    Raises:
        UserError: for anything wrong in the request, before a model is loaded where possible.
    """
    for name in ("out", "mesh", "cameras", "style_image"):
        if isinstance(options.get(name), str):
            options[name] = Path(options[name])
    return run_job(GenerateJob(prompt=prompt, **options), report)


def run_job(job: GenerateJob, report: Report = silent) -> Avatar:
    """Do what `job` asks and write its folder, if it names one."""
    check_job(job)
    device = choose_device(job.device)
    choose_method(job.method)
    report("body and cameras", 0, 1)
    body = choose_body(job)
    rig = choose_rig(job, body.mesh)
    report("body and cameras", 1, 1)
    report("image model", 0, 1)
    prior = load_prior(job.prior, device, memory=cast(VramMode, job.memory))
    report("image model", 1, 1)
    avatar = paint(job, body, rig, prior, report)
    avatar.report["body"] = describe_body(job)
    if note := kaolin_note(device):
        avatar.report["notes"].append(note)
    if job.out is not None:
        save_avatar(avatar, job.out, report=report)
    return avatar


def paint(
    job: GenerateJob,
    body: Body,
    rig: CameraRig,
    prior: Prior,
    report: Report = silent,
    view_prompts: tuple[str, ...] = (),
) -> Avatar:
    """Paint a body that is there with a model that is loaded, as `job` says: the look and the quality count,
    not where body, cameras and model come from.

    Args:
        rig: at any image size; the views get the one that `job` or the prior asks for.
        view_prompts: what single views show besides the prompt, one a camera, or none at all.

    Raises:
        UserError: inputs that cannot be painted.
    """
    settings_type, run = choose_method(job.method)
    sized_rig = sized(rig, job.size or prior.image_size, cell_pixels(prior))
    settings = settings_type(
        seed=job.seed,
        steps=job.steps,
        guidance=job.guidance,
        reference=job.reference,
        texture_size=job.texture_size,
        style_weight=job.style_weight,
        memory=cast(VramMode, job.memory),
    )
    style = None if job.style_image is None else read_picture("style_image", job.style_image)
    inputs = Inputs(body, sized_rig, job.prompt, job.negative, view_prompts, style)
    avatar = run(inputs, settings, prior, report)
    words = prompt_notes(prior, rig, job.prompt, job.negative, view_prompts)
    if job.style_image is not None:
        digest = hashlib.sha256(job.style_image.read_bytes()).hexdigest()
        avatar.report["style_image"] = {"name": job.style_image.name, "sha256": digest}
    avatar.report["notes"] = [*body.uv_report, *words, *avatar.report.get("notes", [])]
    return avatar


def choose_method(name: str) -> tuple[type[MVHumanSettings], Callable[..., Avatar]]:
    """The settings' type and the function of a method.

    Raises:
        UserError: for an unknown name.
    """
    if name not in METHODS:
        raise UserError("method", name, "is unknown", f"Use one of {', '.join(METHODS)}")
    return METHODS[name]


def choose_device(name: str) -> torch.device:
    """`auto` takes a CUDA device where there is one.

    Raises:
        UserError: for a name that is none, or a CUDA device that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise UserError("device", name, "is not a device", "Use auto, cpu, cuda or cuda:1")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise UserError("device", name, f"is not there ({found} CUDA devices found)", "Use auto or cpu")
    return torch.device(name)


def choose_body(job: GenerateJob) -> Body:
    """The user's mesh, or the built-in body in the shape and pose asked for.

    Raises:
        UserError: a file that cannot be read, a broken mesh, an unknown shape setting or pose.
    """
    if job.mesh is not None:
        return load_body(job.mesh)
    return anny_body(phenotype_of(job), job.pose or "A")


def phenotype_of(job: GenerateJob) -> dict[str, float]:
    """Shape of the built-in body: what `job.body` says, else what the prompt says of the person."""
    return {**phenotype_from_words(job.prompt), **job.body}


def describe_body(job: GenerateJob) -> dict[str, Any]:
    """Which body was painted, for the report."""
    if job.mesh is not None:
        return {"mesh": job.mesh.name}
    return {"mesh": "anny", "phenotype": phenotype_of(job), "pose": job.pose or "A"}


def choose_rig(job: GenerateJob, mesh: Mesh) -> CameraRig:
    """The user's cameras or the default rings, and the extra views asked for.

    Raises:
        UserError: cameras that cannot be read.
    """
    rig = rig_from_json(job.cameras, None) if job.cameras is not None else default_rig(mesh)
    return cover_greedily(mesh, rig, job.extra_views)


def sized(rig: CameraRig, size: int, step: int = 1) -> CameraRig:
    """The rig with its larger image side at `size` pixels and the other at the nearest multiple of `step`.

    Cameras keep what they frame: a side that was rounded makes pixels that are not quite square.
    """
    scale = size / max(rig.width, rig.height)
    width, height = (
        size if side == max(rig.width, rig.height) else max(step, step * round(side * scale / step))
        for side in (rig.width, rig.height)
    )
    return rig.resized(width, height)
