"""What a worker does with an order: what `vitruvian generate` does, with the image model kept loaded."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.modules.module import register_module_forward_pre_hook

from vitruvian.body.body import Body
from vitruvian.core.camera import CameraRig
from vitruvian.core.report import Preview, Report
from vitruvian.diffusion.catalogue import VramMode
from vitruvian.diffusion.loading import load_prior
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.vocabulary import prompt_notes
from vitruvian.export.folder import view_file_name, write_files
from vitruvian.export.pictures import to_image
from vitruvian.generation import choose_device, paint
from vitruvian.job import check_job
from vitruvian.render.kaolin_note import kaolin_note
from vitruvian.render.rigs import default_rig
from vitruvian.service.convert import body_from, cameras_from, doubts_about, job_from, new_corner_uvs
from vitruvian.service.pipes import Order
from vitruvian.service.uploads import read_scene
from vitruvian.service.worker import JobProgress
from vitruvian_protocol.limits import PREVIEW_SIDE
from vitruvian_protocol.scene import Scene, Settings

_SHARES = {
    "body and cameras": (0.0, 0.01),
    "image model": (0.01, 0.03),
    "conditions": (0.03, 0.04),
    "sampling": (0.04, 0.92),
    "texture": (0.92, 0.96),
    "turntable": (0.96, 1.0),
}
"""Where in a whole job each stage lies, as measured with the bundled prior on a processor."""


class Painter:
    """Paints for one device. Keeps the last image model; a job that names another one replaces it.

    Args:
        device: as for `generate`.
        priors: what stands behind each name that clients may use (a name, folder or hub id); the first one
            is loaded before there is a job.
        memory: how much is on the card at once, as for `generate`.
    """

    def __init__(self, device: str, priors: Mapping[str, str], memory: str = "auto") -> None:
        self._device = choose_device(device)
        self._priors = dict(priors)
        self._memory = memory
        self._loaded: dict[str, Prior] = {}

    def warm_up(self) -> dict[str, Any]:
        """Load the first model; returns what the gateway is told about the device, and what it should log."""
        self._prior(next(iter(self._priors)))
        cuda = self._device.type == "cuda"
        name = torch.cuda.get_device_name(self._device) if cuda else "processor"
        memory = torch.cuda.get_device_properties(self._device).total_memory if cuda else 0
        return {"device": name, "memory_total": memory, "note": kaolin_note(self._device)}

    def __call__(self, order: Order, progress: JobProgress, folder: Path) -> None:
        """Paint and write the results into `folder`.

        Raises:
            UserError: what cannot be painted.
            Cancelled: the job is to be stopped.
        """
        settings = Settings(**order.settings)
        job = replace(job_from(settings, self._priors[settings.prior]), memory=self._memory)
        check_job(job)
        report = report_to(progress)
        report("body and cameras", 0, 1)
        scene = read_scene(Path(order.scene))
        body, rig, prompts = self._inputs(scene)
        told = [*body.uv_report, *doubts_about(scene)]
        for note in told:
            progress.warn(note)
        report("image model", 0, 1)
        prior = self._prior(settings.prior)
        told += (words := prompt_notes(prior, rig, job.prompt, job.negative, prompts))
        for note in words:
            progress.warn(note)
        with checked_at_each_layer(progress.check):
            avatar = paint(job, body, rig, prior, report, prompts)
        for note in avatar.report["notes"]:  # what only painting could tell
            if note not in told:
                progress.warn(note)
        avatar.report["body"] = {"mesh": body.mesh.name}
        write_files(avatar, folder, report=report)
        _number_views(folder, avatar.views.rig)
        uvs = new_corner_uvs(scene.mesh, avatar.mesh)
        if uvs is not None:
            np.save(folder / "corner_uvs.npy", uvs, allow_pickle=False)

    def _inputs(self, scene: Scene) -> tuple[Body, CameraRig, tuple[str, ...]]:
        body = body_from(scene.mesh)
        if scene.cameras is None:
            return body, default_rig(body.mesh), ()
        prompts = scene.cameras.prompts if any(scene.cameras.prompts) else ()
        return body, cameras_from(scene.cameras), prompts

    def _prior(self, name: str) -> Prior:
        if name not in self._loaded:
            self._loaded.clear()
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            self._loaded[name] = load_prior(
                self._priors[name], self._device, memory=cast(VramMode, self._memory)
            )
        return self._loaded[name]


@contextmanager
def checked_at_each_layer(check: Callable[[], None]) -> Iterator[None]:
    """Call `check`, which may raise, before each layer of any network: a step that paints all views takes
    seconds on a processor, and a cancelled job should not hold it so long."""
    hook = register_module_forward_pre_hook(lambda layer, inputs: check())
    try:
        yield
    finally:
        hook.remove()


def report_to(progress: JobProgress, clock: Callable[[], float] = time.monotonic) -> Report:
    """A method's `report` as a job's progress: one fraction over all stages, and pictures that travel."""
    begin = clock()

    def report(stage: str, step: int, total: int, preview: Preview | None = None) -> None:
        low, high = _SHARES.get(stage, (0.0, 0.0))
        fraction = low + (high - low) * step / max(total, 1)
        eta = (clock() - begin) * (1.0 - fraction) / fraction if fraction > _SHARES["sampling"][0] else None
        progress(stage, fraction, eta)
        if preview is not None and progress.wants_preview():
            pictures = preview
            progress.previews(
                lambda: {"sheet": jpeg(grid(pictures.views)), "texture": jpeg(to_image(pictures.texture()))}
            )

    return report


def grid(views: Float[Tensor, "N 3 H W"], side: int = PREVIEW_SIDE) -> Image.Image:
    """All views in a square grid of at most `side` pixels, without labels."""
    count, height, width = len(views), views.shape[-2], views.shape[-1]
    columns = math.ceil(math.sqrt(count))
    tile = side // columns
    scale = tile / max(width, height)
    small = max(1, round(width * scale)), max(1, round(height * scale))
    sheet = Image.new("RGB", (columns * small[0], math.ceil(count / columns) * small[1]), "white")
    for index, view in enumerate(views):
        picture = to_image(view).resize(small, Image.Resampling.BILINEAR)
        sheet.paste(picture, (index % columns * small[0], index // columns * small[1]))
    return sheet


def jpeg(picture: Image.Image) -> bytes:
    """Small enough for a preview: 512 px at this quality stay far below 256 KiB."""
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=80)
    return stream.getvalue()


def _number_views(folder: Path, rig: CameraRig) -> None:
    """views/NAME.png -> view_000.png: results are plain files under names that every system can have."""
    for index, name in enumerate(rig.names):
        (folder / "views" / f"{view_file_name(name)}.png").rename(folder / f"view_{index:03d}.png")
    (folder / "views").rmdir()
