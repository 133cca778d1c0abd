"""`vitruvian priors` against a hub on this machine, in processes of their own, as a user gives it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from local_hub import COMMIT, LocalHub
from safetensors.torch import load_file, save_file
from tiny_prior import build_tiny_prior
from transformers import CLIPTextConfig, CLIPTextModel

from vitruvian.diffusion.catalogue import CATALOGUE
from vitruvian.diffusion.installed import lacking

SD15 = CATALOGUE["sd15"]
TEXT_WEIGHTS = "text_encoder/model.fp16.safetensors"
UNET_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
VOCABULARY = 400_000
"""So many words make the text encoder's file larger than the 10 MB that the hub's library moves at once."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """sd15's repositories in their real layout: half and full precision, pickles beside, ControlNets apart."""
    root = tmp_path_factory.mktemp("hub")
    base = build_tiny_prior(root / "base")
    shutil.rmtree(base / "text_encoder")
    config = CLIPTextConfig.from_pretrained(build_tiny_prior(root / "other") / "text_encoder")
    config.vocab_size = VOCABULARY
    CLIPTextModel(config).save_pretrained(base / "text_encoder")
    (base / "text_encoder" / "pytorch_model.bin").write_bytes(b"a pickle that nobody may fetch")
    full = base / "text_encoder" / "model.safetensors"
    half = {name: tensor.half() for name, tensor in load_file(full).items()}
    save_file(half, base / TEXT_WEIGHTS, metadata={"format": "pt"})
    (base / "README.md").write_text("---\nlicense: openrail\n---\n")
    repositories = {SD15.base.repository: base}
    for condition, part in SD15.controlnets.items():
        source = base / ("controlnet_depth" if condition == "pose" else f"controlnet_{condition}")
        repositories[part.repository] = shutil.copytree(source, root / condition)
    for condition in ("depth", "normal"):
        shutil.rmtree(base / f"controlnet_{condition}")
    AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
    ).save_pretrained(root / "tiny")
    repositories[SD15.tiny_vae.repository] = root / "tiny"
    return repositories


@pytest.fixture
def hub(served: dict[str, Path]) -> Iterator[LocalHub]:
    with LocalHub(dict(served)) as running:
        yield running


@dataclass
class User:
    """Someone at a command line whose hub is the local one."""

    hub: LocalHub
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "HF_ENDPOINT": self.hub.address,
            "HF_HOME": str(self.home / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1",
        }

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", "from vitruvian.cli import main; main()", *arguments],
            env={**self.environment, **environment},
            cwd=self.home,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(
        self, *arguments: str, answer: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **environment)
        out, err = process.communicate(answer, timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    @property
    def base(self) -> Path:
        """Where the hub's cache has the base model."""
        name = f"models--{SD15.base.repository.replace('/', '--')}"
        return self.home / "hf" / "hub" / name / "snapshots" / COMMIT


@pytest.fixture
def user(hub: LocalHub, tmp_path: Path) -> User:
    return User(hub, tmp_path)


def test_download_says_what_comes_asks_and_leaves_a_verified_prior(user: User) -> None:
    refused = user("priors", "download", "sd15", answer="n\n")
    assert refused.returncode == 130
    assert not user.base.exists()
    done = user("priors", "download", "sd15", answer="y\n")
    assert done.returncode == 0, done.stderr
    for part in SD15.parts():
        assert part.repository in done.stdout
        assert part.licence.name in done.stdout
        assert part.licence.url in done.stdout
    assert "ready: vitruvian generate --prior sd15" in done.stdout
    assert lacking(user.base) == []
    assert not list(user.base.parent.parent.rglob("*.incomplete*"))
    assert user.hub.fetched("pytorch_model.bin") == []
    assert user.hub.fetched("text_encoder/model.safetensors") == [], "half precision is there"
    verified = user("priors", "verify", "sd15", HF_HUB_OFFLINE="1")
    assert verified.returncode == 0, verified.stderr
    assert "every byte as on the hub" in verified.stdout
    listed = user("priors", HF_HUB_OFFLINE="1")
    assert any(line.split()[:2] == ["sd15", "installed"] for line in listed.stdout.splitlines())
