"""Meshes with UVs and known textures, and pictures of them."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh
from vitruvian.render.raster import rasterize
from vitruvian.render.rig_json import parse_rig
from vitruvian.render.texturing import render_texture
from vitruvian.texture.fill import pad_islands
from vitruvian.texture.texels import TexelMap


def globe(rings: int = 24, segments: int = 48, radius: float = 0.5) -> Mesh:
    """A ball around (0, 0, 1), unwrapped like a map of the world; cut at its back (+Y)."""
    v, u = torch.meshgrid(torch.linspace(0, 1, rings + 1), torch.linspace(0, 1, segments + 1), indexing="ij")
    latitude, longitude = math.pi * (v - 0.5), 2.0 * math.pi * (u - 0.5)
    x, y = torch.cos(latitude) * torch.sin(longitude), -torch.cos(latitude) * torch.cos(longitude)
    points = torch.stack([x, y, torch.sin(latitude)], dim=-1) * radius + torch.tensor([0.0, 0.0, 1.0])
    row, column = torch.meshgrid(torch.arange(rings), torch.arange(segments), indexing="ij")

    def corner(dr: int, dc: int, width: int, wrap: bool) -> Tensor:
        c = (column + dc) % segments if wrap else column + dc
        return ((row + dr) * width + c).reshape(-1)

    def triangles(width: int, wrap: bool) -> Tensor:
        a, b, c, d = (corner(*at, width, wrap) for at in ((0, 0), (0, 1), (1, 1), (1, 0)))
        return torch.cat([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)])

    uvs = torch.stack([0.05 + 0.9 * u, 0.05 + 0.9 * v], dim=-1).reshape(-1, 2)
    vertices = points[:, :segments].reshape(-1, 3)
    return Mesh(vertices, triangles(segments, True), uvs, triangles(segments + 1, False), name="globe")


def two_plates(gap: float = 0.3) -> Mesh:
    """A 1 m plate facing -Y at y = 0, and a 0.3 m one floating `gap` in front of its middle."""
    back = torch.tensor([[-0.5, 0.0, 0.5], [0.5, 0.0, 0.5], [0.5, 0.0, 1.5], [-0.5, 0.0, 1.5]])
    front = (back - torch.tensor([0.0, 0.0, 1.0])) * 0.3 + torch.tensor([0.0, -gap, 1.0])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    left = torch.tensor([[0.05, 0.05], [0.55, 0.05], [0.55, 0.55], [0.05, 0.55]])
    uvs = torch.cat([left, left * 0.5 + torch.tensor([0.65, 0.65])])
    return Mesh(torch.cat([back, front]), faces, uvs, faces.clone(), name="plates")


def ring_rig(size: int = 96, count: int = 6, distance: float = 1.6, closeups: bool = False) -> CameraRig:
    """Perspective cameras around (0, 0, 1); with `closeups`, as many again at half the distance."""
    cameras = []
    for kind, far in (("body", distance), ("upper", 0.6 * distance))[: 2 if closeups else 1]:
        for i in range(count):
            angle = 2.0 * math.pi * i / count
            position = [far * math.sin(angle), -far * math.cos(angle), 1.0 + 0.3 * far]
            name = f"{kind}_{i}"
            cameras.append(
                {"name": name, "kind": kind, "position": position, "look_at": [0, 0, 1], "fov": 50}
            )
    return parse_rig({"width": size, "height": size, "cameras": cameras})


def waves(points: Float[Tensor, "P 3"], period: float = 0.4) -> Float[Tensor, "P 3"]:
    """A smooth colour pattern in space, 0.1 to 0.9: no two sides of a body look alike."""
    return 0.5 + 0.4 * torch.sin(points * (2.0 * math.pi / period) + torch.tensor([0.0, 1.0, 2.0]))


def painted(texels: TexelMap, colours: Float[Tensor, "P 3"]) -> Float[Tensor, "3 S S"]:
    """The colours as a padded texture."""
    known = torch.zeros(texels.size**2, dtype=torch.bool)
    known[texels.index] = True
    return pad_islands(texels.image(colours.T), known.reshape(texels.size, texels.size))


def photograph(
    mesh: Mesh, rig: CameraRig, albedo: Float[Tensor, "3 S S"], samples: int = 3
) -> tuple[Float[Tensor, "N 3 H W"], GBuffer]:
    """Antialiased pictures on white (edge pixels mix with it, as in real ones), and the G-buffer."""
    fine = rasterize(mesh, rig.resized(rig.width * samples, rig.height * samples))
    images = torch.nn.functional.avg_pool2d(render_texture(mesh, fine, albedo), samples)
    return images, rasterize(mesh, rig)


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10.0 * torch.log10((a - b).square().mean().clamp_min(1e-12)))
