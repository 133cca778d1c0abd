"""A picture for the look: IP-Adapters against diffusers' pipelines, and beside the reference attention."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_adapter import PROJECTED, SIDE, Kind, build_tiny_adapter
from tiny_prior import build_tiny_prior, build_tiny_sdxl
from torch import Tensor

from vitruvian.core.errors import UserError
from vitruvian.diffusion.attention import attention_bank, with_reference
from vitruvian.diffusion.denoiser import NoiseLevel, make_denoiser, view_chunks, with_guidance
from vitruvian.diffusion.loading import load_prior
from vitruvian.diffusion.pipeline import pipeline_of
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.sampling import make_scheduler, sample
from vitruvian.diffusion.style import encode_style, style_weight, with_style
from vitruvian.diffusion.text import encode_negatives, encode_prompts
from vitruvian.diffusion.text_states import TextStates

STEPS = 4
NOISE = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
PICTURE = torch.rand(3, 40, 56, generator=torch.Generator().manual_seed(2))
LEVEL = NoiseLevel(600.0, 0.6, 0.8, 2, 10)
BASES = {"sd15": build_tiny_prior, "sdxl": build_tiny_sdxl}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("bases")
    return {name: build(place / name) for name, build in BASES.items()}


def styled(folder: Path, place: Path, kind: Kind = "plain", **more: Any) -> Prior:
    """The prior in `folder` with an adapter of its own, by a recipe."""
    adapter = build_tiny_adapter(place / "adapter", folder, kind)
    path = place / "prior.json"
    path.write_text(json.dumps({"base": str(folder), "ip_adapter": {"model": str(adapter), **more}}))
    return load_prior(path, dtype=torch.float32)


@pytest.fixture(scope="module")
def prior(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Prior:
    return styled(folders["sd15"], tmp_path_factory.mktemp("styled"), scale=0.8)


def images(prior: Prior, views: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {name: torch.rand(views, 3, 32, 32, generator=generator) for name in prior.controlnets}


def texts(prior: Prior, views: int = 1, picture: Tensor | None = PICTURE) -> tuple[TextStates, TextStates]:
    """What is wanted, and what is not."""
    positive = encode_prompts(prior, ["a person in red shirt"] * views)
    if picture is not None:
        positive = with_style(positive, encode_style(prior, picture))
    return positive, encode_negatives(prior, ["blue jeans"] * views)


def ours(prior: Prior, weight: float, guidance: float = 4.0, picture: Tensor | None = PICTURE) -> Tensor:
    positive, negative = texts(prior, picture=picture)
    with style_weight(prior.unet, weight):
        denoise = make_denoiser(prior, images(prior), {})
        guided = with_guidance(denoise, positive, negative, guidance, [[0]])
        return sample(guided, NOISE, make_scheduler(prior.scheduler, "dpm++", STEPS))


def theirs(prior: Prior, weight: float, guidance: float = 4.0) -> Tensor:
    pipeline = pipeline_of(prior)
    assert prior.style is not None
    picture = (PICTURE * 255).round().byte().permute(1, 2, 0).numpy()
    pixels = prior.style.processor(picture, return_tensors="pt").pixel_values
    pipeline.set_ip_adapter_scale(weight)
    try:
        return pipeline(
            "a person in red shirt",
            image=list(images(prior).values()),
            negative_prompt="blue jeans",
            num_inference_steps=STEPS,
            guidance_scale=guidance,
            ip_adapter_image=pixels,
            latents=NOISE,
            output_type="latent",
        ).images
    finally:
        pipeline.set_ip_adapter_scale(0.0)


@pytest.mark.parametrize("kind", ["plain", "plus"])
@pytest.mark.parametrize("base", sorted(BASES))
def test_one_view_with_a_picture_is_what_diffusers_makes(
    base: str, kind: Kind, folders: dict[str, Path], tmp_path: Path
) -> None:
    prior = styled(folders[base], tmp_path, kind)
    assert prior.style is not None
    assert prior.style.tokens == (kind == "plus")
    for guidance in (1.0, 4.0):
        expected = theirs(prior, 0.9, guidance)
        assert expected.std() > 0.1
        torch.testing.assert_close(ours(prior, 0.9, guidance), expected, atol=1e-4, rtol=1e-4)


def test_no_weight_no_picture_and_no_adapter_are_the_same(prior: Prior, folders: dict[str, Path]) -> None:
    plain = load_prior(folders["sd15"], dtype=torch.float32)
    positive, negative = (encode_prompts(plain, [text]) for text in ("a person in red shirt", "blue jeans"))
    guided = with_guidance(make_denoiser(plain, images(plain), {}), positive, negative, 4.0, [[0]])
    expected = sample(guided, NOISE, make_scheduler(plain.scheduler, "dpm++", STEPS))
    assert torch.equal(ours(prior, 0.0), expected)
    assert torch.equal(ours(prior, 0.0, picture=None), expected)
    assert (ours(prior, 0.8) - expected).abs().max() > 1e-2


def test_another_picture_gives_another_result_in_proportion(prior: Prior) -> None:
    other = ours(prior, 0.8, picture=PICTURE.flip(0))
    assert (other - ours(prior, 0.8)).abs().max() > 1e-3
    near, far = ((ours(prior, weight) - ours(prior, 0.0)).norm() for weight in (0.1, 0.8))
    assert near < far


def test_the_unet_forgets_the_picture_also_after_an_error(prior: Prior) -> None:
    def fail() -> None:
        with style_weight(prior.unet, 1.0):
            raise KeyboardInterrupt

    expected = ours(prior, 0.0)
    with pytest.raises(KeyboardInterrupt):
        fail()
    scales = [p.scale for p in prior.unet.attn_processors.values() if hasattr(p, "to_k_ip")]
    assert scales
    assert all(scale == [0.0] for scale in scales)
    assert torch.equal(ours(prior, 0.0), expected)


def test_reference_attention_and_picture_live_together(prior: Prior) -> None:
    """Views read the reference's tokens and the picture; afterwards the UNet has its adapter as before."""
    views = 3
    x_t = torch.randn(views, 4, 8, 8, generator=torch.Generator().manual_seed(6))
    positive, negative = texts(prior, views)
    before = dict(prior.unet.attn_processors)
    made: dict[tuple[bool, float], Tensor] = {}
    for weight in (0.0, 0.8):
        for reference in (False, True):
            denoise = make_denoiser(prior, images(prior, views), {})
            with style_weight(prior.unet, weight), attention_bank(prior.unet) as bank:
                if reference:
                    denoise = with_reference(denoise, bank, [1])
                chunks = view_chunks(views, 8, [1])
                made[reference, weight] = with_guidance(denoise, positive, negative, 4.0, chunks)(x_t, LEVEL)
    results = list(made.values())
    for i, one in enumerate(results):
        assert all((one[0] - two[0]).abs().max() > 1e-4 for two in results[:i])
    # The reference view itself reads nobody: with the same picture it is what it was.
    torch.testing.assert_close(made[True, 0.8][1], made[False, 0.8][1], atol=1e-5, rtol=1e-4)
    assert prior.unet.attn_processors == before


def test_pictures_are_prepared_as_the_encoder_wants(prior: Prior) -> None:
    """The middle square at the encoder's size; the vector is of the projected width."""
    assert encode_style(prior, PICTURE).shape == (1, PROJECTED)
    wide = torch.zeros(3, SIDE, 3 * SIDE)
    wide[:, :, SIDE : 2 * SIDE] = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(8))
    middle = wide[:, :, SIDE : 2 * SIDE]
    torch.testing.assert_close(encode_style(prior, wide), encode_style(prior, middle), atol=1e-4, rtol=1e-3)


def test_the_scale_of_the_recipe_is_kept_for_the_job(prior: Prior) -> None:
    assert prior.style is not None
    assert prior.style.scale == 0.8
    assert prior.made_of["ip_adapter"] is True


def test_a_prior_without_an_adapter_says_so(tiny: Prior) -> None:
    with pytest.raises(UserError, match="no IP-Adapter") as caught:
        encode_style(tiny, PICTURE)
    assert "recipe" in caught.value.remedy


def test_an_adapter_in_the_priors_folder_is_found(tmp_path: Path) -> None:
    folder = build_tiny_prior(tmp_path / "p")
    build_tiny_adapter(folder / "ip_adapter", folder)
    assert load_prior(folder).style is not None


def test_an_adapter_as_its_repository_lays_it_out_is_found(tmp_path: Path) -> None:
    """Weights of SDXL in one folder, the image encoder that they share with SD 1.5's in another."""
    folder = build_tiny_sdxl(tmp_path / "p")
    made = build_tiny_adapter(tmp_path / "made", folder)
    for place, inside in (("sdxl_models", "ip_adapter.safetensors"), ("models", "image_encoder")):
        (folder / "ip_adapter" / place).mkdir(parents=True)
        (made / inside).rename(folder / "ip_adapter" / place / inside)
    assert load_prior(folder).style is not None


def test_adapters_that_do_not_fit_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    adapter = build_tiny_adapter(tmp_path / "adapter", folders["sdxl"])
    path = tmp_path / "prior.json"
    path.write_text(json.dumps({"base": str(folders["sd15"]), "ip_adapter": str(adapter)}))
    with pytest.raises(UserError, match="does not fit"):
        load_prior(path)


def test_an_adapter_for_a_deeper_unet_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    adapter = build_tiny_adapter(tmp_path / "adapter", folders["sd15"])
    file = adapter / "ip_adapter.safetensors"
    tensors = load_file(file)
    more = {f"ip_adapter.99.{part}.weight": torch.zeros(16, 16) for part in ("to_k_ip", "to_v_ip")}
    save_file(tensors | more, file)
    path = tmp_path / "prior.json"
    path.write_text(json.dumps({"base": str(folders["sd15"]), "ip_adapter": str(adapter)}))
    with pytest.raises(UserError, match="layers, the UNet has"):
        load_prior(path)


def test_an_image_encoder_of_another_adapter_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    plus = build_tiny_adapter(tmp_path / "plus", folders["sd15"], "plus")
    file = plus / "ip_adapter.safetensors"
    tensors = load_file(file)
    grown = tensors["image_proj.proj_in.weight"].repeat(1, 2)
    save_file(tensors | {"image_proj.proj_in.weight": grown}, file)
    path = tmp_path / "prior.json"
    path.write_text(json.dumps({"base": str(folders["sd15"]), "ip_adapter": str(plus)}))
    with pytest.raises(UserError, match="does not fit"):
        load_prior(path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "ip_adapter.safetensors").write_bytes(b"?"), "cannot be read"),
        (lambda folder: (folder / "ip_adapter.safetensors").unlink(), "holds 0 .safetensors files"),
        (lambda folder: shutil.rmtree(folder / "image_encoder"), "image_encoder.* is not there"),
        (
            lambda folder: save_file({"x": torch.zeros(1)}, folder / "ip_adapter.safetensors"),
            "is no IP-Adapter",
        ),
    ],
)
def test_damage_is_named(damage: Any, words: str, folders: dict[str, Path], tmp_path: Path) -> None:
    adapter = build_tiny_adapter(tmp_path / "adapter", folders["sd15"])
    damage(adapter)
    path = tmp_path / "prior.json"
    path.write_text(json.dumps({"base": str(folders["sd15"]), "ip_adapter": str(adapter)}))
    with pytest.raises(UserError, match=words):
        load_prior(path)


def test_text_states_carry_the_picture(prior: Prior) -> None:
    text = with_style(encode_prompts(prior, ["red", "blue"]), encode_style(prior, PICTURE))
    both = TextStates.stack([text, dataclasses.replace(text)])
    assert both.picture is not None
    assert both.picture.shape == (2, 2, 1, PROJECTED)
    flat = both.flatten()
    assert flat.picture is not None
    assert flat.picture.shape == (4, 1, PROJECTED)
    one = text[[1]].picture
    assert one is not None
    assert one.shape == (1, 1, PROJECTED)
