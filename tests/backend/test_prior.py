"""Loading priors: what works, what is refused, and with which words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_prior import IMAGE_SIZE, TEXT_WIDTH, build_tiny_prior

from vitruvian.core.errors import UserError
from vitruvian.diffusion.latents import decode, encode, latent_shape
from vitruvian.diffusion.loading import load_prior
from vitruvian.diffusion.prior import Prior, prediction_of
from vitruvian.diffusion.text import encode_prompts, fit_prompt, text_length


def test_a_folder_is_loaded_whole(tiny: Prior) -> None:
    assert sorted(tiny.controlnets) == ["depth", "normal"]
    assert tiny.prediction == "v_prediction"
    assert tiny.image_size == IMAGE_SIZE
    assert tiny.factor == 4
    assert latent_shape(tiny, 64, 32) == (4, 16, 8)
    assert not any(p.requires_grad for p in tiny.unet.parameters())
    assert not tiny.unet.training


def test_hash_follows_the_files(tiny: Prior, tiny_folder: Path, tmp_path: Path) -> None:
    assert load_prior(tiny_folder).hash == tiny.hash
    copy = tmp_path / "moved"
    shutil.copytree(tiny_folder, copy)
    assert load_prior(copy).hash == tiny.hash
    config = copy / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("0.02", "0.03"))
    assert load_prior(copy).hash != tiny.hash


@pytest.mark.parametrize("prediction", ["epsilon", "flow"])
def test_prediction_type_comes_from_the_scheduler(prediction: str, tmp_path: Path) -> None:
    assert load_prior(build_tiny_prior(tmp_path / "p", prediction, zero_snr=False)).prediction == prediction


def test_card_overrides_the_image_size(tiny_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "p"
    shutil.copytree(tiny_folder, copy)
    (copy / "prior.json").write_text(json.dumps({"image_size": 96, "guidance": 3.0}))
    prior = load_prior(copy)
    assert prior.image_size == 96
    assert prior.card["guidance"] == 3.0


def remove(name: str) -> Callable[[Path], None]:
    def breaks(folder: Path) -> None:
        target = folder / name
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return breaks


def overwrite(name: str, content: bytes) -> Callable[[Path], None]:
    def breaks(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return breaks


def truncate(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def drop_a_tensor(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    save_file(dict(list(tensors.items())[1:]), weights, metadata={"format": "pt"})


def change_width(folder: Path) -> None:
    config = folder / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "cross_attention_dim": 24}))


def remove_controlnets(folder: Path) -> None:
    for name in ("depth", "normal"):
        shutil.rmtree(folder / f"controlnet_{name}")


DAMAGE: list[tuple[Callable[[Path], None], str]] = [
    (remove("model_index.json"), "no model_index.json"),
    (remove("vae"), "lacks vae"),
    (remove("unet/diffusion_pytorch_model.safetensors"), r"prior\.unet"),
    (remove("text_encoder/model.safetensors"), r"prior\.text_encoder"),
    (remove("scheduler/scheduler_config.json"), "cannot be read"),
    (overwrite("vae/diffusion_pytorch_model.safetensors", b"not weights"), r"prior\.vae"),
    (overwrite("model_index.json", b"{"), "cannot be read"),
    (
        overwrite("model_index.json", b'{"text_encoder_2": ["transformers", "X"]}'),
        "lacks text_encoder_2, tokenizer_2",
    ),
    (overwrite("scheduler/scheduler_config.json", b'{"prediction_type": "magic"}'), "prediction"),
    (truncate, r"prior\.unet"),
    (drop_a_tensor, r"prior\.vae.*lacks weights"),
    (change_width, r"prior\.unet"),
    (remove_controlnets, "no ControlNets"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGE, ids=lambda v: v if isinstance(v, str) else "")
def test_damage_is_named(
    damage: Callable[[Path], None], words: str, tiny_folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "p"
    shutil.copytree(tiny_folder, copy)
    damage(copy)
    with pytest.raises(UserError, match=words) as caught:
        load_prior(copy)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_pickled_weights_are_not_read(tiny_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "p"
    shutil.copytree(tiny_folder, copy)
    (copy / "unet" / "diffusion_pytorch_model.safetensors").rename(
        copy / "unet" / "diffusion_pytorch_model.bin"
    )
    with pytest.raises(UserError, match="safetensors"):
        load_prior(copy)


@pytest.mark.parametrize("name", ["nonsense", "", "a/b/c", "./missing", "/missing", "~/missing"])
def test_unknown_names_are_refused_without_asking_the_hub(name: str) -> None:
    with pytest.raises(UserError, match="is unknown") as caught:
        load_prior(name)
    assert "mini" in caught.value.remedy


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({}, "epsilon"),
        ({"prediction_type": "v_prediction"}, "v_prediction"),
        ({"prediction_type": "flow_prediction"}, "flow"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "flow"),
    ],
)
def test_prediction_of_a_config(config: dict[str, str], kind: str) -> None:
    assert prediction_of(config) == kind


def test_equal_prompts_are_encoded_once_and_alike(tiny: Prior, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    forward = tiny.text_encoder.forward

    def counting(ids: torch.Tensor, *args: object, **options: object) -> object:
        batches.append(len(ids))
        return forward(ids, *args, **options)

    monkeypatch.setattr(tiny.text_encoder, "forward", counting)
    text = encode_prompts(tiny, ["red", "", "red", "blue"]).states
    assert text.shape == (4, text_length(tiny), TEXT_WIDTH)
    assert torch.equal(text[0], text[2])
    assert not torch.equal(text[0], text[3])
    assert batches == [3]


def test_long_prompts_lose_their_end_never_the_view(tiny: Prior) -> None:
    fitted = fit_prompt(tiny, "a red shirt " * 50, ", from behind")
    assert fitted.startswith("a red shirt")
    assert fitted.endswith(", from behind")
    assert len(tiny.tokenizer(fitted).input_ids) <= text_length(tiny)
    assert fit_prompt(tiny, "a red shirt", ", from behind") == "a red shirt, from behind"


def test_encoding_adds_no_noise_and_chunks_do_not_matter(tiny: Prior) -> None:
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    latents = encode(tiny, images, chunk=2)
    assert latents.shape == (5, 4, 8, 8)
    assert torch.equal(latents, encode(tiny, images, chunk=2))
    torch.testing.assert_close(latents, encode(tiny, images, chunk=5))
    decoded = decode(tiny, latents)
    assert decoded.shape == images.shape
    assert decoded.min() >= 0.0
    assert decoded.max() <= 1.0


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_shorter_floats_come_close(dtype: torch.dtype | None, tiny: Prior, tiny_folder: Path) -> None:
    prior = load_prior(tiny_folder, dtype=dtype)
    assert next(prior.vae.parameters()).dtype == torch.float32
    assert next(prior.unet.parameters()).dtype == prior.dtype
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    latents = encode(prior, images, quick=True)
    assert latents.dtype == torch.float32
    torch.testing.assert_close(latents, encode(tiny, images), atol=0.02, rtol=0.02)
    torch.testing.assert_close(decode(prior, latents, quick=True), decode(tiny, latents), atol=0.05, rtol=0)
    assert torch.equal(decode(prior, latents), decode(tiny, latents))


def test_per_channel_statistics_of_the_latents_are_used(
    tiny_folder: Path, tmp_path: Path, tiny: Prior
) -> None:
    copy = tmp_path / "p"
    shutil.copytree(tiny_folder, copy)
    config = copy / "vae" / "config.json"
    mean, std = [0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 3.0, 4.0]
    own = {"latents_mean": mean, "latents_std": std, "scaling_factor": 0.5}
    config.write_text(json.dumps({**json.loads(config.read_text()), **own}))
    prior = load_prior(copy, dtype=torch.float32)
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    raw = encode(tiny, images) / tiny.vae.config.scaling_factor
    expected = (raw - torch.tensor(mean)[:, None, None]) * 0.5 / torch.tensor(std)[:, None, None]
    torch.testing.assert_close(encode(prior, images), expected)
    torch.testing.assert_close(
        decode(prior, expected), decode(tiny, encode(tiny, images)), atol=1e-5, rtol=1e-4
    )
