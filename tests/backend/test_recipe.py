"""Recipes: what they say, what is refused, and what the prior made of them does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_prior import add_tiny_vae, build_tiny_prior, build_tiny_sdxl

from vitruvian.core.errors import UserError
from vitruvian.diffusion.denoiser import NoiseLevel, make_denoiser
from vitruvian.diffusion.loading import load_prior
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.recipe import ControlSource, LoraSource, read_recipe
from vitruvian.diffusion.text import encode_prompts
from vitruvian.diffusion.text_states import TextStates
from vitruvian.diffusion.weights import ControlWeight
from vitruvian.methods.mvhuman import SD_CONTROL, SDXL_GUIDANCE, MVHumanSettings, suited


def write(place: Path, **content: Any) -> Path:
    path = place / "prior.json"
    path.write_text(json.dumps(content))
    return path


def test_paths_are_meant_from_the_recipes_folder(tmp_path: Path) -> None:
    (tmp_path / "models" / "depth").mkdir(parents=True)
    (tmp_path / "style.safetensors").touch()
    path = write(
        tmp_path,
        base="models",
        controlnets={"depth": "models/depth", "pose": {"model": "owner/pose", "start": 0.9}},
        loras=["style.safetensors", {"model": "owner/lora", "file": "a.safetensors", "weight": 0.5}],
    )
    recipe = read_recipe(path)
    assert recipe.base == str(tmp_path / "models")
    assert recipe.controlnets["depth"] == ControlSource(str(tmp_path / "models" / "depth"))
    assert recipe.controlnets["pose"] == ControlSource("owner/pose", ControlWeight(0.9, 0.9))
    assert recipe.loras[0] == LoraSource(str(tmp_path / "style.safetensors"))
    assert recipe.loras[1] == LoraSource("a.safetensors", "owner/lora", 0.5)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, r"prior\.base .* is missing"),
        ({"base": 3}, "is not a text"),
        ({"base": "mini", "lora": []}, r"prior\.lora .* is unknown; known are base"),
        ({"base": "mini", "loras": {}}, "is not a list"),
        ({"base": "mini", "loras": [3]}, "neither a text nor an object"),
        ({"base": "mini", "loras": [{"file": "a", "weight": "much"}]}, r"loras\[0\]\.weight .* not a number"),
        ({"base": "mini", "loras": [{"file": "a", "weight": 9}]}, "is not between"),
        ({"base": "mini", "loras": [{"file": "a", "alpha": 9}]}, "is unknown"),
        ({"base": "mini", "controlnets": []}, "is not an object"),
        ({"base": "mini", "controlnets": {"depth": {}}}, r"controlnets\.depth\.model .* is missing"),
        ({"base": "mini", "controlnets": {"depth": {"model": "x", "type": 1.5}}}, "not a whole number"),
        ({"base": "mini", "ip_adapter": {"scale": True}}, "is not a number"),
        ({"base": "mini", "clip_skip": -1}, "is not between"),
        ([], "holds no JSON object"),
    ],
)
def test_mistakes_are_named_with_their_place(content: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "prior.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=words) as caught:
        read_recipe(path)
    assert "prior.json" in str(caught.value)
    assert caught.value.remedy


def test_a_missing_or_broken_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not there"):
        load_prior(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        load_prior(tmp_path / "broken.json")


def test_a_bare_recipe_is_its_base(tiny: Prior, tiny_folder: Path, tmp_path: Path) -> None:
    prior = load_prior(write(tmp_path, base=str(tiny_folder)), dtype=torch.float32)
    assert prior.hash == tiny.hash
    assert sorted(prior.controlnets) == sorted(tiny.controlnets)
    assert prior.made_of["base"] == tiny_folder.name
    assert not tiny.made_of


def test_named_controlnets_replace_the_bases_with_their_weights(tiny_folder: Path, tmp_path: Path) -> None:
    depth = {"model": str(tiny_folder / "controlnet_depth"), "start": 0.9, "end": 0.1}
    prior = load_prior(write(tmp_path, base=str(tiny_folder), controlnets={"depth": depth}))
    assert list(prior.controlnets) == ["depth"]
    settings = suited(MVHumanSettings(), prior)
    assert settings.control == {**SD_CONTROL, "depth": ControlWeight(0.9, 0.1)}
    assert suited(MVHumanSettings(control={}), prior).control == {}


def test_a_controlnet_of_another_unet_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    other = build_tiny_sdxl(tmp_path / "xl")
    controlnets = {"depth": str(other / "controlnet_depth")}
    with pytest.raises(UserError, match="does not fit the UNet") as caught:
        load_prior(write(tmp_path, base=str(tiny_folder), controlnets=controlnets))
    assert "same base" in caught.value.remedy


@pytest.mark.parametrize("model", ["nowhere", "./nowhere", "a/b/c"])
def test_a_controlnet_that_is_nowhere(model: str, tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a folder nor a hub id"):
        load_prior(write(tmp_path, base=str(tiny_folder), controlnets={"depth": model}))


def test_types_of_a_union_can_be_said(tmp_path: Path) -> None:
    folder = build_tiny_sdxl(tmp_path / "xl", union=True)
    union = str(folder / "controlnet_union")
    controlnets = {"depth": union, "normal": {"model": union, "type": 5}}
    prior = load_prior(write(tmp_path, base=str(folder), controlnets=controlnets))
    assert dict(prior.union_types) == {"depth": 1, "normal": 5}
    assert prior.controlnets["depth"] is prior.controlnets["normal"]
    with pytest.raises(UserError, match="is not one of the 6 types"):
        load_prior(write(tmp_path, base=str(folder), controlnets={"depth": {"model": union, "type": 9}}))
    with pytest.raises(UserError, match="is not one of the 6 types"):
        load_prior(write(tmp_path, base=str(folder), controlnets={"colour": union}))


def test_image_size_and_skipped_layers(tmp_path: Path) -> None:
    folder = build_tiny_sdxl(tmp_path / "xl")
    plain = load_prior(folder, dtype=torch.float32)
    prior = load_prior(write(tmp_path, base=str(folder), image_size=96, clip_skip=1), dtype=torch.float32)
    assert (prior.image_size, prior.clip_skip) == (96, 1)
    both = [encode_prompts(p, ["red shirt"]).states for p in (plain, prior)]
    assert not torch.equal(both[0], both[1])
    assert suited(MVHumanSettings(), prior).guidance == SDXL_GUIDANCE


def test_the_last_layers_norm_is_kept_when_layers_are_skipped(tiny_folder: Path, tmp_path: Path) -> None:
    """As Stable Diffusion's models with one encoder expect it: an earlier layer, normalised like the last."""
    prior = load_prior(write(tmp_path, base=str(tiny_folder), clip_skip=1), dtype=torch.float32)
    states = encode_prompts(prior, ["red shirt", "blue jeans"]).states
    torch.testing.assert_close(states.mean(-1), torch.zeros(2, 77), atol=1e-5, rtol=0)
    plain = load_prior(tiny_folder, dtype=torch.float32)
    assert not torch.equal(states, encode_prompts(plain, ["red shirt", "blue jeans"]).states)


def test_the_small_autoencoder_is_found(tiny: Prior, tmp_path: Path) -> None:
    folder = build_tiny_prior(tmp_path / "p")
    assert tiny.tiny_vae is None
    add_tiny_vae(folder)
    prior = load_prior(folder, dtype=torch.bfloat16)
    assert prior.tiny_vae is not None
    assert next(prior.tiny_vae.parameters()).dtype == torch.float32
    assert prior.tiny_vae.decode(torch.zeros(1, 4, 8, 8)).sample.shape == (1, 3, 32, 32)
    assert prior.hash != tiny.hash


def test_a_union_and_a_controlnet_of_its_own_add_up(tmp_path: Path) -> None:
    """Depth by the union, normals by their own network: the residuals are summed."""
    folder, other = build_tiny_sdxl(tmp_path / "xl", union=True), build_tiny_sdxl(tmp_path / "other")
    shutil.copytree(folder / "unet", other / "unet", dirs_exist_ok=True)
    union, own = str(folder / "controlnet_union"), str(other / "controlnet_normal")
    prior = load_prior(
        write(tmp_path, base=str(folder), controlnets={"depth": union, "normal": own}), dtype=torch.float32
    )
    images = {name: torch.rand(1, 3, 32, 32) for name in ("depth", "normal")}
    text, level = encode_prompts(prior, ["red"]), NoiseLevel(600.0, 0.6, 0.8, 2, 10)
    x_t = torch.randn(1, 4, 8, 8)

    def evaluate(names: list[str]) -> torch.Tensor:
        denoise = make_denoiser(prior, {name: images[name] for name in names}, {})
        return denoise(x_t, level, TextStates.stack([text]), [0])

    results = [evaluate(names) for names in ([], ["depth"], ["normal"], ["depth", "normal"])]
    for i, one in enumerate(results):
        assert all((one - two).abs().max() > 1e-5 for two in results[:i])
