"""Meshes that tests are run on."""

from __future__ import annotations

import torch

from vitruvian.core.mesh import Mesh


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
