"""The job that Blender sent, painted again by what `vitruvian generate` calls, without service and Blender.

`python generate_alone.py SCENE SETTINGS.json` prints when its first preview was there and when its folder was
written. The image model is loaded before the clock starts, as the artist's job finds it in the backend.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from vitruvian.core.report import Preview
from vitruvian.diffusion.loading import load_prior
from vitruvian.export.folder import save_avatar
from vitruvian.export.pictures import to_image
from vitruvian.generation import choose_device, paint
from vitruvian.service.convert import body_from, cameras_from, job_from
from vitruvian.service.painting import grid
from vitruvian.service.uploads import read_scene
from vitruvian_protocol.scene import Settings


def main(scene_file: Path, settings_file: Path) -> dict[str, dict[str, float]]:
    """Seconds from the start to each thing: passed, and of the processor."""
    settings = Settings(**json.loads(settings_file.read_text()))
    prior = load_prior(settings.prior, choose_device("auto"))
    seen: dict[str, dict[str, float]] = {}
    begin, spent = time.perf_counter(), time.process_time()

    def note(name: str) -> None:
        passed, processor = time.perf_counter() - begin, time.process_time() - spent
        seen[name] = {"passed_s": round(passed, 2), "processor_s": round(processor, 2)}

    def report(stage: str, step: int, total: int, preview: Preview | None = None) -> None:
        if preview is not None and "first_preview" not in seen:
            grid(preview.views)
            to_image(preview.texture())
            note("first_preview")

    scene = read_scene(scene_file)
    assert scene.cameras is not None
    body, rig = body_from(scene.mesh), cameras_from(scene.cameras)
    avatar = paint(job_from(settings, settings.prior), body, rig, prior, report)
    with tempfile.TemporaryDirectory() as folder:
        save_avatar(avatar, Path(folder) / "human", report=report)
    note("done")
    return seen


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
