"""Bad input: one line that names the field, the value and the remedy; exit code 2; nothing half-written."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vitruvian.cli import run
from vitruvian.job import MAX_PROMPT

PROMPT = "a man in a red shirt"
CUBE_VERTICES = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
CUBE_FACES = [(1, 3, 4), (1, 4, 2), (5, 6, 8), (5, 8, 7), (1, 2, 6), (1, 6, 5), (3, 7, 8), (3, 8, 4)]


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], out: Path) -> str:
    """The one line that `vitruvian generate` refuses `arguments` with."""
    if "--out" not in arguments:
        arguments = [*arguments, "--out", str(out)]
    capsys.readouterr()
    assert run(["generate", *arguments]) == 2
    printed = capsys.readouterr()
    lines = [
        line for line in printed.err.splitlines() if not line.endswith(" s")
    ]  # finished stages say their time
    assert len(lines) == 1, printed.err
    assert lines[0].startswith("error: ")
    assert printed.out == ""
    assert not out.exists()
    return lines[0]


def obj(path: Path, vertices: Sequence[tuple[object, ...]], faces: Sequence[tuple[int, ...]]) -> str:
    rows = ["v " + " ".join(map(str, v)) for v in vertices] + ["f " + " ".join(map(str, f)) for f in faces]
    path.write_text("\n".join(rows) + "\n")
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "field", "remedy"),
    [
        ([""], "prompt", "Describe"),
        (["   "], "prompt", "Describe"),
        (["red " * 2_500], "prompt", "Shorten"),
        ([PROMPT, "--negative", "x" * (MAX_PROMPT + 1)], "negative", "Shorten"),
        ([PROMPT, "--steps", "0"], "steps = 0", "20"),
        ([PROMPT, "--steps", "-3"], "steps = -3", "20"),
        ([PROMPT, "--steps", "1001"], "steps = 1001", "20"),
        ([PROMPT, "--steps", "many"], "'--steps'", "'many'"),
        ([PROMPT, "--steps=1.5"], "'--steps'", "1.5"),
        ([PROMPT, "--seed", "-1"], "seed = -1", "number"),
        ([PROMPT, "--seed", str(2**32)], "seed", "number"),
        ([PROMPT, "--guidance", "nan"], "guidance = nan", "5 to 8"),
        ([PROMPT, "--guidance", "0"], "guidance = 0", "5 to 8"),
        ([PROMPT, "--texture-size", "0"], "texture_size = 0", "1024"),
        ([PROMPT, "--texture-size", "100000"], "texture_size = 100000", "1024"),
        ([PROMPT, "--texture-size", "1001"], "texture_size = 1001", "Use 1000"),
        ([PROMPT, "--size", "-256"], "size = -256", "Leave it out"),
        ([PROMPT, "--size", "0"], "size = 0", "Leave it out"),
        ([PROMPT, "--extra-views", "1000"], "extra_views = 1000", "2 to 4"),
        ([PROMPT, "--body", "{gender: 1}"], "body", '{"gender"'),
        ([PROMPT, "--body", "[1, 2]"], "body", '{"gender"'),
        ([PROMPT, "--body", "no_such_file.json"], "body", '{"gender"'),
        ([PROMPT, "--body", '{"gender": 3}'], "body.gender = 3", "0 to 1"),
        ([PROMPT, "--body", '{"gender": NaN}'], "body.gender = nan", "0 to 1"),
        ([PROMPT, "--body", '{"gender": "female"}'], "body.gender", "0 to 1"),
        ([PROMPT, "--body", '{"charm": 1}'], "charm", "gender"),
        ([PROMPT, "--pose", "handstand-on-a-horse"], "pose", "walking"),
        ([PROMPT, "--mesh", "no_such_body.glb"], "mesh = 'no_such_body.glb'", "path"),
        ([PROMPT, "--cameras", "no_such_rig.json"], "cameras = 'no_such_rig.json'", "path"),
        ([PROMPT, "--prior", "no-such-model"], "prior = 'no-such-model'", "mini"),
        ([PROMPT, "--method", "magic"], "method = 'magic'", "mvhuman"),
        ([PROMPT, "--device", "toaster"], "device = 'toaster'", "cpu"),
        ([PROMPT, "--device", "cuda:99"], "device = 'cuda:99'", "cpu"),
        ([PROMPT, "--no-such-flag"], "--no-such-flag", "--help"),
        ([], "prompt", "--help"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_bad_values(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], field: str, remedy: str
) -> None:
    line = refused(capsys, arguments, tmp_path / "out")
    assert field in line
    assert remedy in line


@pytest.mark.parametrize(
    ("vertices", "faces", "field"),
    [
        ([], [], "mesh"),
        (CUBE_VERTICES, [], "mesh"),
        ([("nan", 0, 0), *CUBE_VERTICES[1:]], CUBE_FACES, "mesh"),
        (CUBE_VERTICES, [*CUBE_FACES, (1, 2, 99)], "mesh"),
        ([(x * 1e6, y * 1e6, z * 1e6) for x, y, z in CUBE_VERTICES], CUBE_FACES, "mesh"),
        ([(0, 0, 0)] * 8, CUBE_FACES, "mesh"),
    ],
    ids=["nothing", "no faces", "NaN", "index out of range", "huge", "a point"],
)
def test_bad_meshes(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    vertices: list[tuple[object, ...]],
    faces: list[tuple[int, ...]],
    field: str,
) -> None:
    path = obj(tmp_path / "body.obj", vertices, faces)
    assert field in refused(capsys, [PROMPT, "--mesh", path], tmp_path / "out")


@pytest.mark.parametrize("suffix", [".glb", ".gltf", ".obj", ".ply", ".npz"])
def test_files_that_are_no_meshes(capsys: pytest.CaptureFixture[str], tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"body{suffix}"
    path.write_bytes(b"\x00\xffnot a mesh at all")
    assert "mesh" in refused(capsys, [PROMPT, "--mesh", str(path)], tmp_path / "out")


def test_mesh_of_unknown_type(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "body.xyz"
    path.write_text("0 0 0\n")
    assert ".obj" in refused(capsys, [PROMPT, "--mesh", str(path)], tmp_path / "out")


def test_smpl_model_without_smplx(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("v_template", "f", "J_regressor", "kintree_table", "shapedirs", "posedirs")
    arrays: dict[str, Any] = {"weights": np.zeros((8, 24)), **dict.fromkeys(names, np.zeros(1))}
    np.savez(tmp_path / "model.npz", **arrays)
    monkeypatch.setitem(sys.modules, "smplx", None)
    assert "pip install" in refused(capsys, [PROMPT, "--mesh", str(tmp_path / "model.npz")], tmp_path / "out")


def test_body_settings_do_not_go_with_a_mesh(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    mesh = ["--mesh", obj(tmp_path / "body.obj", CUBE_VERTICES, CUBE_FACES)]
    assert "body" in refused(capsys, [PROMPT, *mesh, "--body", '{"age": 1}'], tmp_path / "out")
    assert "pose" in refused(capsys, [PROMPT, *mesh, "--pose", "T"], tmp_path / "out")


@pytest.mark.parametrize(
    ("rig", "field"),
    [
        ("{", "cameras"),
        ("[]", "cameras"),
        ('{"cameras": []}', "cameras"),
        ('{"cameras": [{"position": [0, -2, 1], "look_at": [0, 0, 1], "fov": 0}]}', "cameras[0].fov"),
        ('{"cameras": [{"position": [0, -2, 1], "look_at": [0, 0, 1], "fov": NaN}]}', "cameras[0].fov"),
        (
            '{"width": -5, "height": 8, "cameras": [{"position": [0, 0, 1], "look_at": [1, 0, 1]}]}',
            "width",
        ),
    ],
)
def test_bad_cameras(capsys: pytest.CaptureFixture[str], tmp_path: Path, rig: str, field: str) -> None:
    path = tmp_path / "rig.json"
    path.write_text(rig)
    assert field in refused(capsys, [PROMPT, "--cameras", str(path)], tmp_path / "out")


def test_no_camera_sees_the_body(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_folder: Path
) -> None:
    path = tmp_path / "rig.json"
    away = {"position": [0, -3, 1], "look_at": [0, -6, 1], "fov": 50}
    path.write_text(json.dumps({"cameras": [away]}))
    line = refused(capsys, [PROMPT, "--cameras", str(path), "--prior", str(tiny_folder)], tmp_path / "out")
    assert "cameras" in line


def test_corrupt_weights(capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_folder: Path) -> None:
    prior = shutil.copytree(tiny_folder, tmp_path / "prior")
    weights = prior / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "prior.unet" in refused(capsys, [PROMPT, "--prior", str(prior)], tmp_path / "out")


def test_prior_without_weights(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "prior").mkdir()
    line = refused(capsys, [PROMPT, "--prior", str(tmp_path / "prior")], tmp_path / "out")
    assert "model_index.json" in line


def test_out_is_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    assert "out" in refused(capsys, [PROMPT, "--out", str(taken)], tmp_path / "out")
    assert "out" in refused(capsys, [PROMPT, "--out", str(taken / "below")], tmp_path / "out")
    assert taken.read_text() == "mine"


def test_out_holds_other_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "art").mkdir()
    (tmp_path / "art" / "painting.blend").write_text("mine")
    assert "empty folder" in refused(capsys, [PROMPT, "--out", str(tmp_path / "art")], tmp_path / "out")
    assert [p.name for p in (tmp_path / "art").iterdir()] == ["painting.blend"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder here that nobody may write")
def test_out_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    out = Path("/proc/vitruvian/out")
    assert "write" in refused(capsys, [PROMPT, "--out", str(out)], out)
