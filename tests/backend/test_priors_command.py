"""`vitruvian priors` against a hub on this machine, in processes of their own, as a user gives it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
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
from vitruvian.diffusion.installed import damage, lacking, read_record
from vitruvian.diffusion.loading import load_prior

SD15 = CATALOGUE["sd15"]
TEXT_WEIGHTS = "text_encoder/model.fp16.safetensors"
UNET_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
TEXT_WIDTH = 768
"""Of SD 1.5's text encoder."""
VOCABULARY = 8_000
"""So many words make its file larger than the 10 MB that the hub's library moves at once."""
MOVED_AT_ONCE = 10 * 1024 * 1024
TEXT_BYTES = 11_500_000
"""More than what is moved at once, less than the file."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """sd15's repositories in their real layout: half and full precision, pickles, ControlNets apart."""
    root = tmp_path_factory.mktemp("hub")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tiny_prior.TEXT_WIDTH", TEXT_WIDTH)
        base = build_tiny_prior(root / "base")
    _enlarge_text_encoder(base / "text_encoder")
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


def _enlarge_text_encoder(folder: Path) -> None:
    config = CLIPTextConfig.from_pretrained(folder)
    config.vocab_size = VOCABULARY
    CLIPTextModel(config).save_pretrained(folder)
    half = {name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(half, folder / "model.fp16.safetensors", metadata={"format": "pt"})
    (folder / "pytorch_model.bin").write_bytes(b"a pickle that nobody may fetch")


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
            # `make test` forbids asking the hub; this one is on the same machine.
            "HF_HUB_OFFLINE": "0",
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
        out, err = process.communicate(answer, timeout=600)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    @property
    def base(self) -> Path:
        """Where the hub's cache has the base model."""
        name = f"models--{SD15.base.repository.replace('/', '--')}"
        return self.home / "hf" / "hub" / name / "snapshots" / COMMIT


@pytest.fixture
def user(hub: LocalHub, tmp_path: Path) -> User:
    return User(hub, tmp_path)


def assert_whole(folder: Path) -> None:
    """Every file that the record names is there, with the checksum that the hub told."""
    record = read_record(folder)
    assert record is not None
    assert record.commit == COMMIT
    assert lacking(folder) == []
    assert list(damage(record.files, lambda file: folder / file.path)) == []


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


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL], ids=lambda blow: blow.name)
def test_an_interrupted_file_goes_on_where_it_stopped(user: User, blow: signal.Signals) -> None:
    user.hub.stall_after = {TEXT_WEIGHTS: TEXT_BYTES}
    process = user.start("priors", "download", "sd15", "--yes")
    assert user.hub.stalled.wait(60)
    partial = _wait_for_partial(user)
    process.send_signal(blow)
    _, err = process.communicate(timeout=60)
    if blow == signal.SIGINT:
        assert process.returncode == 130
        assert "goes on from there" in err
    assert partial.stat().st_size == MOVED_AT_ONCE
    assert any(f.endswith("*.safetensors") for f in lacking(user.base))
    user.hub.stall_after = {}
    again = user("priors", "download", "sd15", "--yes")
    assert again.returncode == 0, again.stderr
    assert user.hub.fetched(TEXT_WEIGHTS) == [None, f"bytes={MOVED_AT_ONCE}-"]
    assert_whole(user.base)


def _wait_for_partial(user: User) -> Path:
    """The file that is growing, once all that the server sent of it is on the disk."""
    for _ in range(600):
        for path in user.base.parent.parent.rglob("*.incomplete"):
            if path.stat().st_size == MOVED_AT_ONCE:
                return path
        time.sleep(0.1)
    raise AssertionError("nothing arrived")


def test_a_broken_connection_is_taken_up_again(user: User) -> None:
    user.hub.cut_after = {TEXT_WEIGHTS: [TEXT_BYTES]}
    done = user("priors", "download", "sd15", "--yes")
    assert done.returncode == 0, done.stderr
    assert user.hub.fetched(TEXT_WEIGHTS) == [None, f"bytes={MOVED_AT_ONCE}-"]
    assert_whole(user.base)


def test_what_arrives_damaged_is_fetched_again_once(user: User) -> None:
    user.hub.spoilt = {TEXT_WEIGHTS: 1, UNET_WEIGHTS: 2}
    done = user("priors", "download", "sd15", "--yes")
    assert done.returncode == 2
    assert f"{UNET_WEIGHTS} arrived damaged 2 times" in done.stderr
    assert len(user.hub.fetched(TEXT_WEIGHTS)) == 2
    assert not (user.base / UNET_WEIGHTS).exists()
    assert user("priors", "download", "sd15", "--yes").returncode == 0


def test_damage_on_the_disk_is_found_and_mended(user: User) -> None:
    assert user("priors", "download", "sd15", "--yes").returncode == 0
    weights = user.base / UNET_WEIGHTS
    with weights.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    config = user.base / "vae" / "config.json"
    config.write_text("{}")
    found = user("priors", "verify", "sd15")
    assert found.returncode == 2
    assert f"{weights} has another checksum" in found.stdout
    assert f"{config} has 2 of" in found.stdout
    assert "priors download sd15" in found.stderr
    user.hub.requests.clear()
    assert user("priors", "download", "sd15", "--yes").returncode == 0
    assert len(user.hub.fetched(UNET_WEIGHTS)) == 1
    assert user.hub.fetched(TEXT_WEIGHTS) == []
    assert_whole(user.base)


def test_each_refusal_says_what_to_do(user: User) -> None:
    user.hub.refused = {"someone/private": 403, "someone/unlucky": 503}
    cases = [
        (["download", "nothing"], {}, "is not in the catalogue. Use one of sd15, sdxl"),
        (["download", "someone/nothing"], {}, "is not on the hub, or is private. Check the spelling"),
        (["download", "someone/private"], {}, "may not be read with your account (HTTP 403). Log in"),
        (["download", "someone/unlucky"], {}, "cannot be had from the hub now (HTTP 503). Try again later"),
        (["download", "sd15"], {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE forbids asking the hub. Unset"),
        (["download", "sd15"], {"HF_ENDPOINT": "http://127.0.0.1:9"}, "cannot be downloaded"),
        (["verify", "sd15"], {}, "is not whole: stable-diffusion-v1-5/stable-diffusion-v1-5"),
        (["remove", "sd15"], {}, "is not on this disk"),
        (["remove", "mini"], {}, "comes with the package"),
        (["show", "nothing"], {}, "Use one of"),
    ]
    for arguments, environment, words in cases:
        done = user("priors", *arguments, **environment)
        assert done.returncode == 2, arguments
        assert words in done.stderr, arguments
        assert len(done.stderr.splitlines()) == 1, arguments


def test_a_gated_model_is_told_before_anything_is_fetched(user: User) -> None:
    user.hub.gated.add(SD15.controlnets["pose"].repository)
    done = user("priors", "download", "sd15", "--yes")
    assert done.returncode == 2
    assert "needs its licence accepted" in done.stderr
    assert f"{user.hub.address}/{SD15.controlnets['pose'].repository}" in done.stderr
    assert "hf auth login" in done.stderr
    assert user.hub.fetched("model_index.json") == []


def test_a_full_disk_is_told_before_anything_is_fetched(user: User) -> None:
    user.hub.claimed_sizes = {UNET_WEIGHTS: 10**15}
    done = user("priors", "download", "sd15", "--yes")
    assert done.returncode == 2
    assert "needs 1000000.0 GB" in done.stderr
    assert "--to FOLDER or HF_HOME" in done.stderr
    assert user.hub.fetched("model_index.json") == []


def test_a_folder_of_ones_own(user: User, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "people"
    done = user("priors", "download", "sd15", "--to", str(folder), "--yes")
    assert done.returncode == 0, done.stderr
    prior = load_prior(folder)
    assert sorted(prior.controlnets) == ["depth", "normal", "pose"]
    assert not user.base.exists()
    mixed = user("priors", "download", SD15.tiny_vae.repository, "--to", str(folder), "--yes")
    assert mixed.returncode == 2
    assert f"holds {SD15.base.repository}" in mixed.stderr
    (folder / "notes.txt").write_text("mine")
    listed = user("priors", "list", str(folder.parent))
    assert any(line.split()[:2] == [str(folder), "installed"] for line in listed.stdout.splitlines())
    assert user("priors", "verify", str(folder), HF_HUB_OFFLINE="1").returncode == 0
    assert UNET_WEIGHTS in user("priors", "show", str(folder)).stdout
    removed = user("priors", "remove", str(folder), "--yes")
    assert removed.returncode == 0, removed.stderr
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["notes.txt"]


def test_remove_asks_and_frees_the_cache(user: User) -> None:
    assert user("priors", "download", "sd15", "--yes").returncode == 0
    assert user("priors", "remove", "sd15", answer="n\n").returncode == 130
    assert lacking(user.base) == []
    assert user("priors", "remove", "sd15", answer="y\n").returncode == 0
    assert list((user.home / "hf" / "hub").glob("models--*")) == []


@pytest.mark.slow
def test_generating_fetches_what_is_missing_and_then_needs_no_hub(user: User) -> None:
    arguments = ["generate", "a person in red jeans", "--prior", "sd15", "--size", "128", "--steps", "1"]
    done = user(*arguments, "--texture-size", "512", "--out", "first")
    assert done.returncode == 0, done.stderr
    assert "verified" in done.stderr
    assert (user.home / "first" / "human.glb").stat().st_size > 100_000
    offline = user(*arguments, "--texture-size", "512", "--out", "second", HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr
    first, second = ((user.home / name / "albedo.png").read_bytes() for name in ("first", "second"))
    assert first == second
