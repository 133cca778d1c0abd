"""The whole method on a prior with random weights: what is painted is noise, how it gets there is not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from shapes import ball
from torch import Tensor

from vitruvian.body.body import Body
from vitruvian.core.camera import CameraRig
from vitruvian.core.errors import Cancelled, UserError
from vitruvian.core.images import Avatar
from vitruvian.core.report import Preview, silent
from vitruvian.diffusion.consistency import ConsistencySettings
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.text import view_prompts
from vitruvian.methods.inputs import Inputs
from vitruvian.methods.mvhuman import (
    OWN_GUIDANCE,
    SD_CONTROL,
    SD_GUIDANCE,
    MVHumanSettings,
    paint_views,
    reference_view,
    run,
    suited,
)
from vitruvian.render.rigs import default_rig

SETTINGS = MVHumanSettings(steps=3, guidance=2.0, texture_size=512, reference=False)


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    mesh = ball()
    return Inputs(Body(mesh), default_rig(mesh, size=32, views_per_ring=4), "a person in red shirt")


@pytest.fixture(scope="module")
def avatar(inputs: Inputs, tiny: Prior) -> Avatar:
    return run(inputs, SETTINGS, tiny, silent)


def paint(inputs: Inputs, tiny: Prior, **changes: Any) -> Tensor:
    return paint_views(inputs, replace(SETTINGS, **changes), tiny, silent).images


def test_every_view_and_texel_is_painted(avatar: Avatar, inputs: Inputs) -> None:
    assert avatar.views.images.shape == (8, 3, 32, 32)
    assert torch.isfinite(avatar.views.images).all()
    assert avatar.texture.albedo.shape == (3, 512, 512)
    assert torch.equal(avatar.mesh.vertices, inputs.body.mesh.vertices)
    assert torch.equal(avatar.mesh.faces, inputs.body.mesh.faces)


def test_same_seed_same_bytes_other_seed_other_picture(avatar: Avatar, inputs: Inputs, tiny: Prior) -> None:
    again = run(inputs, SETTINGS, tiny, silent)
    assert torch.equal(again.views.images, avatar.views.images)
    assert torch.equal(again.texture.albedo, avatar.texture.albedo)
    assert not torch.equal(paint(inputs, tiny, seed=1), avatar.views.images)


def test_a_view_sampled_alone_does_not_change(inputs: Inputs, tiny: Prior) -> None:
    """One seed a view: without guidance by the others, neither number nor order of the views matters."""
    views = paint(inputs, tiny, consistency=None)
    some = paint(replace(inputs, rig=inputs.rig.select([5, 2])), tiny, consistency=None)
    torch.testing.assert_close(some, views[[5, 2]], atol=1e-5, rtol=0)


def test_no_guided_step_is_no_guidance(inputs: Inputs, tiny: Prior) -> None:
    never = paint(inputs, tiny, consistency=ConsistencySettings(start=1.0, end=0.0))
    assert torch.equal(never, paint(inputs, tiny, consistency=None))


@pytest.mark.parametrize("change", [{"consistency": None}, {"reference": True}, {"fuser": "neighbours"}])
def test_every_device_changes_the_views(
    change: dict[str, object], avatar: Avatar, inputs: Inputs, tiny: Prior
) -> None:
    assert not torch.equal(paint(inputs, tiny, **change), avatar.views.images)


def test_what_is_left_open_suits_the_prior_and_what_is_asked_for_stays(tiny: Prior) -> None:
    ours, theirs = replace(tiny, card={"name": "mini"}), replace(tiny, card={})
    open_settings = MVHumanSettings()

    def cancels(settings: MVHumanSettings) -> bool | None:
        assert settings.consistency is not None
        return settings.consistency.cancel_round_trip

    own, sd = suited(open_settings, ours), suited(open_settings, theirs)
    assert (cancels(own), cancels(sd)) == (False, True)
    assert (own.guidance, sd.guidance) == (OWN_GUIDANCE, SD_GUIDANCE)
    assert (own.control, sd.control) == ({}, SD_CONTROL)
    assert suited(own, theirs) == own
    asked = replace(open_settings, guidance=0.0, consistency=ConsistencySettings(cancel_round_trip=True))
    assert cancels(suited(asked, ours)) is True
    assert suited(asked, ours).guidance == 0.0
    assert suited(replace(open_settings, consistency=None), ours).consistency is None


def test_record_is_complete_and_json(avatar: Avatar, inputs: Inputs, tiny: Prior) -> None:
    record = json.loads(json.dumps(avatar.report, allow_nan=False))
    assert record["settings"]["seed"] == 0
    assert None not in record["settings"]["consistency"].values()
    assert record["memory"] == {"mode": "auto", "views_together": 8, "pictures_together": 2, "tile": None}
    assert record["settings"]["consistency"]["cancel_round_trip"] is (not tiny.card)
    assert record["settings"]["control"] is not None
    assert record["prior"]["sha256"] == tiny.hash
    assert [c["name"] for c in record["cameras"]] == list(inputs.rig.names)
    assert record["versions"]["torch"] == torch.__version__
    assert set(record["seconds"]) == {"conditions", "sampling", "decode", "texture"}
    assert record["peak_memory_gb"]["process"] > 0.0
    assert record["figures"]["overlap_psnr_db"] > 0.0
    assert 0.0 < record["figures"]["coverage"] <= 1.0


def test_bad_texture_sizes_are_refused_before_painting(inputs: Inputs, tiny: Prior) -> None:
    def report(stage: str, step: int, total: int, preview: Preview | None = None) -> None:
        raise AssertionError("began to work")

    with pytest.raises(UserError, match="texture"):
        run(inputs, replace(SETTINGS, texture_size=100_000), tiny, report)


def test_progress_reaches_the_end_with_previews_in_colour(inputs: Inputs, tiny: Prior) -> None:
    calls: list[tuple[str, int, int]] = []
    previews: list[Preview] = []

    def report(stage: str, step: int, total: int, preview: Preview | None = None) -> None:
        calls.append((stage, step, total))
        if preview is not None:
            previews.append(preview)

    run(inputs, SETTINGS, tiny, report)
    assert calls[0] == ("conditions", 0, 1)
    assert ("sampling", 3, 3) in calls
    assert calls[-1] == ("texture", calls[-1][2], calls[-1][2])
    assert previews[0].views.shape == (8, 3, 32, 32)
    texture = previews[0].texture()
    assert texture.shape == (3, 512, 512)
    assert 0.0 <= float(texture.min()) < float(texture.max()) <= 1.0


def test_cancelling_leaves_the_prior_as_it_was(inputs: Inputs, tiny: Prior) -> None:
    def stop(stage: str, step: int, total: int, preview: Preview | None = None) -> None:
        if stage == "sampling" and step == 2:
            raise Cancelled

    before = dict(tiny.unet.attn_processors)
    with pytest.raises(Cancelled):
        paint_views(inputs, replace(SETTINGS, reference=True), tiny, stop)
    assert tiny.unet.attn_processors == before


def test_prompts_say_where_the_camera_is(inputs: Inputs, tiny: Prior) -> None:
    prompts = dict(zip(inputs.rig.names, view_prompts(tiny, "red", inputs.rig), strict=True))
    assert prompts["body_000"] == "red, full body"
    assert prompts["body_180"] == "red, full body, from behind"
    assert prompts["upper_090"] == "red, upper body, from left-hand side, from behind"
    assert prompts["upper_270"] == "red, upper body, from right-hand side, from behind"


def test_reference_is_the_front_close_up(inputs: Inputs) -> None:
    assert inputs.rig.names[reference_view(inputs.rig)] == "upper_000"
    bodies: CameraRig = inputs.rig.select([2, 1, 0, 3])
    assert bodies.names[reference_view(bodies)] == "body_000"


def wrong(inputs: Inputs, field: str) -> Inputs:
    mesh = inputs.body.mesh
    match field:
        case "prompt":
            return replace(inputs, prompt="  ")
        case "mesh.uvs":
            return replace(inputs, body=Body(replace(mesh, uvs=None, uv_faces=None)))
        case "mesh.vertices":
            return replace(inputs, body=Body(replace(mesh, vertices=mesh.vertices * torch.nan)))
        case "size":
            return replace(inputs, rig=inputs.rig.resized(36, 36))
        case _:
            return replace(inputs, rig=inputs.rig.select([]))


@pytest.mark.parametrize("field", ["prompt", "mesh.uvs", "mesh.vertices", "size", "cameras"])
def test_bad_inputs_are_named(field: str, inputs: Inputs, tiny: Prior) -> None:
    with pytest.raises(UserError) as caught:
        run(wrong(inputs, field), SETTINGS, tiny, silent)
    assert caught.value.field.startswith(field)


def test_cameras_that_look_past_the_body_are_refused(inputs: Inputs, tiny: Prior) -> None:
    moved = inputs.rig.T_world_cam.clone()
    moved[:, :3, 3] += 100.0
    with pytest.raises(UserError, match="camera"):
        run(replace(inputs, rig=replace(inputs.rig, T_world_cam=moved)), SETTINGS, tiny, silent)
