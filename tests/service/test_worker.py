"""The worker's own parts: what becomes of faults, and an image model that stays loaded."""

from __future__ import annotations

import errno
import io
import runpy
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from serving import small_scene

from vitruvian.core.errors import Cancelled, UserError
from vitruvian.service.pipes import Order, read_message, write_message
from vitruvian.service.worker import JobProgress, describe, seal
from vitruvian_protocol import ProtocolError
from vitruvian_protocol.codec import pack_scene
from vitruvian_protocol.errors import ERRORS

ROOT = Path(__file__).parents[2]
ORDER = Order("job", 1, {}, "scene", "folder")


class OutOfMemoryError(Exception):
    """Named like torch's."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("mesh", "x", "cannot be painted", "Choose another"), "BAD_REQUEST"),
        (ProtocolError("BAD_SCENE:SHAPE", "$.bufs[0].crc32", "does not match the bytes"), "SCENE_DAMAGED"),
        (OSError(errno.ENOSPC, "no space left"), "DISK_FULL_SERVER"),
        (MemoryError(), "OUT_OF_VRAM"),
        (OutOfMemoryError("tried to allocate 40 GiB\nand more"), "OUT_OF_VRAM"),
        (RuntimeError("nobody foresaw it"), "INTERNAL"),
    ],
)
def test_faults_have_codes(error: Exception, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = describe(error)
    assert told["code"] == code
    assert code in ERRORS
    assert "\n" not in told["problem"]
    logged = capsys.readouterr().err
    assert (told.get("error_id", "nothing") in logged) == (code == "INTERNAL"), "support finds it in the log"


def test_progress_stops_a_job_between_two_steps() -> None:
    said: list[dict[str, Any]] = []
    stop = threading.Event()
    progress = JobProgress(said.append, ORDER, stop)
    for step in range(100):
        progress("sampling", step / 100)
    assert [message["t"] for message in said] == ["stage", "progress"], "not a message for each step"
    stop.set()
    with pytest.raises(Cancelled):
        progress("sampling", 1.0)
    assert all((message["job"], message["attempt"]) == ("job", 1) for message in said)


def test_results_are_sealed_under_their_own_name(tmp_path: Path) -> None:
    part, folder = tmp_path / "1.part", tmp_path / "1"
    for path in (part, folder):
        path.mkdir()
        (path / "old.bin").write_bytes(b"of an attempt that died here")
    (part / "old.bin").unlink()
    (part / "a.bin").write_bytes(b"abc")
    (file,) = seal(part, folder)
    assert (file.name, file.size, file.sha256[:8]) == ("a.bin", 3, "ba7816bf")
    assert [path.name for path in folder.iterdir()] == ["a.bin"]
    assert not part.exists()


@pytest.mark.slow
def test_the_image_model_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first job, and again only for another model."""
    from vitruvian.service import painting

    build = runpy.run_path(str(ROOT / "tests" / "backend" / "tiny_prior.py"))["build_tiny_prior"]
    folder, loaded = str(build(tmp_path / "tiny")), []
    load = painting.load_prior

    def counted(name: str, device: Any, **options: Any) -> Any:
        loaded.append(name)
        return load(name, device, **options)

    monkeypatch.setattr(painting, "load_prior", counted)
    painter = painting.Painter("cpu", {"tiny": folder, "same": folder})
    assert painter.warm_up()["device"] == "processor"
    assert loaded == [folder]
    scene = tmp_path / "scene"
    scene.write_bytes(pack_scene(small_scene()))
    for number, prior in enumerate(("tiny", "same")):
        settings = {"prompt": "a man", "steps": 1, "texture_size": 512, "prior": prior}
        out = tmp_path / str(number)
        out.mkdir()
        order = Order("job", number, settings, str(scene), str(out))
        painter(order, JobProgress(lambda _: None, order, threading.Event()), out)
        assert (out / "albedo.png").is_file()
    assert loaded == [folder, folder]


@pytest.mark.parametrize(("device", "prior"), [("cuda:99", "mini=mini"), ("cpu", "mini=/no/such/folder")])
def test_a_worker_that_cannot_work_says_why(device: str, prior: str) -> None:
    command = [sys.executable, "-m", "vitruvian.service.worker", device, "auto", prior]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert isinstance(process.stdout, io.BufferedReader)
    told = read_message(process.stdout)
    assert told is not None
    assert told["t"] == "unfit"
    assert ("device" if device == "cuda:99" else "prior") in told["why"]
    assert process.wait(60) == 1
    process.stdin.close()
    process.stdout.close()


def test_messages_of_the_pipe_come_back_and_what_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    with path.open("wb") as stream:
        write_message(stream, ORDER.to_message())
        stream.write(b"\xff\xff\xff\xff")
    with path.open("rb") as stream:
        message = read_message(stream)
        assert message is not None
        assert Order.from_message(message) == ORDER
        with pytest.raises(ValueError, match="bytes"):
            read_message(stream)
        assert read_message(stream) is None
