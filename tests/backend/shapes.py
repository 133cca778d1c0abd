"""Small meshes and cameras with known answers, for several tests."""

from __future__ import annotations

import torch
import trimesh

from vitruvian.core.camera import CameraRig
from vitruvian.core.mesh import Mesh
from vitruvian.render.rig_json import parse_rig


def sphere(radius: float = 0.5, height: float = 1.0, subdivisions: int = 5) -> Mesh:
    """A ball around (0, 0, height)."""
    ball = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    vertices = torch.tensor(ball.vertices, dtype=torch.float32) + torch.tensor([0.0, 0.0, height])
    return Mesh(vertices, torch.tensor(ball.faces, dtype=torch.int64))


def square() -> Mesh:
    """A 1 m square in the plane y = 0 that faces -Y; u runs along +x, v along +z."""
    vertices = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    return Mesh(vertices, faces, uvs=vertices[:, [0, 2]].clone(), uv_faces=faces)


def mixed_rig(width: int = 96, height: int = 80) -> CameraRig:
    """Perspective and orthographic cameras around (0, 0, 1), centred and not."""
    target = [0, 0, 1]
    cameras = [
        {"position": [0, -2, 1], "look_at": target, "fov": 50},
        {"position": [1.5, 1, 1.8], "look_at": target, "fov": 60, "principal_point": [0.4, 0.6]},
        {"position": [-2, 0, 1], "look_at": target, "ortho_scale": 1.6},
        {"position": [0.5, 2, 2], "look_at": target, "ortho_scale": 2, "principal_point": [0.6, 0.45]},
    ]
    return parse_rig({"width": width, "height": height, "cameras": cameras})
