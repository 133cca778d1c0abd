"""Checkpoints in one file, in the original layout: the same model as the folder, or a sentence that helps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from original_layout import write_original
from safetensors.torch import load_file, save_file
from tiny_prior import build_tiny_prior, build_tiny_sdxl

from vitruvian.core.errors import UserError
from vitruvian.diffusion.loading import load_prior

FAMILIES = {"sd15": build_tiny_prior, "sdxl": build_tiny_sdxl}


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def folder(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prior in diffusers' layout, with its weights as one file beside it."""
    made = FAMILIES[request.param](tmp_path_factory.mktemp(request.param) / "p")
    write_original(made, made.parent / "model.safetensors")
    return made


def recipe(folder: Path, place: Path, **more: Any) -> Path:
    """One file with its configuration and the folder's ControlNets."""
    controlnets = {name: str(folder / f"controlnet_{name}") for name in ("depth", "normal")}
    base = {"base": str(folder.parent / "model.safetensors"), "config": str(folder)}
    path = place / "prior.json"
    path.write_text(json.dumps({**base, "controlnets": controlnets, **more}))
    return path


def test_one_file_is_the_same_model_as_the_folder(folder: Path, tmp_path: Path) -> None:
    whole = load_prior(folder, dtype=torch.float32)
    single = load_prior(recipe(folder, tmp_path), dtype=torch.float32)
    for name in ("unet", "vae", "text_encoder", "text_encoder_2"):
        ours, theirs = getattr(single, name), getattr(whole, name)
        if theirs is None:
            assert ours is None
            continue
        expected = dict(theirs.named_parameters())
        found = dict(ours.named_parameters())
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert single.scheduler == whole.scheduler
    assert single.tokenizer("red shirt").input_ids == whole.tokenizer("red shirt").input_ids
    assert single.image_size == whole.image_size
    assert single.zero_empty_prompt == whole.zero_empty_prompt
    assert single.hash != whole.hash


@pytest.mark.parametrize("part", ["output_blocks.2.0", "decoder.up.0", "mlp"])
def test_missing_weights_are_noticed(part: str, folder: Path, tmp_path: Path) -> None:
    """Of the UNet, the autoencoder, the text encoders."""
    tensors = load_file(folder.parent / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if part not in k}, tmp_path / "cut.safetensors")
    with pytest.raises(UserError, match="lacks weights"):
        load_prior(recipe(folder, tmp_path, base=str(tmp_path / "cut.safetensors")))


def test_another_architecture_is_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "config"
    shutil.copytree(folder, other)
    config = other / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "block_out_channels": [8, 24]}))
    with pytest.raises(UserError, match=r"cannot be loaded|does not fit"):
        load_prior(recipe(folder, tmp_path, config=str(other)))


def test_a_lora_given_as_a_model_is_told_apart(tmp_path: Path) -> None:
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(2, 2)}, tmp_path / "lora.safetensors")
    with pytest.raises(UserError, match="not a whole model") as caught:
        load_prior(tmp_path / "lora.safetensors")
    assert "recipe" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.ckpt", "is a pickle"),
        ("model.pt", "is a pickle"),
        ("missing.safetensors", "is not there"),
        ("broken.safetensors", "cannot be read"),
    ],
)
def test_files_that_cannot_be_opened(name: str, words: str, tmp_path: Path) -> None:
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(UserError, match=words) as caught:
        load_prior(tmp_path / name)
    assert caught.value.remedy


def test_without_a_configuration_and_offline_a_sentence_helps(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*args: object, **options: object) -> str:
        raise LocalEntryNotFoundError("nothing in the cache")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(UserError, match="needs the configuration of") as caught:
        load_prior(folder.parent / "model.safetensors")
    assert '"config"' in caught.value.remedy
