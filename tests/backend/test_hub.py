"""Which files of a repository are fetched, and when what lies on the disk is whole."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import HFValidationError
from safetensors.torch import load_file, save_file

from vitruvian.cli.serve import download_notes
from vitruvian.core.errors import UserError
from vitruvian.diffusion.hub import wanted_files
from vitruvian.diffusion.hub_errors import explained
from vitruvian.diffusion.installed import (
    RECORD,
    HubFile,
    Listing,
    lacking,
    read_record,
    weights_variant,
    write_record,
)
from vitruvian.diffusion.loading import load_prior

SD15 = [
    ".gitattributes",
    "README.md",
    "feature_extractor/preprocessor_config.json",
    "model_index.json",
    "safety_checker/config.json",
    "safety_checker/model.safetensors",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.fp16.safetensors",
    "text_encoder/model.safetensors",
    "text_encoder/pytorch_model.bin",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "v1-5-pruned-emaonly.safetensors",
    "v1-inference.yaml",
    "vae/config.json",
    "vae/diffusion_pytorch_model.fp16.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "vae_encoder/model.onnx",
]
WANTED = [
    "README.md",
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.fp16.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
]


def test_one_set_of_weights_a_network_and_no_pickle() -> None:
    assert wanted_files(SD15) == WANTED
    assert wanted_files(WANTED) == WANTED


def test_a_controlnets_repository_is_one_network() -> None:
    paths = [
        "config.json",
        "diffusion_pytorch_model.bin",
        "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model_promax.safetensors",
        "images/depth.png",
    ]
    assert wanted_files(paths) == ["config.json", "diffusion_pytorch_model.safetensors"]


def test_shards_are_fetched_with_their_index_where_there_is_nothing_else() -> None:
    shards = [f"unet/diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = "unet/diffusion_pytorch_model.safetensors.index.json"
    assert wanted_files([*shards, index]) == [*shards, index]
    whole = "unet/diffusion_pytorch_model.safetensors"
    assert wanted_files([*shards, index, whole]) == [whole]


@pytest.mark.parametrize(
    "name",
    ["unet/config.json", "vae/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"],
)
def test_what_is_lacking_is_named(name: str, tiny_folder: Path, tmp_path: Path) -> None:
    assert lacking(tiny_folder) == []
    copy = tmp_path / "prior"
    shutil.copytree(tiny_folder, copy)
    (copy / name).unlink()
    part, file = name.split("/")
    assert lacking(copy) == [f"{part}/*.safetensors" if file.endswith("safetensors") else name]


def test_wanted_patterns_are_each_looked_for(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "adapter.safetensors").touch()
    assert lacking(tmp_path, ["models/*.safetensors"]) == []
    assert lacking(tmp_path, ["models/adapter.safetensors", "other/*"]) == ["other/*"]


def test_names_with_brackets_are_meant_literally(tmp_path: Path) -> None:
    (tmp_path / "style [v2].safetensors").touch()
    assert lacking(tmp_path, ["style [v2].safetensors"]) == []


def test_what_is_fetched_later_is_recorded_beside_what_came_first(tmp_path: Path) -> None:
    def listing(commit: str, *names: str) -> Listing:
        return Listing("a/b", commit, tuple(HubFile(name, 1, None, "0") for name in names))

    write_record(tmp_path, listing("one", "config.json"))
    write_record(tmp_path, listing("one", "model.safetensors", "config.json"))
    record = read_record(tmp_path)
    assert record is not None
    assert [file.path for file in record.files] == ["config.json", "model.safetensors"]
    write_record(tmp_path, listing("two", "model.safetensors"))
    assert read_record(tmp_path) == listing("two", "model.safetensors")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"repository": "a/b", "commit": "c", "files": [1]}'])
def test_a_spoilt_record_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(content)
    assert read_record(tmp_path) is None


def test_a_server_says_which_prior_its_first_job_would_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    (note,) = download_notes({"mini": "mini", "people": "sd15", "suits": "/models/suits"})
    assert note.startswith("people is not on this disk: its first job fetches 4.5 GB")
    assert "vitruvian priors download sd15" in note


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "does not fit on the disk. Make room"),
        (PermissionError("models"), "cannot be written (models). Give a folder of your own"),
        (ConnectionError("no route"), "cannot be downloaded (no route). Connect to the internet"),
        (HFValidationError("a name"), "is not on the hub, or is private. Check the spelling"),
        (json.JSONDecodeError("Expecting value", "<html>", 0), "cannot be downloaded (Expecting value"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_become_sentences(error: Exception, words: str) -> None:
    with pytest.raises(UserError) as caught, explained("someone/model"):
        raise error
    assert words in str(caught.value)
    assert caught.value.__cause__ is error


def test_mistakes_of_the_program_stay_what_they_are() -> None:
    with pytest.raises(KeyError), explained("someone/model"):
        raise KeyError("files")


def test_half_precision_files_load_as_themselves(tiny_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "prior"
    shutil.copytree(tiny_folder, copy)
    for part in ("unet", "text_encoder", "controlnet_depth"):
        (weights,) = (copy / part).glob("*.safetensors")
        tensors = {name: tensor.half() for name, tensor in load_file(weights).items()}
        save_file(tensors, weights.with_suffix(".fp16.safetensors"), metadata={"format": "pt"})
        weights.unlink()
        assert weights_variant(copy / part) == "fp16"
    assert weights_variant(copy / "vae") is None
    assert lacking(copy) == []
    half, full = (load_prior(path, dtype=torch.float32) for path in (copy, tiny_folder))
    for name in ("unet", "text_encoder"):
        for ours, exact in zip(
            getattr(half, name).parameters(), getattr(full, name).parameters(), strict=True
        ):
            assert torch.equal(ours, exact.half().float())
