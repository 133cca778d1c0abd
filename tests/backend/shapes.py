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


def pebble(subdivisions: int = 2) -> Mesh:
    """A dented ball: no two of its edges coincide on any image, so distances have gradients everywhere."""
    mesh = sphere(subdivisions=subdivisions)
    noise = torch.randn(mesh.vertices.shape, generator=torch.Generator().manual_seed(0))
    return Mesh(mesh.vertices + 0.01 * noise, mesh.faces)


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


def ball(rings: int = 12, sectors: int = 24) -> Mesh:
    """A sphere of 0.5 m radius, its centre 1 m above the ground, with one UV chart."""
    v, u = torch.meshgrid(torch.linspace(0, 1, rings + 1), torch.linspace(0, 1, sectors + 1), indexing="ij")
    polar, around = torch.pi * v.flatten(), 2 * torch.pi * u.flatten()
    points = torch.stack([polar.sin() * around.cos(), polar.sin() * around.sin(), polar.cos()], dim=1)
    corner = (torch.arange(rings)[:, None] * (sectors + 1) + torch.arange(sectors)).flatten()
    below = corner + sectors + 1
    upper = torch.stack([corner, below, below + 1], dim=1)
    lower = torch.stack([corner, below + 1, corner + 1], dim=1)
    uvs = torch.stack([u.flatten(), 1 - v.flatten()], dim=1)
    faces = torch.cat([upper, lower])
    return Mesh(0.5 * points + torch.tensor([0.0, 0.0, 1.0]), faces, uvs, faces, name="ball")
