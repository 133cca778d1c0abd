"""The rasteriser and the conditions against Blender's Cycles, which we did not write."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from vitruvian.body.anny_body import anny_body
from vitruvian.core.camera import CameraRig
from vitruvian.core.mesh import Mesh
from vitruvian.render.conditions import camera_normals
from vitruvian.render.raster import rasterize
from vitruvian.render.rig_json import parse_rig

ROOT = Path(__file__).parents[2]
BLENDER_PYTHON = ROOT / ".venv-blender" / "bin" / "python"
CAMERAS = [
    {"name": "front", "position": [0, -2.3, 1.4], "look_at": [0, 0, 0.85], "fov": 50},
    {"name": "back_left", "position": [1.6, 1.6, 1.3], "look_at": [0, 0, 0.85], "fov": 50},
    {"name": "face", "position": [0.2, -0.7, 1.6], "look_at": [0, 0, 1.45], "fov": 30},
    {"name": "rolled", "position": [-2, -1, 0.3], "look_at": [0, 0, 0.9], "up": [0.4, 0, 1], "fov": 60},
    {
        "name": "off_centre",
        "position": [-1.2, -2, 1],
        "look_at": [0, 0, 0.9],
        "fov": 55,
        "principal_point": [0.37, 0.58],
    },
    {"name": "ortho_side", "position": [3, 0, 0.9], "look_at": [0, 0, 0.8], "ortho_scale": 1.6},
    {
        "name": "ortho_off_centre",
        "position": [1, 2, 2],
        "look_at": [0, 0, 0.8],
        "ortho_scale": 1.7,
        "principal_point": [0.62, 0.45],
    },
    {"name": "below", "position": [0.3, -1.2, -1.2], "look_at": [0, 0, 0.6], "fov": 60},
]

pytestmark = [
    pytest.mark.blender,
    pytest.mark.skipif(
        not BLENDER_PYTHON.exists(), reason="run scripts/setup_blender_env.sh (make test does)"
    ),
]


def render_in_cycles(mesh: Mesh, rig: CameraRig, folder: Path) -> dict[str, np.ndarray]:
    scene, result = folder / "scene.npz", folder / "result.npz"
    np.savez(
        scene,
        vertices=mesh.vertices.numpy(),
        faces=mesh.faces.numpy(),
        T_world_cam=rig.T_world_cam.double().numpy(),
        K=rig.K.double().numpy(),
        orthographic=rig.orthographic.numpy(),
        size=np.array([rig.width, rig.height]),
    )
    command = [
        str(BLENDER_PYTHON),
        str(Path(__file__).with_name("cycles_render.py")),
        str(scene),
        str(result),
    ]
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(np.load(result))


@pytest.mark.parametrize("pose", ["A", "walking"])
def test_masks_depth_and_normals_are_those_of_cycles(pose: str, tmp_path: Path) -> None:
    mesh = anny_body(pose=pose).mesh
    rig = parse_rig({"width": 320, "height": 400, "cameras": CAMERAS})
    truth = render_in_cycles(mesh, rig, tmp_path)
    gbuffer = rasterize(mesh, rig)
    normals = camera_normals(mesh, rig, gbuffer)
    R = rig.T_world_cam[:, :3, :3]
    true_normals = torch.einsum("nji,nhwj->nhwi", R, torch.from_numpy(truth["normal"]))
    for i, name in enumerate(rig.names):
        ours, theirs = gbuffer.mask[i].numpy(), truth["mask"][i]
        both = ours & theirs
        assert both.sum() > 3000, f"{name}: the body is hardly in the picture"
        iou = both.sum() / (ours | theirs).sum()
        depth_error = np.abs(gbuffer.depth[i].numpy() - truth["depth"][i])[both]
        cosine = torch.nn.functional.cosine_similarity(normals[i][both], true_normals[i][both], dim=-1)
        angle = torch.rad2deg(torch.arccos(cosine.clamp(-1, 1)))
        print(
            f"{pose} {name}: IoU {iou:.5f}, depth error median {1000 * np.median(depth_error):.4f} mm, "
            f"p99 {1000 * np.quantile(depth_error, 0.99):.3f} mm, "
            f"normals median {float(angle.median()):.3f} deg"
        )
        assert iou >= 0.999, name
        assert np.median(depth_error) < 1e-3, name
        assert float(angle.median()) < 1.0, name
