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
import sys
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
COLOUR = (160, 96, 48)
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
def backend_for(blender: Blender, folder: Path) -> Iterator[tuple[dict[str, Any], int | None]]:
    """The add-on's preferences: it starts the backend itself, or takes one that runs where it cannot, whose
    process is named beside them.

    `folder` is Blender's user folder.
    """
    if PAINTER_SECONDS:
        with painting_gateway(folder.parent / "state") as address:
            yield {"backend": "REMOTE", "address": address, "use_keys": False}, None
        return
    if blender.shares_our_files:
        try:
            yield {"backend": "LOCAL", "command": str(VITRUVIAN)}, None
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
            yield {"backend": "REMOTE", "address": address, "use_keys": False}, server.pid
        finally:
            server.terminate()
            server.wait(60)


def compare_with_generate(seen: dict[str, Any], resources: Path, folder: Path) -> dict[str, Any]:
    """Figures: the finished job once more, without service and Blender; the model is loaded before."""
    scene = max(resources.rglob("state/blobs/*/*/*"), key=lambda path: path.stat().st_mtime)
    (folder / "settings.json").write_text(json.dumps(seen["settings"]))
    command = [sys.executable, str(HERE / "generate_alone.py"), str(scene), str(folder / "settings.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr[-3000:]
    alone = json.loads(done.stdout)
    preview, applied = seen["first_preview"], seen["applied"]
    service = applied["processor_s"]["backend"] / alone["done"]["processor_s"]
    return {
        "generate_alone": alone,
        "first_preview_later_s": round(preview["passed_s"] - alone["first_preview"]["passed_s"], 2),
        # By the clock, with a Blender that draws its window without a graphics card on the same cores.
        "overhead_percent": round(100 * (applied["passed_s"] / alone["done"]["passed_s"] - 1), 1),
        "backend_overhead_percent_processor": round(100 * (service - 1), 1),
    }


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
    task |= {"gender": 1.0, "colour": COLOUR, "prompt": PROMPT, "long_prompt": PROMPT}
    if PAINTER_SECONDS:
        task |= {"prompt": f"{PROMPT}, seconds={PAINTER_SECONDS}", "long_prompt": f"{PROMPT}, seconds=3000"}
    task |= {"views": VIEWS, "preset": PRESET, "patience_s": PATIENCE_S}
    screen = f"-screen 0 {SCREEN[0]}x{SCREEN[1]}x24 -nolisten tcp"
    command = ["xvfb-run", "-a", "-s", screen, *blender.command, "--factory-startup"]
    command += ["--window-geometry", "0", "0", str(SCREEN[0]), str(SCREEN[1])]
    command += ["--python", str(tmp_path / "artist.py"), "--", str(tmp_path / "task.json")]
    loads = [os.getloadavg()[0]]
    with backend_for(blender, resources) as (backend, server):
        (tmp_path / "task.json").write_text(json.dumps({**task, "backend": backend, "server": server}))
        done = run(command, resources, timeout=3 * PATIENCE_S)
    for picture in out.glob("*.png"):
        shutil.copy2(picture, pictures)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}\nsee {pictures}"
    seen = json.loads((out / "seen.json").read_text())
    seen["load"] = [round(load, 2) for load in (*loads, os.getloadavg()[0])]
    if not PAINTER_SECONDS:
        seen |= compare_with_generate(seen, resources, tmp_path)
    (pictures / "seen.json").write_text(json.dumps(seen, indent=1))
    print(json.dumps(seen))
    worst = max(abs(a - b) for a, b in zip(seen["preview_colour"], COLOUR, strict=True))
    assert worst <= 5, "a preview on the body has the colours of its picture"
    assert seen["worn_after_cancel"] == ""
    assert seen["previews"] >= 2
    assert 0 < seen["fraction_at_preview"] < 1
    assert seen["shading"] == "MATERIAL"
    assert [512, 512] in seen["images"].values() or PRESET != "DRAFT"
    assert seen["worn_after_undo"] == ""
    assert {picture.stem for picture in out.glob("*.png")} == {"panel", "cancelled", "progress", "result"}
