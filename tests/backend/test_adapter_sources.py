"""Where LoRAs, IP-Adapters and single files' configurations come from when they are not on this disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from vitruvian.core.errors import UserError
from vitruvian.diffusion import adapters, single_file
from vitruvian.diffusion.adapters import adapter_files, lora_file
from vitruvian.diffusion.catalogue import CATALOGUE
from vitruvian.diffusion.recipe import AdapterSource, LoraSource

Asked = list[tuple[str, tuple[str, ...]]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    """What would be fetched; every file asked for by its name appears."""
    calls: Asked = []

    def download(repository: str, files: Sequence[str] = ()) -> Path:
        calls.append((repository, tuple(files)))
        for name in files:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            if "*" not in name:
                (tmp_path / name).touch()
        return tmp_path

    for module in (adapters, single_file):
        monkeypatch.setattr(module, "download", download)
    return calls


def test_of_a_loras_repository_only_its_file_is_fetched(asked: Asked, tmp_path: Path) -> None:
    source = LoraSource("style.safetensors", "owner/lora")
    assert lora_file(source) == tmp_path / "style.safetensors"
    assert asked == [("owner/lora", ("style.safetensors",))]


def test_a_lora_in_a_folder_asks_nobody(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").touch()
    assert lora_file(LoraSource("a.safetensors", str(tmp_path))) == tmp_path / "a.safetensors"
    with pytest.raises(UserError, match="neither a folder nor a hub id"):
        lora_file(LoraSource("a.safetensors", "a/b/c"))
    assert not asked


def test_a_pickled_lora_is_not_even_fetched(asked: Asked) -> None:
    with pytest.raises(UserError, match="is a pickle"):
        lora_file(LoraSource("style.ckpt", "owner/lora"))
    assert not asked


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_the_familys_adapter_is_the_known_one(name: str, asked: Asked, tmp_path: Path) -> None:
    known = CATALOGUE[name]
    weights, encoder = adapter_files(AdapterSource(), known)
    assert weights == tmp_path / known.ip_adapter_weights
    assert encoder == tmp_path / known.image_encoder
    assert asked == [(known.ip_adapter.repository, known.ip_adapter.files)]


def test_an_adapter_of_the_hub_is_named_with_its_file(asked: Asked, tmp_path: Path) -> None:
    weights, encoder = adapter_files(AdapterSource("owner/adapter", "models/plus.safetensors"), None)
    assert weights == tmp_path / "models" / "plus.safetensors"
    assert encoder == tmp_path / "models" / "image_encoder"
    with_encoder = AdapterSource("owner/adapter", "sdxl/a.safetensors", "models/image_encoder")
    assert adapter_files(with_encoder, None)[1] == tmp_path / "models" / "image_encoder"
    assert asked[1][1] == (
        "sdxl/a.safetensors",
        "models/image_encoder/config.json",
        "models/image_encoder/model.safetensors",
    )


def test_an_adapter_that_nothing_names_is_refused(asked: Asked) -> None:
    with pytest.raises(UserError, match="Name a folder or hub id"):
        adapter_files(AdapterSource(), None)
    with pytest.raises(UserError, match="Say which file"):
        adapter_files(AdapterSource("owner/adapter"), None)
    with pytest.raises(UserError, match="is a pickle"):
        adapter_files(AdapterSource("owner/adapter", "ip-adapter.bin"), None)
    with pytest.raises(UserError, match="neither a folder nor a hub id"):
        adapter_files(AdapterSource("./nowhere", "a.safetensors"), None)
    assert not asked
