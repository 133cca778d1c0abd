"""From the panel's settings to a job on its way, and back from a job to settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bpy

from . import bodies, offers, overlay, repair, runtime
from .jobs import Job
from .outbox import Check
from .problems import Problem, Told
from .scene_export import Snapshot, take_snapshot

if TYPE_CHECKING:
    from vitruvian_protocol.scene import Settings


def settings_of(settings: bpy.types.PropertyGroup) -> Settings:
    """The panel's settings as they travel."""
    runtime.need_packages()
    from vitruvian_protocol.scene import Settings

    server = runtime.session().server
    return Settings(
        prompt=settings.prompt.strip(),
        negative=settings.negative.strip(),
        seed=settings.seed,
        steps=settings.steps,
        guidance=settings.guidance if settings.guidance >= 1 else None,
        texture_size=int(settings.texture_size),
        reference=settings.reference,
        method=offers.chosen(server, "method", settings.method, Settings.method),
        prior=offers.chosen(server, "prior", settings.prior, Settings.prior),
    )


def settings_from_job(job: Job) -> Settings:
    """What a job was asked with; fields of another version of the add-on are left out."""
    runtime.need_packages()
    from vitruvian_protocol.scene import Settings

    known = Settings.__dataclass_fields__
    return Settings(**{name: value for name, value in job.settings.items() if name in known})


def take_settings(job: Job, settings: bpy.types.PropertyGroup) -> None:
    """Put a job's settings into the panel, where the panel has them."""
    values: dict[str, Any] = job.settings
    for name in ("prompt", "negative", "seed", "steps", "reference", "method", "prior"):
        if name in values:
            setattr(settings, name, values[name])
    settings.guidance = values.get("guidance") or 0.0
    size = str(values.get("texture_size", ""))
    if size in ("512", "1024", "2048", "4096"):
        settings.texture_size = size
    settings.seed_locked = True


def _rest_of(snapshot: Snapshot) -> Check:
    """What takes too long for a click: the UVs are looked at, then the rig is read, from arrays of ours."""
    wrong = yield from repair.overlap_check(snapshot.layout)
    return wrong or (yield from snapshot.complete())


def generate(
    body: bpy.types.Object, settings: bpy.types.PropertyGroup, asked: Settings, batch: str = ""
) -> Job:
    """Take one snapshot of body and cameras; the heartbeat looks at its UVs and sends it.

    Raises:
        Problem: what the artist can put right; there is no job.
    """
    session = runtime.connect()
    for field in offers.WORDS:
        problem = offers.problem_of(session.server, field, getattr(asked, field))
        if problem is not None:
            raise problem
    from vitruvian_protocol.errors import ProtocolError, info_of

    snapshot = take_snapshot(body, settings)
    fault = repair.uv_fault(snapshot.layout)
    if fault is not None:
        # The backend would paint on UVs of its own making, which this mesh does not have.
        raise Problem(fault.code, fault.sentence, repair.UNWRAP)
    target = bodies.target_of(body, snapshot)
    rest = _rest_of(snapshot)
    try:
        job = session.generate(snapshot.scene, asked, target, snapshot.warnings, batch, rest)
    except ProtocolError as error:
        info = info_of(error)
        problem = Problem(info.code, info.sentence, info.remedy)
        problem.told = Told(info.code, info.sentence, info.remedy, info.retry)
        raise problem from error
    bodies.remember(job, body)
    if settings.live_preview:
        overlay.follow(job.id, snapshot.scene.mesh, bpy.context.scene.unit_settings.scale_length or 1.0)
    return job
