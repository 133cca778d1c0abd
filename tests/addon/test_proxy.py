"""The add-on's own body against the backend's, which it is a compressed copy of."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from vitruvian.body.anny_body import anny_body

proxy = import_module("vitruvian_addon.proxy")


@pytest.mark.parametrize(
    ("phenotype", "pose"),
    [
        ({}, "A"),
        ({"gender": 1.0, "age": 2 / 3, "weight": 0.2}, "walking"),
        ({"gender": 0.0, "age": 1.0, "muscle": 0.9, "height": 0.8}, "seated"),
    ],
)
def test_the_proxy_is_the_backends_body(phenotype: dict[str, float], pose: str) -> None:
    mine, theirs = proxy.make_proxy(phenotype, pose), anny_body(phenotype, pose).mesh
    rig = theirs.rig
    assert rig is not None
    assert mine.joint_names == rig.joint_names
    posed = proxy.skinned(
        mine.rest_vertices, mine.weights, mine.T_world_joint @ np.linalg.inv(mine.T_rest_joint)
    )
    error = np.linalg.norm(posed - theirs.vertices.numpy(), axis=1)
    assert error.mean() < 6e-3
    assert error.max() < 3e-2
    joints = np.linalg.norm(mine.T_world_joint[:, :3, 3] - rig.T_world_joint.numpy()[:, :3, 3], axis=1)
    assert joints.max() < 1e-2


def test_quads_are_the_backends_triangles_with_their_uvs() -> None:
    mine, theirs = proxy.make_proxy({}), anny_body().mesh
    assert theirs.uvs is not None
    assert theirs.uv_faces is not None
    corners = theirs.uvs.numpy()[theirs.uv_faces.numpy()]
    first, second = theirs.faces.numpy()[::2], theirs.faces.numpy()[1::2]
    for quad, uvs, a, b, uv_a, uv_b in zip(
        mine.quads, mine.corner_uvs, first, second, corners[::2], corners[1::2], strict=True
    ):
        uv_of = {
            **dict(zip(a.tolist(), uv_a, strict=True)),
            **dict(zip(b.tolist(), uv_b, strict=True)),
        }
        assert set(quad.tolist()) == set(uv_of)
        np.testing.assert_allclose(uvs, [uv_of[v] for v in quad.tolist()], atol=1e-4)
    # Both halves wind the same way round as the quad.
    ring = {(int(q[i]), int(q[(i + 1) % 4])) for q in mine.quads[:200] for i in range(4)}
    diagonals = sum((int(t[i]), int(t[(i + 1) % 3])) not in ring for t in first[:200] for i in range(3))
    assert diagonals == 200


def test_weights_are_whole_and_bad_words_refused() -> None:
    np.testing.assert_allclose(proxy.make_proxy({}).weights.sum(axis=1), 1.0, atol=1e-9)
    with pytest.raises(ValueError, match=r"body\.bones"):
        proxy.make_proxy({"bones": 0.5})
    with pytest.raises(ValueError, match="pose = 'Q'"):
        proxy.make_proxy({}, "Q")


def test_the_asset_is_small() -> None:
    assert proxy.ASSET.stat().st_size < 1_000_000
