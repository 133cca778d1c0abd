"""Training of the bundled prior, on pictures of noise: what resumes, what is exported, what is refused."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from vitruvian.core.errors import Cancelled, UserError
from vitruvian.diffusion.latents import decode
from vitruvian.diffusion.loading import load_prior
from vitruvian.diffusion.mini_model import (
    MiniShape,
    build_scheduler,
    build_vae,
    fold_normalisation,
    load_tokenizer,
)  # fmt: skip
from vitruvian.wardrobe.captions import caption
from vitruvian.wardrobe.dataset import (
    DataPlan,
    Painted,
    Views,
    load_painted,
    load_slots,
    load_views,
    random_crops,
    save_painted,
    save_views,
    views_path,
)  # fmt: skip
from vitruvian.wardrobe.diffusion_loss import BACKGROUND_SHARE, cell_weights, time_weight, training_times
from vitruvian.wardrobe.latent_pool import mirrored_normals
from vitruvian.wardrobe.records import BACKGROUND, BOTTOM, SLOT_NAMES, TOP
from vitruvian.wardrobe.subject import sample_geometry, sample_outfit, seeds_of
from vitruvian.wardrobe.train_decoder import train_decoder
from vitruvian.wardrobe.train_diffusion import train_diffusion
from vitruvian.wardrobe.train_prior import adopt_prior, install_prior, train_prior
from vitruvian.wardrobe.train_text import sample_captions, tokenize, train_text, train_tokenizer
from vitruvian.wardrobe.train_tiny import train_tiny
from vitruvian.wardrobe.train_vae import train_vae
from vitruvian.wardrobe.training import Budget, Log, Rhythm, learning_rate

SIZE = 64
TINY = MiniShape(
    vae_channels=(8, 8, 8, 8), latent_channels=4, vae_groups=2,
    text_width=32, text_layers=1, text_heads=2,
    unet_channels=(16, 16, 32), unet_heads=(1, 1, 2), unet_groups=4,
    hint_channels=(4, 4, 4, 4), image_size=SIZE,
)  # fmt: skip
OFTEN = Rhythm(log=0.0, checkpoint=0.0, sheet=1e9)


class StopAt(Log):
    """A log that is interrupted, as a user would interrupt the training."""

    def __init__(self, word: str) -> None:
        super().__init__(None)
        self.word = word

    def __call__(self, line: str) -> None:
        if self.word in line:
            raise Cancelled


def _pixels() -> dict[str, torch.Tensor]:
    """A top above trousers, in both views, twice the size of the pictures."""
    rows, columns = torch.meshgrid(torch.arange(40, 80), torch.arange(20, 100), indexing="ij")
    pixel = (rows * 2 * SIZE + columns).flatten().to(torch.int32)
    slot = torch.where(rows < 64, TOP, BOTTOM).flatten().to(torch.uint8)
    view = torch.arange(2, dtype=torch.uint8).repeat_interleave(len(pixel))
    return {"view": view, "pixel": pixel.repeat(2), "slot": slot.repeat(2)}


def _people(folder: Path, split: str) -> None:
    generator = torch.Generator().manual_seed(0)
    for seed in seeds_of("train" if split == "train" else "validation", 2):
        geometry, rng = sample_geometry(seed), np.random.default_rng(seed)
        depth = torch.randint(0, 256, (2, SIZE, SIZE), generator=generator, dtype=torch.uint8)
        normal = torch.randint(0, 256, (2, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
        views = Views(
            geometry, ("body", "upper"), (0.0, 90.0), depth, normal, _pixels(), (2, 2 * SIZE, 2 * SIZE)
        )
        save_views(views, views_path(folder, seed))
        images = torch.randint(0, 256, (2, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
        masks = torch.zeros(2, SIZE, SIZE, dtype=torch.bool)
        masks[:, 20:40, 10:50] = True
        text = caption(geometry, sample_outfit(geometry, rng), rng, 0.0, "body")
        entries = [{"seed": seed, "view": i, "flip": bool(i), "captions": [text, text]} for i in range(2)]
        save_painted([Painted(images, masks, entries)], folder / "painted" / f"{seed}.safetensors")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Layers this small only wait for one another in two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with people, and a tiny prior trained for two or three steps a part."""
    out = tmp_path_factory.mktemp("studio")
    _people(out / "data", "train")
    _people(out / "data-validation", "validation")
    log = Log(None)
    train_vae(out, TINY, Budget(steps=3), log, crops=2, crop=32, rhythm=OFTEN)
    train_text(out, TINY, Budget(steps=2), log, captions=40, batch=4, rhythm=OFTEN)
    train_diffusion(out, TINY, Budget(steps=4), log, DataPlan(2), batch=2, enough=1, rhythm=OFTEN)
    return out


def test_what_is_trained_loads_as_a_prior(studio: Path) -> None:
    prior = load_prior(studio / "prior")
    assert prior.prediction == "v_prediction"
    assert prior.image_size == SIZE
    assert set(prior.controlnets) == {"depth", "normal"}
    assert prior.vae.config.scaling_factor == 1.0
    assert prior.card["trained_steps"] == 4
    assert list((studio / "sheets").glob("diffusion-*.png"))


def test_an_interrupted_training_resumes_to_the_same_bytes(studio: Path, tmp_path: Path) -> None:
    def run(out: Path, log: Log, resume: bool) -> None:
        budget = Budget(steps=3)
        train_diffusion(out, TINY, budget, log, DataPlan(2), resume, batch=2, enough=1, rhythm=OFTEN)

    for name in ("whole", "parts"):
        shutil.copytree(studio, tmp_path / name)
    run(tmp_path / "whole", Log(None), resume=False)
    with pytest.raises(Cancelled):
        run(tmp_path / "parts", StopAt("diffusion step 2 "), resume=False)
    run(tmp_path / "parts", Log(None), resume=True)
    whole, parts = (load_file(tmp_path / n / "checkpoints/diffusion.safetensors") for n in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_a_finished_prior_is_a_start(studio: Path, tmp_path: Path) -> None:
    adopt_prior(studio / "prior", tmp_path)
    for data in ("data", "data-validation"):
        shutil.copytree(studio / data, tmp_path / data)
    arguments: dict[str, Any] = {"batch": 2, "enough": 1, "rhythm": OFTEN, "start": studio / "prior"}
    still = Budget(steps=0, minutes=1e-9)
    train_diffusion(tmp_path, TINY, still, Log(None), DataPlan(2), **arguments)
    steps = [json.loads((p / "prior/prior.json").read_text())["trained_steps"] for p in (studio, tmp_path)]
    assert steps[1] == steps[0] + 1
    for part in ("unet", "controlnet_depth", "vae"):
        name = f"prior/{part}/diffusion_pytorch_model.safetensors"
        before, after = load_file(studio / name), load_file(tmp_path / name)
        resting = part != "unet"  # ControlNets and autoencoder
        assert not resting or all(torch.equal(before[k], after[k]) for k in before), part
        assert str(studio) not in (tmp_path / f"prior/{part}/config.json").read_text()
        # A step at a vanishing learning rate in half precision: all but the same weights.
        assert all(torch.allclose(before[k].float(), after[k].float(), atol=2e-3) for k in before), part


def test_a_start_of_another_shape_is_refused(studio: Path, tmp_path: Path) -> None:
    other = replace(TINY, unet_channels=(8, 8, 16))
    arguments: dict[str, Any] = {"batch": 2, "enough": 1, "start": studio / "prior"}
    adopt_prior(studio / "prior", tmp_path)
    for data in ("data", "data-validation"):
        shutil.copytree(studio / data, tmp_path / data)
    with pytest.raises(UserError, match="start from"):
        train_diffusion(tmp_path, other, Budget(steps=1), Log(None), DataPlan(2), **arguments)


def test_cells_know_what_they_show(tmp_path: Path) -> None:
    _people(tmp_path, "train")
    slots = load_slots(next((tmp_path / "views").iterdir()), 16)
    cell = 2 * SIZE // 16
    expected = torch.zeros(2, 16, 16, dtype=torch.uint8)
    expected[:, 40 // cell : -(-80 // cell), 20 // cell : -(-100 // cell)] = BOTTOM
    expected[:, 40 // cell : 64 // cell, 20 // cell : -(-100 // cell)] = TOP
    assert torch.equal(slots, expected)


@given(st.lists(st.integers(0, len(SLOT_NAMES) - 1), min_size=36, max_size=36))
def test_what_is_small_counts_by_the_root_of_its_area(kinds: list[int]) -> None:
    slots = torch.tensor(kinds, dtype=torch.uint8).view(1, 6, 6)
    weights = cell_weights(slots)
    sums = {k: float(weights[slots == k].sum()) for k in set(kinds)}
    people = {k: kinds.count(k) ** 0.5 for k in sums if k != BACKGROUND}
    for kind, root in people.items():
        assert sums[kind] == pytest.approx((1 - BACKGROUND_SHARE) * root / sum(people.values()), rel=1e-4)
    if BACKGROUND in sums:
        assert sums[BACKGROUND] == pytest.approx(BACKGROUND_SHARE, rel=1e-4)


def test_a_checkpoint_of_another_shape_is_refused(studio: Path, tmp_path: Path) -> None:
    other = replace(TINY, vae_channels=(8, 8, 8, 16))
    with pytest.raises(UserError, match="resume"):
        train_vae(studio, other, Budget(steps=3), Log(None), resume=True, crops=2, crop=32)


def test_sharpening_the_decoder_leaves_the_encoder_alone(studio: Path, tmp_path: Path) -> None:
    shutil.copytree(studio, tmp_path / "more")
    train_decoder(tmp_path / "more", TINY, Budget(steps=1), Log(None), crops=2, crop=32, rhythm=OFTEN)
    weights = "prior/vae/diffusion_pytorch_model.safetensors"
    before, after = load_file(studio / weights), load_file(tmp_path / "more" / weights)
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert "decoder" in changed
    assert changed <= {"decoder", "post_quant_conv"}


def test_only_complete_priors_are_installed(studio: Path, tmp_path: Path) -> None:
    size = install_prior(studio / "prior", tmp_path / "mini")
    assert size == sum(p.stat().st_size for p in (tmp_path / "mini").rglob("*") if p.is_file())
    assert load_prior(tmp_path / "mini").hash == load_prior(studio / "prior").hash
    (tmp_path / "mini" / "prior.json").unlink()
    with pytest.raises(UserError, match=r"prior\.json"):
        install_prior(tmp_path / "mini", tmp_path / "other")


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("part", {"part": "hair"}),
        ("minutes", {"minutes": 0.0}),
        ("minutes", {"minutes": float("nan")}),
        ("subjects", {"subjects": 0}),
        ("device", {"device": "tpu"}),
        ("part", {"part": "vae"}),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, field: str, arguments: dict[str, object]) -> None:
    with pytest.raises(UserError) as caught:
        train_prior(tmp_path / "out", **arguments)  # pyright: ignore[reportArgumentType]
    assert caught.value.field == field


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer((text for text, _ in sample_captions(400, 0)), folder)
    return load_tokenizer(folder)


@settings(deadline=None, max_examples=60)
@given(text=st.text(max_size=30))
def test_any_text_survives_the_tokenizer(tokenizer, text: str) -> None:
    """Up to what CLIP itself does: lower case, normal form C, white space between words."""
    ids = tokenizer(text).input_ids
    assert max(ids) < len(tokenizer)
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id
    bare = "".join(tokenizer.decode(ids, skip_special_tokens=True).split())
    again = tokenizer(bare).input_ids
    assert "".join(tokenizer.decode(again, skip_special_tokens=True).split()) == bare


def test_words_of_captions_are_single_tokens_and_no_text_is_only_padding(tokenizer) -> None:
    ids = tokenize(tokenizer, ["a woman in a red striped shirt", ""])
    assert ids.shape == (2, 64)
    assert int((ids[0] != tokenizer.eos_token_id).sum()) == 8
    assert (ids[1, 1:] == tokenizer.eos_token_id).all()


def test_captions_and_accents_round_trip(tokenizer) -> None:
    for text in ("a woman in a red shirt", "über 服 🙂 x", "naïve café"):
        decoded = tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True)
        assert "".join(decoded.split()) == "".join(text.split())


def test_data_round_trips(tmp_path: Path) -> None:
    _people(tmp_path, "train")
    path = next((tmp_path / "painted").iterdir())
    painted = load_painted(path)
    save_painted([painted, painted], tmp_path / "twice.safetensors")
    twice = load_painted(tmp_path / "twice.safetensors")
    assert torch.equal(twice.images[:2], painted.images)
    assert torch.equal(twice.masks[2:], painted.masks)
    assert twice.entries == painted.entries * 2
    seed = painted.entries[0]["seed"]
    assert load_views(views_path(tmp_path, seed)).geometry == sample_geometry(seed)


def test_crops_hold_the_person() -> None:
    rng = np.random.default_rng(0)
    images = torch.zeros(20, 3, 64, 64, dtype=torch.uint8)
    masks = torch.zeros(20, 64, 64, dtype=torch.bool)
    masks[:, 60, 3] = True
    for image, mask in random_crops(images, masks, 16, rng):
        assert image.shape == (3, 16, 16)
        assert mask.sum() == 1


def test_folding_normalises_latents_and_keeps_pictures() -> None:
    torch.manual_seed(0)
    vae: Any = build_vae(TINY).eval()
    images = torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    mean, std = torch.tensor([1.0, -2.0, 0.5, 3.0]), torch.tensor([0.5, 2.0, 1.0, 4.0])
    with torch.no_grad():
        before = vae.encode(images).latent_dist
        picture = vae.decode(before.mean).sample
        vae.load_state_dict(fold_normalisation(vae.state_dict(), mean, std))
        after = vae.encode(images).latent_dist
        torch.testing.assert_close(after.mean, (before.mean - _column(mean)) / _column(std))
        torch.testing.assert_close(after.std, before.std / _column(std))
        torch.testing.assert_close(vae.decode(after.mean).sample, picture, atol=1e-4, rtol=1e-4)


def _column(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


def test_mirroring_normals_twice_changes_nothing() -> None:
    normal = torch.randint(1, 256, (3, 5, 7), dtype=torch.uint8)
    assert torch.equal(mirrored_normals(mirrored_normals(normal)), normal)
    straight = torch.tensor([128, 128, 255], dtype=torch.uint8).view(3, 1, 1)
    assert torch.equal(mirrored_normals(straight), straight)


def test_time_weights_do_not_vanish_at_pure_noise_and_fall_where_latents_are_clean() -> None:
    kept = build_scheduler().alphas_cumprod
    weight = time_weight(kept)
    assert float(kept[-1]) == pytest.approx(0.0, abs=1e-7)
    assert float(weight[-1]) == pytest.approx(1.0)
    assert bool((weight.diff() >= -1e-6).all())
    assert float(weight[0]) < 0.01


def test_a_quarter_of_the_times_is_where_the_prompt_decides() -> None:
    times = training_times(4000, 1000, torch.Generator().manual_seed(0))
    assert times.min() >= 0
    assert times.max() == 999
    assert 0.22 < float((times >= 936).float().mean()) < 0.28
    assert float((times < 500).float().mean()) > 0.25


def test_learning_rate_warms_up_and_falls() -> None:
    assert learning_rate(1.0, 0, 0.0, 100) == pytest.approx(0.01)
    assert learning_rate(1.0, 1000, 0.0) == pytest.approx(1.0)
    assert learning_rate(1.0, 1000, 1.0, floor=0.05) == pytest.approx(0.05)


def test_a_tiny_autoencoder_learns_from_the_whole_one(studio: Path, tmp_path: Path) -> None:
    """What it makes of the whole one's latents comes nearer, and the prior loads with it."""
    out = tmp_path / "studio"
    shutil.copytree(studio, out)

    def error(steps: int) -> float:
        train_tiny(out, TINY, Budget(steps=steps), Log(None), crops=2, crop=32, rhythm=OFTEN)
        prior = load_prior(out / "prior", dtype=torch.float32)
        assert prior.tiny_vae is not None
        latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
        return float((decode(prior, latents, tiny=True) - decode(prior, latents)).square().mean())

    before = load_file(out / "prior" / "vae" / "diffusion_pytorch_model.safetensors")
    assert error(40) < 0.8 * error(1)
    after = load_file(out / "prior" / "vae" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_tiny_autoencoder_needs_a_whole_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="prior/vae"):
        train_tiny(tmp_path, TINY, Budget(steps=1), Log(None))
