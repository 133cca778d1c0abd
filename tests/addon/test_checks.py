"""Cameras, presets and the checks of files from the backend; no Blender."""

from __future__ import annotations

import io
import json
import math
import zlib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitruvian.body.anny_body import anny_body
from vitruvian.render.rigs import default_rig

camera_math = import_module("vitruvian_addon.camera_math")
presets = import_module("vitruvian_addon.presets")
problems = import_module("vitruvian_addon.problems")
result_check = import_module("vitruvian_addon.result_check")


def picture(kind: str, size: tuple[int, int] = (8, 4)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "red").save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize("pose", ["A", "seated"])
def test_the_rings_are_the_backends_own(pose: str) -> None:
    mesh = anny_body(pose=pose).mesh
    theirs = default_rig(mesh, size=512)
    mine = camera_math.make_rings(mesh.vertices.double().numpy(), camera_math.Rings())
    assert [c.name for c in mine] == list(theirs.names)
    assert [c.kind for c in mine] == list(theirs.kinds)
    np.testing.assert_allclose([c.T_world_cam for c in mine], theirs.T_world_cam.numpy(), atol=1e-4)
    K = camera_math.intrinsics(camera_math.FOCAL_PER_SIZE * 36, 36, 24, "AUTO", (0, 0), 512)
    np.testing.assert_allclose(K, theirs.K[0].numpy(), atol=1e-4)


def test_a_camera_pose_loses_scale_but_no_more() -> None:
    turned = camera_math.look_at(np.array([1.0, -2.0, 0.5]), np.zeros(3)) @ camera_math.BLENDER_TO_CV
    scaled = turned @ np.diag([2.0, 2.0, 2.0, 1.0])
    np.testing.assert_allclose(
        camera_math.camera_pose(scaled), turned @ camera_math.BLENDER_TO_CV, atol=1e-12
    )
    with pytest.raises(ValueError, match="mirrored"):
        camera_math.camera_pose(turned @ np.diag([-1.0, 1.0, 1.0, 1.0]))
    with pytest.raises(ValueError, match="scale of zero"):
        camera_math.camera_pose(turned @ np.diag([0.0, 1.0, 1.0, 1.0]))
    with pytest.raises(ValueError, match="scale of zero"):
        camera_math.camera_pose(turned * math.nan)


def test_presets_are_found_again() -> None:
    for name, preset in presets.PRESETS.items():
        assert presets.preset_of(preset.steps, preset.texture_size) == name
    assert presets.preset_of(21, 1024) == presets.CUSTOM


def test_errors_survive_the_job_list() -> None:
    told = problems.Told("BAD_SCENE:UV", "No UVs", "Unwrap", "after_fix", "7F")
    assert problems.Told.from_json(json.loads(json.dumps(told.to_json()))) == told
    assert problems.Told.from_json("x") is None
    assert problems.Told("BAD_SCENE:UV:MORE", "", "").button is None
    assert problems.Told("INTERNAL:X", "", "").button[0] == "vitruvian.copy_report"


def test_a_good_png_passes(tmp_path: Path) -> None:
    path = tmp_path / "albedo.png"
    path.write_bytes(picture("PNG"))
    assert result_check.read_png(path) == path.read_bytes()


def _claiming(width: int) -> bytes:
    data = bytearray(picture("PNG"))
    data[16:20] = width.to_bytes(4, "big")
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "not a PNG"),
        (picture("JPEG"), "not a PNG"),
        (picture("PNG")[:-5], "cut off"),
        (picture("PNG")[:40], "cut off"),
        (picture("PNG") + b"PK", "does not end"),
        (picture("PNG").replace(b"IHDR", b"XHDR"), "damaged"),
        (_claiming(60_000), "claims 60000 x 4"),
        (_claiming(0), "claims 0 x 4"),
    ],
)
def test_a_bad_png_is_refused(tmp_path: Path, data: bytes, told: str) -> None:
    path = tmp_path / "albedo.png"
    path.write_bytes(data)
    with pytest.raises(result_check.BadResult, match=told):
        result_check.read_png(path)


def test_jpegs() -> None:
    assert result_check.check_jpeg(picture("JPEG", (64, 32))) == (64, 32)
    for bad in (b"", picture("PNG"), picture("JPEG")[:-4], b"\xff\xd8\xff\xd9", picture("JPEG", (600, 8))):
        with pytest.raises(result_check.BadResult):
            result_check.check_jpeg(bad)


def test_a_report_that_is_none_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    for text, expected in (('{"seed": 1}', {"seed": 1}), ("[1]", {}), ("{", {})):
        path.write_text(text)
        assert result_check.read_report(path) == expected
    assert result_check.read_report(None) == {}


GOOD = (np.zeros((4, 3)), np.array([0, 1, 2, 0, 2, 3]), np.array([0, 3]))


def test_good_polygons_pass() -> None:
    result_check.check_polygons(*GOOD, np.zeros((6, 2)))


@pytest.mark.parametrize(
    ("part", "value", "told"),
    [
        (0, np.full((4, 3), np.nan), "not finite"),
        (0, np.zeros((0, 3)), "missing"),
        (1, np.array([0, 1, 4, 0, 2, 3]), "not there"),
        (1, np.array([0, 1, -1, 0, 2, 3]), "not there"),
        (1, np.array([], int), "no corners"),
        (2, np.array([0, 4]), "fewer than three"),
        (2, np.array([0, 9]), "fewer than three"),
        (2, np.array([0, 3, 2]), "fewer than three"),
        (2, np.array([1, 3]), "does not start"),
        (3, np.zeros((5, 2)), "do not fit"),
        (3, np.full((6, 2), np.inf), "not finite"),
    ],
)
def test_polygons_that_crash_blender_are_refused(part: int, value: np.ndarray, told: str) -> None:
    arrays = [*GOOD, np.zeros((6, 2))]
    arrays[part] = value
    with pytest.raises(result_check.BadResult, match=told):
        result_check.check_polygons(*arrays)
