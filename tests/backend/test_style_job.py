"""The style image as a job has it: from the option to the report, and what is refused on the way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from shapes import ball
from tiny_adapter import build_tiny_adapter

from vitruvian.body.body import Body
from vitruvian.cli import run
from vitruvian.core.errors import UserError
from vitruvian.core.images import Avatar
from vitruvian.core.pictures import MAX_PIXELS, read_picture
from vitruvian.diffusion.loading import load_prior
from vitruvian.diffusion.prior import Prior
from vitruvian.generation import paint
from vitruvian.job import GenerateJob, check_job
from vitruvian.render.rigs import default_rig

JOB = GenerateJob("a person in red shirt", steps=2, guidance=2.0, texture_size=512)


@pytest.fixture(scope="module")
def recipe(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("recipe")
    build_tiny_adapter(place / "adapter", tiny_folder)
    content = {"base": str(tiny_folder), "ip_adapter": {"model": "adapter", "scale": 0.7}}
    (place / "prior.json").write_text(json.dumps(content))
    return place / "prior.json"


@pytest.fixture(scope="module")
def styled(recipe: Path) -> Prior:
    return load_prior(recipe, dtype=torch.float32)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    pixels = (torch.rand(20, 30, 3, generator=generator) * 255).byte().numpy()
    Image.fromarray(pixels).save(tmp_path / "look.png")
    return tmp_path / "look.png"


def painted(job: GenerateJob, prior: Prior) -> Avatar:
    mesh = ball()
    return paint(job, Body(mesh), default_rig(mesh, size=32, views_per_ring=2), prior)


def test_the_picture_shapes_the_result_and_is_in_the_report(styled: Prior, picture: Path) -> None:
    plain = painted(JOB, styled)
    with_picture = painted(replace(JOB, style_image=picture), styled)
    stronger = painted(replace(JOB, style_image=picture, style_weight=1.5), styled)
    muted = painted(replace(JOB, style_image=picture, style_weight=0.0), styled)
    assert (with_picture.views.images - plain.views.images).abs().max() > 1e-3
    assert (with_picture.views.images - stronger.views.images).abs().max() > 1e-3
    assert torch.equal(muted.views.images, plain.views.images)
    assert with_picture.report["settings"]["style_weight"] == 0.7
    assert stronger.report["settings"]["style_weight"] == 1.5
    assert with_picture.report["style_image"]["name"] == "look.png"
    assert len(with_picture.report["style_image"]["sha256"]) == 64
    assert with_picture.report["prior"]["made_of"]["recipe"] == "prior.json"
    assert "style_image" not in plain.report
    json.dumps(with_picture.report)


def test_a_prior_without_an_adapter_refuses_the_picture(tiny: Prior, picture: Path) -> None:
    with pytest.raises(UserError, match="no IP-Adapter") as caught:
        painted(replace(JOB, style_image=picture), tiny)
    assert "docs/priors.md" in caught.value.remedy


def test_the_command_refuses_it_too(
    tiny_folder: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--prior", str(tiny_folder), "--style-image", str(picture), "--out", str(tmp_path / "out")]
    assert run(["generate", "a person", *options]) == 2
    assert "IP-Adapter" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"style_weight": 0.5}, "picture that is not there"),
        ({"style_image": Path("none.png")}, "is not there"),
        ({"style_image": Path(__file__), "style_weight": 3.0}, "not between 0 and 2"),
    ],
)
def test_jobs_that_can_be_seen_to_be_wrong(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_job(replace(JOB, **changes))


def test_pictures_are_read_as_they_are_seen(tmp_path: Path) -> None:
    """Upright, in RGB, transparency as white."""
    image = Image.new("RGBA", (4, 2), (255, 0, 0, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    image.save(tmp_path / "a.png")
    read = read_picture("style_image", tmp_path / "a.png")
    assert read.shape == (3, 2, 4)
    assert read[:, 0, 0].tolist() == [1.0, 1.0, 1.0]
    assert read[:, 1, 1].tolist() == [1.0, 0.0, 0.0]
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was on its side
    Image.new("RGB", (4, 2)).save(tmp_path / "b.jpg", exif=turned)
    assert read_picture("style_image", tmp_path / "b.jpg").shape == (3, 4, 2)
    Image.new("L", (3, 3), 128).save(tmp_path / "c.png")
    assert read_picture("style_image", tmp_path / "c.png").shape == (3, 3, 3)


def test_files_that_are_no_pictures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="not a picture that can be read"):
        read_picture("style_image", tmp_path / "a.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    with pytest.raises(UserError, match="not a picture that can be read"):
        read_picture("style_image", tmp_path / "cut.png")
    assert MAX_PIXELS >= 8192 * 8192
    monkeypatch.setattr("vitruvian.core.pictures.MAX_PIXELS", 100)
    with pytest.raises(UserError, match="is too large"):
        read_picture("style_image", tmp_path / "whole.png")
