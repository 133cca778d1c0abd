"""The GLB in Blender, which artists will open it in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import KDTree

from vitruvian.body.anny_body import anny_body
from vitruvian.export.glb import glb_bytes
from vitruvian.export.pictures import png_bytes

BLENDER_PYTHON = Path(__file__).parents[2] / ".venv-blender" / "bin" / "python"


@pytest.mark.blender
@pytest.mark.skipif(not BLENDER_PYTHON.exists(), reason="run scripts/setup_blender_env.sh (make test does)")
def test_blender_shows_the_posed_body_on_an_armature(tmp_path: Path) -> None:
    mesh = anny_body(pose="walking").mesh
    assert mesh.rig is not None
    assert mesh.uvs is not None
    source, result = tmp_path / "human.glb", tmp_path / "result.npz"
    source.write_bytes(glb_bytes(mesh, png_bytes(Image.new("RGB", (16, 16), "red"))))
    script = str(Path(__file__).with_name("blender_import.py"))
    command = [str(BLENDER_PYTHON), script, str(source), str(result)]
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = np.load(result)
    posed = mesh.vertices.numpy()[np.unique(mesh.faces.numpy())]
    distance, _ = KDTree(seen["vertices"]).query(posed)
    assert distance.max() < 1e-3
    assert set(seen["bones"]) == set(mesh.rig.joint_names)
    assert mesh.uv_faces is not None
    used = mesh.uvs.numpy()[np.unique(mesh.uv_faces.numpy())]
    distance, _ = KDTree(seen["uv"]).query(used)
    assert distance.max() < 1e-5
    assert tuple(seen["image_size"]) == (16, 16)
