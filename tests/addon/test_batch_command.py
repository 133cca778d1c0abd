"""`vitruvian batch`: what it starts, how it adds up; and the add-on's headless batch in Blender's module."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blender_process import ENVIRONMENTS, ROOT, needs_bpy
from servers import painting_gateway

from vitruvian.cli.app import run
from vitruvian.cli.batch import Outcome, exit_code, summary

BLENDER_PYTHON = ENVIRONMENTS[0]


def stand_in(folder: Path, body: str) -> Path:
    """A Python that says it has bpy, and an add-on folder whose runner is `body`."""
    addon = folder / "addon"
    addon.mkdir()
    (addon / "run_in_module.py").write_text(body)
    modules = folder / "modules"
    modules.mkdir()
    (modules / "bpy.py").write_text("")
    return addon


def blends(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).write_bytes(b"BLENDER")
    return [str(folder / name) for name in names]


def test_options_reach_the_runner(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    addon = stand_in(tmp_path, "import json, sys; print('RUN', json.dumps(sys.argv[1:]))")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    files = blends(tmp_path, "a.blend", "b.blend")
    out = tmp_path / "out"
    code = run(
        [
            "batch", *files, "--addon", str(addon), "--python", sys.executable, "--body", "Ada",
            "--body", "--odd", "--prompt", "a man; rm -rf", "--steps", "4", "--retry-failed",
            "--out", str(out),
        ]
    )  # fmt: skip
    assert code == 0
    said = capfd.readouterr().out
    runs = [json.loads(line[4:]) for line in said.splitlines() if line.startswith("RUN ")]
    assert [arguments[0] for arguments in runs] == files
    assert "--body=--odd" in runs[0]
    assert "--prompt=a man; rm -rf" in runs[0]
    assert "--retry-failed" in runs[0]
    assert runs[1][-2:] == ["--output", str(out / "b.blend")]
    assert said.count("  done") == 2


@pytest.mark.parametrize(("code", "begun"), [(0, 2), (1, 2), (2, 2), (3, 1), (130, 1), (-11, 2)])
def test_exit_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, begun: int) -> None:
    leave = f"os.kill(os.getpid(), {-code})" if code < 0 else f"os._exit({code})"
    log = tmp_path / "log"
    addon = stand_in(tmp_path, f"import os; open({str(log)!r}, 'a').write('x'); {leave}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    files = blends(tmp_path, "a.blend", "b.blend")
    assert run(["batch", *files, "--addon", str(addon)]) == (1 if code < 0 else code)
    assert len(log.read_text()) == begun


def test_the_gravest_code_wins() -> None:
    files = [Path(name) for name in "abc"]
    codes = [Outcome(file, code) for file, code in zip(files, (0, 1, 0), strict=True)]
    assert exit_code(files, codes) == 1
    assert exit_code(files, codes[:1]) == 0
    assert summary(files, codes[:1]).splitlines()[2] == "c  not begun"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["missing.blend"], "is not a .blend file that exists"),
        (["FILE", "--python", sys.executable, "--addon", "/nowhere"], "is not the add-on's folder"),
        (["FILE", "--python", sys.executable], "has no bpy"),
    ],
)
def test_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    (file,) = blends(tmp_path, "a.blend")
    assert run(["batch", *[file if a == "FILE" else a for a in arguments]]) == 2
    assert told in capsys.readouterr().err


# ---- in Blender's module, against a gateway with fake workers ----


@pytest.fixture(scope="module")
def packages(addon_zip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pyzmq and msgpack as the extension bundles them, unpacked for bpy's Python."""
    folder = tmp_path_factory.mktemp("packages")
    with zipfile.ZipFile(addon_zip) as whole:
        for name in whole.namelist():
            if name.endswith(".whl") and "cp311-cp311" in name and "manylinux" in name and "x86_64" in name:
                whole.extract(name, folder)
                with zipfile.ZipFile(folder / name) as wheel:
                    wheel.extractall(folder)
    assert (folder / "zmq").is_dir()
    return folder


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[str]:
    """A real gateway whose worker makes small textures; its address."""
    with painting_gateway(tmp_path / "state") as address:
        yield address


MAKE_FILE = """
import sys; sys.path.insert(0, {addon!r})
import bpy, run_in_module as r
a = r.load_addon(); a.register()
bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
for name in ("Ada", "Bob", "Eve"):
    bpy.ops.vitruvian.add_proxy(); bpy.context.scene.vitruvian.body.name = name
bpy.ops.wm.save_as_mainfile(filepath={path!r})
a.unregister(); import os; os._exit(0)
"""
READ_FILE = """
import sys; sys.path.insert(0, {addon!r})
import bpy, json, run_in_module as r
a = r.load_addon(); a.register()
bpy.ops.wm.open_mainfile(filepath={path!r})
worn = {{o.name: o.vitruvian.job for o in bpy.data.objects if o.type == "MESH"}}
print("WORN", json.dumps(worn), flush=True)
a.unregister(); import os; os._exit(0)
"""


def in_blender(code: str, environment: dict[str, str], **values: str) -> str:
    text = code.format(addon=str(ROOT / "blender_addon"), **values)
    done = subprocess.run(
        [str(BLENDER_PYTHON), "-c", text],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.blender
@pytest.mark.slow
@needs_bpy
def test_a_batch_goes_on_after_it_was_killed(tmp_path: Path, gateway: str, packages: Path) -> None:
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
        "BLENDER_USER_RESOURCES": str(tmp_path / "user"),
        "PYTHONPATH": os.pathsep.join([str(packages), str(ROOT / "protocol")]),
    }
    blend, out = tmp_path / "people.blend", tmp_path / "out"
    in_blender(MAKE_FILE, environment, path=str(blend))
    table = tmp_path / "people.csv"
    table.write_text("body,prompt\nAda,paint seconds=0.2\nBob,paint seconds=1.5\nEve,refuse\nNobody,paint\n")
    command: list[Any] = [
        sys.executable, "-c", "from vitruvian.cli import main; main()", "batch", str(blend),
        "--csv", str(table), "--out", str(out), "--address", gateway, "--python", str(BLENDER_PYTHON),
    ]  # fmt: skip
    state = out / "people.batch.json"
    first = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    while first.poll() is None:
        if state.exists() and '"state": "done"' in state.read_text():
            break
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    before = json.loads(state.read_text())["items"]
    assert before[0]["state"] == "done"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    items = {item["body"]: item for item in json.loads(state.read_text())["items"]}
    assert {name: item["state"] for name, item in items.items()} == {
        "Ada": "done", "Bob": "done", "Eve": "failed", "Nobody": "failed",
    }  # fmt: skip
    assert items["Ada"]["job"] == before[0]["job"], "what was done was not done again"
    assert "There is no mesh called" in done.stdout
    assert "some bodies failed" in done.stdout
    said = in_blender(READ_FILE, environment, path=str(out / "people.blend"))
    worn = json.loads(next(line[5:] for line in said.splitlines() if line.startswith("WORN ")))
    assert worn == {"Ada": items["Ada"]["job"], "Bob": items["Bob"]["job"], "Eve": ""}


@pytest.mark.blender
@needs_bpy
def test_without_a_backend_it_says_so(tmp_path: Path, packages: Path) -> None:
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
        "BLENDER_USER_RESOURCES": str(tmp_path / "user"),
        "PYTHONPATH": os.pathsep.join([str(packages), str(ROOT / "protocol")]),
    }
    blend = tmp_path / "people.blend"
    in_blender(MAKE_FILE, environment, path=str(blend))
    script = str(ROOT / "blender_addon" / "run_in_module.py")
    command = [
        str(BLENDER_PYTHON),
        script,
        str(blend),
        "--body=Ada",
        "--address=tcp://127.0.0.1:9",
        "--wait=1",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "No server answers" in done.stderr
    for wrong, code, told in (
        (["--collection=none"], 2, "There is no collection"),
        ([], 2, "The batch is empty"),
        (["--steps=x"], 2, "invalid int"),
        (["--csv=/no/file"], 2, "The CSV cannot be read"),
    ):
        done = subprocess.run(
            [*command[:3], *wrong], env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert (done.returncode, told in done.stderr) == (code, True), done.stderr
