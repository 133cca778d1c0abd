"""An artist at work in a real window, against a real backend with the bundled prior.

Pictures of it are left in `out/window/VERSION/`. What is asserted was read from Blender, never from pixels.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import build_addon
import pytest
from real_blender import Blender, install, run
from tests.addon.servers import painting_gateway

HERE = Path(__file__).parent
SCREEN = (1600, 1000)
PROMPT = "a woman with short black hair in a red striped shirt, blue jeans and white sneakers"
PATIENCE_S = 900
"""For one job; a hang ends, a slow machine does not fail."""
VITRUVIAN = build_addon.ROOT / ".venv" / "bin" / "vitruvian"
PRESET = os.environ.get("VITRUVIAN_WINDOW_PRESET", "DRAFT")
PAINTER_SECONDS = os.environ.get("VITRUVIAN_WINDOW_PAINTER", "")
"""Where set, no image model paints but a worker that shows one colour and takes so many seconds a job: for a
machine that is too slow for window and model at once."""
VIEWS = json.loads(os.environ.get("VITRUVIAN_WINDOW_VIEWS", "[4, 2]"))
"""Kept small; a picture for the documentation is made with more."""


@contextmanager
def backend_for(blender: Blender, folder: Path) -> Iterator[dict[str, Any]]:
    """The add-on's preferences: it starts the backend itself, or takes one that runs where it cannot.

    `folder` is Blender's user folder.
    """
    if PAINTER_SECONDS:
        with painting_gateway(folder.parent / "state") as address:
            yield {"backend": "REMOTE", "address": address, "use_keys": False}
        return
    if blender.shares_our_files:
        try:
            yield {"backend": "LOCAL", "command": str(VITRUVIAN)}
        finally:
            stop_what_was_left(folder)
        return
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    command = [str(VITRUVIAN), "serve", "--address", address, "--state", str(folder / "state")]
    with (folder.parent / "serve.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield {"backend": "REMOTE", "address": address, "use_keys": False}
        finally:
            server.terminate()
            server.wait(60)


def stop_what_was_left(folder: Path) -> None:
    """A backend outlives the Blender that started it; one whose test failed must not serve the next."""
    for record in folder.rglob("backend.json"):
        with suppress(ProcessLookupError):
            os.kill(json.loads(record.read_text())["pid"], signal.SIGTERM)


@pytest.fixture
def pictures(blender: Blender) -> Path:
    """An empty folder that outlives the test."""
    folder = build_addon.ROOT / "out" / "window" / f"{blender.version[0]}.{blender.version[1]}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@pytest.mark.window
def test_artist_generates_cancels_and_undoes(
    blender: Blender, addon_zip: Path, pictures: Path, tmp_path: Path
) -> None:
    out, resources = tmp_path / "pictures", tmp_path / "user"
    out.mkdir()
    source = Path(shutil.copy2(addon_zip, tmp_path))
    for script in HERE.glob("*.py"):
        shutil.copy2(script, tmp_path)
    task = {"module": install(blender, source, resources), "out": str(out)}
    task |= {"prompt": PROMPT, "long_prompt": PROMPT}
    if PAINTER_SECONDS:
        task |= {"prompt": f"{PROMPT}, seconds={PAINTER_SECONDS}", "long_prompt": f"{PROMPT}, seconds=3000"}
    task |= {"views": VIEWS, "preset": PRESET, "patience_s": PATIENCE_S}
    screen = f"-screen 0 {SCREEN[0]}x{SCREEN[1]}x24 -nolisten tcp"
    command = ["xvfb-run", "-a", "-s", screen, *blender.command, "--factory-startup"]
    command += ["--window-geometry", "0", "0", str(SCREEN[0]), str(SCREEN[1])]
    command += ["--python", str(tmp_path / "artist.py"), "--", str(tmp_path / "task.json")]
    with backend_for(blender, resources) as backend:
        (tmp_path / "task.json").write_text(json.dumps({**task, "backend": backend}))
        done = run(command, resources, timeout=3 * PATIENCE_S)
    for picture in out.iterdir():
        shutil.copy2(picture, pictures)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}\nsee {pictures}"
    seen = json.loads((out / "seen.json").read_text())
    print(json.dumps(seen))
    assert seen["worn_after_cancel"] == ""
    assert seen["previews"] >= 2
    assert 0 < seen["fraction_at_preview"] < 1
    assert seen["shading"] == "MATERIAL"
    assert [512, 512] in seen["images"].values() or PRESET != "DRAFT"
    assert seen["worn_after_undo"] == ""
    assert {picture.stem for picture in out.glob("*.png")} == {"panel", "cancelled", "progress", "result"}
