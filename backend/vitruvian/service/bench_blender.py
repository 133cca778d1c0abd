"""What an artist waits for in Blender, against the same job without it: for `vitruvian bench blender`.

Blender is a process of its own, which sends its panel's job to a `vitruvian serve` with a loaded image model.
Then the scene that it sent is painted here, by what `vitruvian generate` calls, its model loaded, too.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitruvian.core.errors import UserError
from vitruvian.service.bench import Figure, until_idle
from vitruvian_protocol.client import Client
from vitruvian_protocol.scene import Settings


@dataclass(frozen=True)
class BlenderJob:
    """What Blender's panel is set to."""

    prompt: str
    steps: int = 20
    texture_size: int = 1024
    views: tuple[int, int] | None = None
    """Of the whole body and of the upper body; None leaves it to the backend, which takes eight of each."""

    def options(self) -> list[str]:
        """For the add-on's `bench_command`."""
        views = [] if self.views is None else ["--views", *map(str, self.views)]
        size = f"--texture-size={self.texture_size}"
        return [f"--prompt={self.prompt}", f"--steps={self.steps}", size, *views]


@dataclass(frozen=True)
class _Times:
    """Seconds from the start of a job."""

    first_preview: float
    done: float


def bench_blender(command: Sequence[str], job: BlenderJob, repeats: int = 1) -> list[Figure]:
    """Blender's way and the direct one in turns; the middle of each is compared.

    Args:
        command: `module_command` or `installed_command`.
        repeats: how often each way is gone.

    Raises:
        UserError: Blender or the server cannot do the job.
    """
    seen: list[dict[str, Any]] = []
    alone: list[_Times] = []
    with tempfile.TemporaryDirectory(prefix="vitruvian-bench-") as name:
        for _ in range(repeats):
            with _warm_server(Path(name) / "state") as address:
                seen.append(_in_blender([*command, f"--address={address}", *job.options()]))
            alone.append(_directly(_scene_that_was_sent(Path(name) / "state"), job))
    return _figures(seen, alone)


def module_command(python: Path, addon: Path, extension: Path) -> list[str]:
    """Starts the measurement in an environment with Blender's module; the extension is installed for it."""
    return [str(python), str(addon / "bench_in_module.py"), str(extension.absolute())]


def installed_command(blender: Path) -> list[str]:
    """Starts it in a Blender 4.2 or newer that has the extension."""
    return [str(blender), "--background", "--command", "vitruvian_bench"]


def _figures(seen: list[dict[str, Any]], alone: list[_Times]) -> list[Figure]:
    def middle(values: Sequence[float]) -> float:
        return sorted(values)[len(values) // 2]

    preview, shown = middle([s["first_preview"] for s in seen]), middle([a.first_preview for a in alone])
    applied, done = middle([s["applied"] for s in seen]), middle([a.done for a in alone])
    cancelled = max(s["cancelled"] for s in seen)
    late, overhead = preview - shown, 100.0 * (applied / done - 1.0)
    return [
        Figure("the click itself", 1000.0 * max(s["click"] for s in seen), "", None, "ms"),
        Figure("first preview without Blender and service", shown, "", None, "s"),
        Figure("click to first preview", preview, "", None, "s"),
        Figure("later by", late, "<= 3", late <= 3.0, "s"),
        Figure("whole job without Blender and service", done, "", None, "s"),
        Figure("click to the texture on the body", applied, "", None, "s"),
        Figure("overhead of wire and Blender", overhead, "<= 5", overhead <= 5.0, "%"),
        Figure("cancel to cancelled", cancelled, "<= 1", cancelled <= 1.0, "s"),
    ]


def _in_blender(command: list[str]) -> dict[str, Any]:
    """What Blender measured: its last line."""
    with tempfile.TemporaryDirectory(prefix="vitruvian-bench-") as folder:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        if "--background" not in command:  # an installed Blender has the extension in its user's folder
            kept["BLENDER_USER_RESOURCES"] = folder
        done = subprocess.run(command, env=kept, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        wrong = f"measured nothing: {' / '.join(said[-3:])}"
        raise UserError("blender", command[0], wrong, "Read its message")
    return json.loads(lines[-1])


@contextmanager
def _warm_server(state: Path) -> Iterator[str]:
    """The address of a `vitruvian serve` whose worker has its image model."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    program = [sys.executable, "-c", "from vitruvian.cli import main; main()"]
    options = ["serve", "--address", address, "--state", str(state), "--min-free-gb", "0"]
    server = subprocess.Popen([*program, *options], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        if not server.stdout.readline():
            raise UserError("serve", address, "did not start", "See the message above")
        client = Client(address, about={"program": "bench"})
        until_idle(client)
        client.close()
        yield address
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def _scene_that_was_sent(state: Path) -> Path:
    """Both of Blender's jobs send the same scene, so the server keeps one."""
    scenes = [path for path in (state / "blobs").rglob("*") if path.is_file()]
    if not scenes:
        raise UserError("blender", str(state), "sent no scene", "Read the server's log")
    return max(scenes, key=lambda path: path.stat().st_mtime)


def _directly(scene_file: Path, asked: BlenderJob) -> _Times:
    """The same job in this process: from the scene's file to a written folder."""
    from vitruvian.diffusion.loading import load_prior
    from vitruvian.export.folder import save_avatar
    from vitruvian.generation import choose_device, paint
    from vitruvian.render.rigs import default_rig
    from vitruvian.service.convert import body_from, cameras_from, job_from
    from vitruvian.service.uploads import read_scene

    settings = Settings(asked.prompt, steps=asked.steps, texture_size=asked.texture_size)
    prior = load_prior(settings.prior, choose_device("auto"))
    shown: list[float] = []

    def report(stage: str, step: int, total: int, preview: object = None) -> None:
        if preview is not None and not shown:
            shown.append(time.perf_counter() - begin)

    begin = time.perf_counter()
    scene = read_scene(scene_file)
    body = body_from(scene.mesh)
    rig = default_rig(body.mesh) if scene.cameras is None else cameras_from(scene.cameras)
    avatar = paint(job_from(settings, settings.prior), body, rig, prior, report)
    with tempfile.TemporaryDirectory() as folder:
        save_avatar(avatar, Path(folder) / "human", report=report)
        done = time.perf_counter() - begin
    del prior, avatar
    gc.collect()
    return _Times(shown[0], done)
