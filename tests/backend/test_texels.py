"""Texel maps: every texel of a UV layout knows its point of the surface."""

from __future__ import annotations

import pytest
import torch
from textured import globe, two_plates

from vitruvian.core.errors import UserError
from vitruvian.core.mesh import Mesh
from vitruvian.texture import layout as layout_module
from vitruvian.texture.texels import TexelMap, texel_map


@pytest.fixture(scope="module")
def world() -> tuple[Mesh, TexelMap]:
    mesh = globe()
    return mesh, texel_map(mesh, 512)


def test_barycentrics_lead_back_to_the_texels_centre(world: tuple[Mesh, TexelMap]) -> None:
    mesh, texels = world
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    uv = (mesh.uvs[mesh.uv_faces[texels.face]] * texels.barycentric[..., None]).sum(1)
    column, row = uv[:, 0] * 512 - 0.5, (1.0 - uv[:, 1]) * 512 - 0.5
    found = torch.stack([row, column], dim=-1)
    expected = torch.stack([texels.index // 512, texels.index % 512], dim=-1)
    off = (found - expected).norm(dim=-1)
    assert off[texels.inside].max() < 1e-2
    assert off.max() < 1.6


def test_every_point_of_an_island_is_listed(world: tuple[Mesh, TexelMap]) -> None:
    # The globe's layout is the square [0.05, 0.95]^2.
    _, texels = world
    centres = (torch.arange(512) + 0.5) / 512
    within = ((centres > 0.05) & (centres < 0.95)).sum()
    assert int(texels.inside.sum()) == int(within) ** 2


def test_every_bilinear_lookup_on_an_island_reads_listed_texels(world: tuple[Mesh, TexelMap]) -> None:
    _, texels = world
    listed = torch.zeros(512, 512, dtype=torch.bool)
    listed.view(-1)[texels.index] = True
    generator = torch.Generator().manual_seed(3)
    edge = torch.rand(2000, generator=generator) * 0.9 + 0.05
    for u, v in ((edge, torch.full_like(edge, 0.05)), (torch.full_like(edge, 0.95), edge)):
        column, row = u * 512 - 0.5, (1.0 - v) * 512 - 0.5
        for dr in (0, 1):
            for dc in (0, 1):
                assert listed[row.floor().long() + dr, column.floor().long() + dc].all()


def test_positions_lie_on_the_surface_and_normals_point_out(world: tuple[Mesh, TexelMap]) -> None:
    _, texels = world
    from_centre = texels.position - torch.tensor([0.0, 0.0, 1.0])
    radius = from_centre.norm(dim=-1)
    assert radius.max() <= 0.5 + 1e-5
    assert radius.min() > 0.49
    away_from_poles = from_centre[:, 2].abs() < 0.48
    outward = (texels.normal * from_centre).sum(-1) / radius
    assert outward[away_from_poles].min() > 0.95


def test_footprints_add_up_to_the_surface() -> None:
    texels = texel_map(two_plates(), 512)
    area = (texels.footprint[texels.inside] ** 2).sum()
    assert float(area) == pytest.approx(1.0 + 0.09, rel=0.01)


def test_batches_of_triangles_change_nothing(
    world: tuple[Mesh, TexelMap], monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh, texels = world
    monkeypatch.setattr(layout_module, "_CANDIDATES", 5_000)
    again = texel_map(mesh, 512)
    assert torch.equal(again.index, texels.index)
    assert torch.allclose(again.position, texels.position, atol=1e-6)


def test_mirrored_layouts_work_too() -> None:
    mesh = globe()
    assert mesh.uvs is not None
    flipped = mesh.uvs * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    mirrored = Mesh(mesh.vertices, mesh.faces, flipped, mesh.uv_faces)
    assert int(texel_map(mirrored, 512).inside.sum()) == int(texel_map(mesh, 512).inside.sum())


@pytest.mark.parametrize("size", [0, -5, 511, 8193, 100_000, True])
def test_refuses_sizes_that_we_do_not_bake(size: int) -> None:
    with pytest.raises(UserError, match="texture size"):
        texel_map(globe(), size)


def test_refuses_a_mesh_without_uvs() -> None:
    mesh = globe()
    with pytest.raises(UserError, match=r"mesh\.uvs"):
        texel_map(Mesh(mesh.vertices, mesh.faces), 512)
