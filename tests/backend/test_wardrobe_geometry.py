"""Laws of the wardrobe's geometry: layers lie outside each other, materials match, seeds repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy import ndarray

from vitruvian.render.rigs import default_rig
from vitruvian.wardrobe import records
from vitruvian.wardrobe.anatomy import anatomy, apply, similarity, vertex_normals
from vitruvian.wardrobe.cloth import border_edges, cut_out, smooth_heights, surface_of, unwrapped
from vitruvian.wardrobe.dress import Dressed, ambient_occlusion, dress
from vitruvian.wardrobe.garments import hem_height
from vitruvian.wardrobe.render import render_dressed
from vitruvian.wardrobe.subject import Geometry, sample_geometry


def clothed(**changes: object) -> Geometry:
    """A person in a closed set of plain things, but for `changes`."""
    plain: dict[str, object] = {
        "pose": "A", "joint_jitter": {}, "top": "t-shirt", "bottom": "trousers", "outer": None, "dress": None,
        "shoes": "sneakers", "hat": None, "belt": False, "glasses": False, "hair_style": "short",
        "beard": None, "top_sleeve": 0.3, "top_hem": 0.2, "bottom_hem": 0.97,
    }  # fmt: skip
    return replace(sample_geometry(3), **{**plain, **changes})


def grid(size: int) -> tuple[ndarray, ndarray]:
    """A flat square of side 1 in the plane z = 0, facing +z."""
    x, y = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size))
    index = np.arange(size * size).reshape(size, size)
    a, b, c, d = (
        index[:-1, :-1].ravel(),
        index[:-1, 1:].ravel(),
        index[1:, 1:].ravel(),
        index[1:, :-1].ravel(),
    )
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return np.stack([x.ravel(), y.ravel(), np.zeros(size * size)], axis=1), faces


def slots_of(dressed: Dressed) -> set[int]:
    return set(np.unique(dressed.slot).tolist())


def test_a_linear_field_is_cut_exactly() -> None:
    vertices, faces = grid(9)
    inside = 0.337 - vertices[:, 0] * 0.8 - vertices[:, 1] * 0.2
    cut = cut_out(faces, inside)
    assert cut.of(inside).min() > -1e-12
    corners = cut.of(vertices)[cut.faces]
    area = (
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()
        / 2
    )
    # Below the line 0.8 x + 0.2 y = 0.337, which leaves through the square's bottom and top edges.
    assert area == pytest.approx((0.337 / 0.8 + (0.337 - 0.2) / 0.8) / 2, abs=1e-9)
    assert (vertex_normals(cut.of(vertices), cut.faces)[:, 2] > 0.99).all()


def test_border_of_a_square_is_its_outline() -> None:
    vertices, faces = grid(5)
    edges = border_edges(faces)
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1).sum()
    assert length == pytest.approx(4.0)


def test_similarity_is_recovered() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20, 3))
    R, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    R *= np.sign(np.linalg.det(R))
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = 1.7 * R, [0.3, -2.0, 0.5]
    assert np.allclose(similarity(points, apply(T, points)), T)


def test_angles_continue_across_the_seam() -> None:
    across = unwrapped(np.array([[3.1, -3.1, 3.0], [0.1, -0.1, 0.2]]))
    assert np.ptp(across, axis=1).max() < 0.5
    assert np.array_equal(across[1], [0.1, -0.1, 0.2])


def test_membrane_never_sinks_below_what_it_covers() -> None:
    body = anatomy()
    surface = surface_of(body, body.rest * 1.7, 1.7)
    cut = cut_out(body.faces, np.where(body.part == 0, 0.7 - np.abs(body.rest[:, 2] - 0.1), -1.0))
    least = np.full(len(cut.a), 0.006)
    assert (smooth_heights(cut, surface, least, least, 10) >= least).all()


def test_anatomy_is_an_upright_person_facing_front() -> None:
    body = anatomy()
    assert body.rest[:, 2].min() == pytest.approx(0.0, abs=1e-6)
    assert body.rest[:, 2].max() == pytest.approx(1.0)
    assert body.rest[body.part == 1, 0].mean() > 0 > body.rest[body.part == 2, 0].mean()
    assert body.rest[body.part == 1, 1].mean() < -0.05
    assert np.allclose(body.averaging.sum(axis=1), 1.0)


def test_the_same_geometry_gives_the_same_bytes() -> None:
    geometry = sample_geometry(7)
    first, second = dress(geometry), dress(geometry)
    assert torch.equal(first.mesh.vertices, second.mesh.vertices)
    assert torch.equal(first.mesh.faces, second.mesh.faces)
    for name in ("slot", "fabric_uv", "rest_position", "ao", "border"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


WORN = {
    "bare": ({"top": None, "bottom": None, "shoes": None, "hair_style": "bald"}, set()),
    "plain": ({}, {"TOP", "BOTTOM", "SHOES", "SOLES", "HAIR"}),
    "dress": ({"top": None, "bottom": None, "dress": "dress"}, {"DRESS", "SHOES", "SOLES", "HAIR"}),
    "coat": ({"outer": "coat", "outer_open": 0.7}, {"TOP", "BOTTOM", "OUTER", "SHOES", "SOLES", "HAIR"}),
    "skirt": ({"bottom": "skirt", "pose": "seated"}, {"TOP", "BOTTOM", "SHOES", "SOLES", "HAIR"}),
    "head": (
        {"hat": "hat", "glasses": True, "beard": "full beard", "belt": True, "hair_style": "ponytail"},
        {"TOP", "BOTTOM", "SHOES", "SOLES", "HAIR", "HAT", "GLASSES", "BEARD", "BELT"},
    ),
}


@pytest.mark.parametrize("name", WORN)
def test_materials_are_those_that_are_worn(name: str) -> None:
    changes, worn = WORN[name]
    dressed = dress(clothed(**changes))
    assert slots_of(dressed) == {records.SKIN, records.EYES} | {getattr(records, slot) for slot in worn}
    assert bool(torch.isfinite(dressed.mesh.vertices).all())
    assert np.isfinite(dressed.fabric_uv).all()
    assert 0.7 - 1e-6 <= dressed.ao.min() <= dressed.ao.max() <= 1.0
    assert int(dressed.mesh.faces.max()) < len(dressed.mesh.vertices) == len(dressed.rest_position)


@pytest.mark.parametrize("style", records.HAIR_STYLES)
def test_every_hair_style_covers_what_it_should(style: str) -> None:
    dressed = dress(clothed(hair_style=style, hair_length=1.0))
    hair = dressed.mesh.faces[torch.from_numpy(dressed.slot == records.HAIR)]
    if style == "bald":
        assert len(hair) == 0
        return
    z = dressed.rest_position[np.unique(hair.numpy()), 2]
    assert z.max() > 1.0
    lowest = {"long": 0.76, "ponytail": 0.80, "bob": 0.88}.get(style)
    if lowest is not None:
        assert z.min() < lowest


@pytest.mark.parametrize("pose", records.POSES)
def test_nothing_shows_through_closed_clothes(pose: str) -> None:
    """No camera sees skin inside a shirt, nor trousers through it."""
    geometry = clothed(pose=pose, top="sweater", top_sleeve=0.95)
    dressed = dress(geometry)
    rig = default_rig(dressed.body.mesh, 96).select([0, 2, 4, 6, 8, 12])
    pixels = render_dressed(dressed, rig)
    x, _, z = pixels.rest_position.T
    hem = hem_height(geometry.top_hem)
    torso = (np.abs(x) < 0.07) & (z > hem + 0.02) & (z < 0.78)
    assert not (torso & np.isin(pixels.slot, [records.SKIN, records.BOTTOM])).any()
    legs = (z > 0.09) & (z < 0.5) & (np.abs(x) < 0.15)
    assert not (legs & (pixels.slot == records.SKIN)).any()
    assert (torso & (pixels.slot == records.TOP)).any()


def test_a_jacket_lies_over_a_wide_skirt() -> None:
    geometry = clothed(top=None, bottom=None, dress="dress", top_loose=1.0, outer="jacket", outer_open=0.0)
    dressed = dress(geometry)
    pixels = render_dressed(dressed, default_rig(dressed.body.mesh, 96).select([0, 2, 4, 6]))
    z = pixels.rest_position[:, 2]
    under = (pixels.slot == records.DRESS) & (z > hem_height(geometry.outer_hem) + 0.02) & (z < 0.76)
    assert under.sum() <= 0.01 * (pixels.slot == records.OUTER).sum()


def test_sparse_pixels_are_ordered_and_inside_the_images() -> None:
    dressed = dress(clothed())
    rig = default_rig(dressed.body.mesh, 48).select([0, 3, 9])
    pixels = render_dressed(dressed, rig)
    assert (pixels.height, pixels.width, pixels.views) == (96, 96, 3)
    flat = pixels.view.astype(np.int64) * pixels.height * pixels.width + pixels.pixel
    assert (np.diff(flat) > 0).all()
    assert 0 <= pixels.pixel.min() <= pixels.pixel.max() < pixels.height * pixels.width
    assert pixels.slot.min() > records.BACKGROUND
    # Vertical position in the image follows the height on the body.
    front = pixels.view == 0
    row = pixels.pixel[front] // pixels.width
    assert np.corrcoef(row, pixels.rest_position[front, 2])[0, 1] < -0.97


def test_a_rig_that_sees_nothing_gives_no_pixels() -> None:
    dressed = dress(clothed())
    rig = default_rig(dressed.body.mesh, 32).select([0])
    T = rig.T_world_cam.clone()
    T[:, :3, 3] *= 50.0
    T[:, :3, 2] *= -1.0
    T[:, :3, 0] *= -1.0
    assert len(render_dressed(dressed, replace(rig, T_world_cam=T)).pixel) == 0


def test_occlusion_of_a_plane_and_of_a_slit() -> None:
    vertices, faces = grid(12)
    rng = np.random.default_rng(1)
    assert (ambient_occlusion(vertices, faces, rng) > 0.999).all()
    lid = vertices + np.array([0.0, 0.0, 0.05])
    both = ambient_occlusion(
        np.concatenate([vertices, lid]), np.concatenate([faces, faces + len(vertices)]), rng
    )
    middle = np.abs(vertices - np.array([0.5, 0.5, 0.0])).max(axis=1) < 0.2
    assert both[: len(vertices)][middle].max() < 0.75
    assert both[len(vertices) :][middle].min() > 0.99
