"""The default proxy: our forward pass against Anny's own, poses, phenotypes, the disk cache."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vitruvian.body import anny_arrays
from vitruvian.body.anny_arrays import AnnyArrays, anny_model, blendshape_coefficients
from vitruvian.body.anny_body import PHENOTYPES, anny_body, pose_body
from vitruvian.body.kinematics import axis_angle_from_rotation, rigid_inverse, rotation_from_axis_angle
from vitruvian.body.poses import POSES, joint_rotations_of
from vitruvian.core.errors import UserError
from vitruvian.core.mesh import check_mesh

ADULT = {"gender": 1.0, "age": 0.67}


def joint(body, name: str) -> torch.Tensor:
    return body.mesh.rig.T_world_joint[body.mesh.rig.joint_names.index(name), :3, 3]


@pytest.mark.parametrize("pose", POSES)
def test_poses_stand_on_the_ground_and_face_the_front(pose: str) -> None:
    body = anny_body(ADULT, pose)
    check_mesh(body.mesh)
    assert float(body.mesh.vertices[:, 2].min()) == pytest.approx(0.0, abs=1e-6)
    assert joint(body, "root")[:2].abs().max() < 1e-6
    assert joint(body, "eye.L")[1] < joint(body, "head")[1]
    assert joint(body, "upperleg01.L")[0] > 0.0 > joint(body, "upperleg01.R")[0]
    assert body.mesh.rig is not None
    assert torch.allclose(body.mesh.rig.weights.sum(1), torch.ones(()), atol=1e-5)


@pytest.mark.parametrize("pose", [p for p in POSES if p not in ("walking", "contrapposto", "waving")])
def test_symmetric_poses_are_symmetric(pose: str) -> None:
    body = anny_body(ADULT, pose)
    for name in ("wrist", "lowerarm01", "foot", "lowerleg01", "toe1-1"):
        left, right = joint(body, f"{name}.L"), joint(body, f"{name}.R")
        assert torch.allclose(left * torch.tensor([-1.0, 1.0, 1.0]), right, atol=5e-3)


def test_arms_go_where_the_poses_say() -> None:
    T, relaxed = anny_body(ADULT, "T"), anny_body(ADULT, "relaxed")
    assert abs(joint(T, "wrist.L")[2] - joint(T, "upperarm01.L")[2]) < 0.03
    assert (
        joint(relaxed, "wrist.L")[2] < joint(relaxed, "lowerarm01.L")[2] < joint(relaxed, "upperarm01.L")[2]
    )


def test_a_pose_is_the_same_for_every_phenotype() -> None:
    def upper_arm(phenotype: dict[str, float]) -> torch.Tensor:
        body = anny_body(phenotype, "T")
        return torch.nn.functional.normalize(joint(body, "lowerarm01.L") - joint(body, "upperarm01.L"), dim=0)

    cosine = upper_arm({"gender": 0.0, "weight": 1.0}) @ upper_arm({"gender": 1.0, "age": 0.4, "weight": 0.0})
    assert math.degrees(math.acos(min(1.0, float(cosine)))) < 6.0


def test_gender_runs_from_male_to_female() -> None:
    def shoulders_to_hips(gender: float) -> float:
        body = anny_body({"gender": gender, "age": 0.67})
        width = [joint(body, f"{n}.L")[0] - joint(body, f"{n}.R")[0] for n in ("upperarm01", "upperleg01")]
        return float(width[0] / width[1])

    assert shoulders_to_hips(0.0) > shoulders_to_hips(1.0)
    assert (
        anny_body({"age": 0.0}).mesh.vertices[:, 2].max() < 1.0 < anny_body(ADULT).mesh.vertices[:, 2].max()
    )


def test_posed_vertices_are_the_rest_vertices_skinned() -> None:
    body = anny_body(ADULT, "walking")
    rig = body.mesh.rig
    assert rig is not None
    M = rig.T_world_joint @ rigid_inverse(rig.T_rest_joint)
    per_joint = torch.einsum("vkij,vj->vki", M[rig.weight_joints][..., :3, :3], rig.rest_vertices)
    skinned = (rig.weights[..., None] * (per_joint + M[rig.weight_joints][..., :3, 3])).sum(1)
    assert torch.allclose(skinned, body.mesh.vertices, atol=1e-4)
    assert float(rig.rest_vertices[:, 2].min()) == pytest.approx(0.0, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1.7, 1.7), min_size=3, max_size=3))
def test_axis_angle_round_trip(vector: list[float]) -> None:
    expected = torch.tensor(vector)
    R = rotation_from_axis_angle(expected[None])[0]
    assert torch.allclose(R @ R.T, torch.eye(3), atol=1e-5)
    assert torch.allclose(axis_angle_from_rotation(R), expected, atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=6, max_size=6))
def test_blend_weights_are_continuous_in_the_phenotype(values: list[float]) -> None:
    arrays = anny_model()
    here: dict[str, float] = dict(zip(PHENOTYPES, values, strict=True))
    near = {name: min(1.0, value + 1e-4) for name, value in here.items()}
    shift = torch.einsum(
        "b,bjc->jc",
        blendshape_coefficients(arrays, here) - blendshape_coefficients(arrays, near),
        arrays.heads_blendshapes,
    )
    assert float(shift.norm(dim=-1).max()) < 5e-3


@pytest.mark.parametrize(
    ("phenotype", "pose", "field"),
    [
        ({"genre": 0.5}, "A", "body"),
        ({"gender": 1.5}, "A", "body.gender"),
        ({"age": float("nan")}, "A", "body.age"),
        ({"age": "old"}, "A", "body.age"),
        ({}, "flying", "pose"),
    ],
)
def test_bad_bodies_are_refused(phenotype: dict, pose: str, field: str) -> None:
    with pytest.raises(UserError) as error:
        anny_body(phenotype, pose)
    assert error.value.field == field


def test_unknown_joints_are_refused() -> None:
    with pytest.raises(UserError, match=r"upperarm01\.L"):
        pose_body(anny_model(), {}, {"tail": (0.0, 0.0, 1.0)})


def same(a: AnnyArrays, b: AnnyArrays) -> bool:
    pairs = [(getattr(a, field.name), getattr(b, field.name)) for field in fields(AnnyArrays)]
    return all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in pairs)


def test_cache_round_trip_and_a_broken_cache_is_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = anny_model()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(anny_arrays, "_build", lambda: arrays)
    path = anny_arrays.cache_path()
    anny_model.cache_clear()
    assert anny_model() is arrays
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    anny_model.cache_clear()
    assert same(anny_model(), arrays)
    path.write_bytes(path.read_bytes()[:1000])
    anny_model.cache_clear()
    assert anny_model() is arrays
    assert path.stat().st_size > 1_000_000
    anny_model.cache_clear()


def test_an_unwritable_cache_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = anny_model()
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr(anny_arrays, "_build", lambda: arrays)
    anny_model.cache_clear()
    assert anny_model() is arrays
    anny_model.cache_clear()


def test_a_warm_start_imports_neither_anny_nor_warp() -> None:
    anny_model()
    code = (
        "import sys; from vitruvian.body.anny_body import anny_body; anny_body();"
        "print(sorted({'anny', 'warp', 'smplx', 'trimesh'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.slow
def test_forward_pass_agrees_with_anny_itself() -> None:
    import anny

    model = anny.Anny(skinning_method="lbs")
    arrays = anny_model()
    generator = torch.Generator().manual_seed(7)
    for _ in range(4):
        phenotype = {name: float(torch.rand((), generator=generator)) for name in PHENOTYPES}
        vectors = 0.4 * torch.randn(len(arrays.joint_names), 3, generator=generator)
        deltas = torch.eye(4, dtype=torch.float64).repeat(1, len(vectors), 1, 1)
        deltas[0, :, :3, :3] = rotation_from_axis_angle(vectors)
        output = model(deltas, phenotype)
        expected = output["vertices"][0] - output["bone_poses"][0, 0, :3, 3]
        body = pose_body(arrays, phenotype, dict(zip(arrays.joint_names, vectors, strict=True)))
        ours = body.mesh.vertices - joint(body, "root")
        assert float((ours - expected).norm(dim=-1).max()) < 1e-4


def test_named_rotations_can_be_changed_without_changing_the_pose() -> None:
    arrays = anny_model()
    rotations = joint_rotations_of(arrays, "A")
    rotations["head"] = (0.0, 0.0, 1.0)
    assert joint_rotations_of(arrays, "A") != rotations
