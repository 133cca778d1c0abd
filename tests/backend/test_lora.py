"""LoRAs in the layouts that are published, fused into tiny models: the arithmetic, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_prior import SECOND_WIDTH, TEXT_WIDTH, build_tiny_sdxl
from torch import Tensor

from vitruvian.core.errors import UserError
from vitruvian.diffusion.loading import load_prior
from vitruvian.diffusion.prior import Prior

RANK = 2
UNET = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
ENCODER = tuple(f"encoder.layers.0.self_attn.{name}" for name in ("q_proj", "out_proj"))
"""Files as they are published hold all projections of a layer."""
CHANGED = {f"unet.{UNET}.weight", *(f"text.{name}.weight" for name in ENCODER)}


@pytest.fixture(scope="module")
def sdxl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_sdxl(tmp_path_factory.mktemp("sdxl") / "p")


def halves(into: int, out: int, seed: int) -> tuple[Tensor, Tensor]:
    """Down and up."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(RANK, into, generator=generator), torch.randn(out, RANK, generator=generator)


def peft_style(text_width: int) -> dict[str, Tensor]:
    """As diffusers saves it: full names, the scale is the rank's."""
    layers = {f"unet.{UNET}": halves(text_width, 16, 1)}
    for name in ENCODER:
        layers[f"text_encoder.text_model.{name}"] = halves(TEXT_WIDTH, TEXT_WIDTH, 2)
    downs = {f"{name}.lora_A.weight": down for name, (down, _) in layers.items()}
    return downs | {f"{name}.lora_B.weight": up for name, (_, up) in layers.items()}


def kohya_style(text_width: int, encoder: str = "lora_te") -> dict[str, Tensor]:
    """As most are published: flat names, and an alpha that is not the rank."""
    layers = {f"lora_unet_{UNET}": halves(text_width, 16, 1)}
    for name in ENCODER:
        layers[f"{encoder}_text_model_{name}"] = halves(TEXT_WIDTH, TEXT_WIDTH, 2)
    return kohya_keys(layers)


def kohya_keys(layers: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    flat: dict[str, Tensor] = {}
    for name, (down, up) in layers.items():
        key = name.replace(".", "_")
        flat |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
        flat[f"{key}.alpha"] = torch.tensor(1.0)
    return flat


def recipe(folder: Path, base: Path, loras: list[Any], name: str = "prior.json") -> Path:
    path = folder / name
    path.write_text(json.dumps({"base": str(base), "loras": loras}))
    return path


def weights_of(prior: Prior) -> dict[str, Tensor]:
    found = {f"unet.{name}": p for name, p in prior.unet.named_parameters()}
    return found | {f"text.{name}": p for name, p in prior.text_encoder.named_parameters()}


def changes(made: Prior, base: Prior) -> dict[str, Tensor]:
    before = weights_of(base)
    after = weights_of(made)
    assert after.keys() == before.keys()
    return {n: after[n] - before[n] for n in after if not torch.equal(after[n], before[n])}


@pytest.mark.parametrize(("style", "scale"), [(peft_style, 1.0), (kohya_style, 1.0 / RANK)])
def test_a_lora_is_added_to_the_weights(
    style: Any, scale: float, tiny: Prior, tiny_folder: Path, tmp_path: Path
) -> None:
    save_file(style(TEXT_WIDTH), tmp_path / "style.safetensors")
    path = recipe(tmp_path, tiny_folder, [{"file": "style.safetensors", "weight": 0.7}])
    prior = load_prior(path, dtype=torch.float32)
    changed = changes(prior, tiny)
    assert changed.keys() == CHANGED
    for name, change in changed.items():
        down, up = halves(TEXT_WIDTH, 16, 1) if name.startswith("unet") else halves(TEXT_WIDTH, TEXT_WIDTH, 2)
        torch.testing.assert_close(change, 0.7 * scale * up @ down, atol=1e-6, rtol=1e-5)
    assert prior.hash != tiny.hash
    assert prior.made_of["loras"] == [{"file": "style.safetensors", "weight": 0.7}]


def test_two_loras_add_up_and_negative_ones_take_away(tiny: Prior, tiny_folder: Path, tmp_path: Path) -> None:
    save_file(peft_style(TEXT_WIDTH), tmp_path / "a.safetensors")
    save_file(kohya_style(TEXT_WIDTH), tmp_path / "b.safetensors")
    path = recipe(tmp_path, tiny_folder, ["a.safetensors", {"file": "b.safetensors", "weight": -1.0}])
    changed = changes(load_prior(path, dtype=torch.float32), tiny)
    down, up = halves(TEXT_WIDTH, 16, 1)
    torch.testing.assert_close(changed[f"unet.{UNET}.weight"], up @ down / 2, atol=1e-5, rtol=1e-4)


def test_an_sdxl_lora_changes_both_text_encoders(sdxl_folder: Path, tmp_path: Path) -> None:
    layers = {f"lora_te2_text_model_{name}": halves(SECOND_WIDTH, SECOND_WIDTH, 3) for name in ENCODER}
    second, (down, up) = kohya_keys(layers), halves(SECOND_WIDTH, SECOND_WIDTH, 3)
    width = TEXT_WIDTH + SECOND_WIDTH
    save_file(kohya_style(width, "lora_te1") | second, tmp_path / "xl.safetensors")
    base = load_prior(sdxl_folder, dtype=torch.float32)
    prior = load_prior(recipe(tmp_path, sdxl_folder, ["xl.safetensors"]), dtype=torch.float32)
    assert changes(prior, base).keys() == CHANGED
    name = f"text_model.{ENCODER[0]}.weight"
    assert prior.text_encoder_2 is not None
    assert base.text_encoder_2 is not None
    before, after = (dict(p.text_encoder_2.named_parameters())[name] for p in (base, prior))  # type: ignore[union-attr]
    torch.testing.assert_close(after - before, up @ down / RANK, atol=1e-6, rtol=1e-5)


def test_a_lora_of_another_family_is_refused(tiny_folder: Path, sdxl_folder: Path, tmp_path: Path) -> None:
    save_file(peft_style(TEXT_WIDTH + SECOND_WIDTH), tmp_path / "xl.safetensors")
    with pytest.raises(UserError, match="does not fit") as caught:
        load_prior(recipe(tmp_path, tiny_folder, ["xl.safetensors"]), dtype=torch.float32)
    assert "same base" in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_layers_that_have_no_place_are_counted(tiny_folder: Path, tmp_path: Path) -> None:
    held = peft_style(TEXT_WIDTH)
    more = {key.replace("down_blocks.1", "down_blocks.7"): held[key].clone() for key in held if UNET in key}
    save_file(held | more, tmp_path / "deep.safetensors")
    with pytest.raises(UserError, match="1 of its 4 layers have no place"):
        load_prior(recipe(tmp_path, tiny_folder, ["deep.safetensors"]), dtype=torch.float32)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("broken.safetensors", b"not weights", "cannot be read"),
        ("style.ckpt", b"", "is a pickle"),
        ("style.bin", b"", "is a pickle"),
        ("style.txt", b"", "not a .safetensors"),
        ("", b"", "is not there"),
    ],
)
def test_files_that_are_no_weights_are_refused(
    name: str, content: bytes, words: str, tiny_folder: Path, tmp_path: Path
) -> None:
    if name:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        load_prior(recipe(tmp_path, tiny_folder, [name or "missing.safetensors"]))


def test_a_file_without_lora_layers_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="does not fit"):
        load_prior(recipe(tmp_path, tiny_folder, ["other.safetensors"]))
