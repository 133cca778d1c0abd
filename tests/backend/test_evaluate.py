"""The evaluation judged: what it must say of the truth, of a wrong answer, and of a texture with a hole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import Avatar, Texture, ViewSet
from vitruvian.core.report import silent
from vitruvian.diffusion.prior import Prior
from vitruvian.evaluate.ablation import variants
from vitruvian.evaluate.adherence import judge_colours, median_difference, share_right
from vitruvian.evaluate.bench.timing import alternate
from vitruvian.evaluate.consistency import (
    PatchPool,
    measure_views,
    reconstruction_psnr,
    seen_coverage,
    truth_floor,
    visible_by_rays,
)
from vitruvian.evaluate.metrics import erode, patches, sliced_wasserstein
from vitruvian.evaluate.people import Person, held_out_people
from vitruvian.evaluate.protocol import evaluate
from vitruvian.methods.mvhuman import MVHumanSettings
from vitruvian.render.raster import rasterize
from vitruvian.texture.fuse import fuse
from vitruvian.wardrobe.subject import split_of


@pytest.fixture(scope="module")
def people() -> list[Person]:
    return held_out_people(2, size=128, views_per_ring=2)


@pytest.fixture(scope="module")
def avatar(people: list[Person]) -> Avatar:
    """The true pictures, baked: what a perfect sampler would return."""
    person = people[0]
    views = ViewSet(person.truth, person.rig, rasterize(person.body.mesh, person.rig))
    return Avatar(person.body.mesh, fuse(views, person.body.mesh, 512), views, {})


def test_people_are_test_subjects_and_prompts_ask_for_colours(people: list[Person]):
    assert all(split_of(person.seed) == "test" for person in people)
    assert all(len(person.asked) >= 2 for person in people)
    # The palette's names have synonyms ("golden" for blonde), so only that the prompt is words is sure.
    assert all(len(person.prompt.split()) > 5 for person in people)


def test_the_truth_has_the_colours_asked_for(people: list[Person]):
    findings = [f for p in people for f in judge_colours(p, p.truth, rasterize(p.body.mesh, p.rig).mask)]
    assert len(findings) >= 4
    assert share_right(findings) >= 0.8
    assert median_difference(findings) < 6


def test_inverted_pictures_do_not(people: list[Person]):
    person = people[0]
    findings = judge_colours(person, 1 - person.truth, rasterize(person.body.mesh, person.rig).mask)
    assert share_right(findings) < 0.5


def test_truth_agrees_with_itself(people: list[Person], avatar: Avatar):
    figures = measure_views(people[0], avatar)
    assert figures.patch_distance == 0
    assert figures.texture_psnr > 20
    assert figures.coverage > 0.98
    assert figures.sharpness > 0


def test_pooled_patches_are_of_all_people_together(people: list[Person]):
    true = [ViewSet(p.truth, p.rig, rasterize(p.body.mesh, p.rig)) for p in people]
    first, second = true
    swapped = [first.with_images(second.images), second.with_images(first.images)]
    pool = PatchPool(len(people))
    for person, views, other in zip(people, true, swapped, strict=True):
        pool.add(person, {"true": views, "swapped": other})
    assert pool.distance("true") == 0
    apart = [
        sliced_wasserstein(patches(p.truth, v.gbuffer.mask), patches(v.images, v.gbuffer.mask))
        for p, v in zip(people, swapped, strict=True)
    ]
    # Two people in each other's pictures are far from themselves, and hardly from the two together.
    assert 0 < pool.distance("swapped") < 0.5 * min(apart)


def test_reconstruction_is_judged_inside_the_body(
    people: list[Person], tiny: Prior, monkeypatch: pytest.MonkeyPatch
):
    person = people[0]
    mask = rasterize(person.body.mesh, person.rig).mask
    inside = erode(mask, 2)[:, None]
    module = "vitruvian.evaluate.consistency"
    monkeypatch.setattr(f"{module}.encode", lambda prior, images: images)
    monkeypatch.setattr(f"{module}.decode", lambda prior, images: torch.where(inside, images + 0.1, 0.5))
    made = reconstruction_psnr(tiny, person, mask)
    assert made == pytest.approx([20.0] * len(person.truth), abs=0.01)
    mask[0] = False
    assert len(reconstruction_psnr(tiny, person, mask)) == len(person.truth) - 1


def test_the_autoencoder_makes_pictures_of_the_same_people(people: list[Person], tiny: Prior):
    person = people[0]
    made = reconstruction_psnr(tiny, person, rasterize(person.body.mesh, person.rig).mask)
    assert len(made) == len(person.truth)
    assert all(5 < dB < 60 for dB in made)


def test_coverage_sees_a_hole(avatar: Avatar):
    whole = seen_coverage(avatar)
    texture = avatar.texture
    holed = texture.coverage.clone()
    holed[: holed.shape[0] // 2] = 0
    hole = replace(avatar, texture=Texture(texture.albedo, holed, texture.inside))
    assert seen_coverage(hole) < whole - 0.2


def test_rays_agree_with_the_rasteriser(avatar: Avatar):
    """The point behind every pixel is visible; the same point seen by a camera on the other side is not."""
    mesh, rig, gbuffer = avatar.mesh, avatar.views.rig, avatar.views.gbuffer
    mask = gbuffer.mask.clone()
    mask[1:] = False
    corners = mesh.faces[gbuffer.face_id[mask]]
    weights = gbuffer.barycentric[mask][..., None]
    points = (mesh.vertices[corners] * weights).sum(1)
    normals = torch.nn.functional.normalize((mesh.vertex_normals[corners] * weights).sum(1), dim=-1)
    facing = (torch.nn.functional.normalize(rig.positions[0] - points, dim=-1) * normals).sum(-1) > 0.3
    assert visible_by_rays(mesh, rig.select([0]), points[facing], normals[facing]).float().mean() > 0.99
    behind = _opposite(rig)
    assert visible_by_rays(mesh, behind, points[facing], normals[facing]).float().mean() < 0.05


def _opposite(rig: CameraRig) -> CameraRig:
    """The camera of the same ring that looks from the back."""
    return rig.select([1])


def test_floor_is_below_the_distance_to_noise(people: list[Person]):
    floor = truth_floor(people)
    mask = people[0].slots > 0
    noise = torch.rand(people[0].truth.shape, generator=torch.Generator().manual_seed(0))
    assert 0 < floor < sliced_wasserstein(patches(people[0].truth, mask), patches(noise, mask))


def test_alternation_counts_every_run_but_the_first():
    calls: list[str] = []
    a, b = alternate(lambda: calls.append("a"), lambda: calls.append("b"), repeats=3)
    assert calls == ["a", "b"] * 4
    assert len(a.seconds) == len(b.seconds) == 3


def test_the_whole_protocol_runs_and_is_written_down(tiny: Prior, tmp_path: Path):
    settings = MVHumanSettings(steps=2, texture_size=512)
    evaluation = evaluate(tiny, tmp_path, silent, people=1, compared=1, settings=settings)
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert [line["what"] for line in written["table"]] == [line.what for line in evaluation.table()]
    assert written["prior"]["sha256"] == tiny.hash
    assert all(line["met"] is not None for line in written["table"] if line["target"])
    assert list(tmp_path.glob("views_*.png"))
    assert list(tmp_path.glob("colours_*.png"))


def test_every_ablation_is_another_one(tiny: Prior) -> None:
    """A tiny autoencoder is tried where there is one."""
    settings = variants(replace(tiny, tiny_vae=object()))
    assert set(settings) - set(variants(tiny)) == {"round trip cancelled and tiny autoencoder"}
    full = settings.pop("full")
    assert all(variant != full for variant in settings.values())
    assert len(set(map(repr, settings.values()))) == len(settings)
