"""Laws of the wardrobe's people and their paint: splits, seeds, colours, shares."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.wardrobe.fabrics import fabric_colour, stripe_coverage
from vitruvian.wardrobe.face import skin_colour
from vitruvian.wardrobe.face_atlas import CHANNELS, MIDDLE, feature_atlas
from vitruvian.wardrobe.paint import paint
from vitruvian.wardrobe.palette import (
    GARMENT_COLOURS,
    HAIR_COLOURS,
    SKIN_TONES,
    colour_differences,
    jittered,
    nearest_colour,
)
from vitruvian.wardrobe.records import SKIN, TOP, geometry_from_json, outfit_from_json, to_json
from vitruvian.wardrobe.render import DressedPixels
from vitruvian.wardrobe.subject import (
    PATTERNS,
    Garment,
    sample_geometry,
    sample_outfit,
    sample_subject,
    seeds_of,
    split_of,
)


def test_garment_colours_are_well_apart() -> None:
    differences = colour_differences(torch.tensor(list(GARMENT_COLOURS.values())))
    assert differences.fill_diagonal_(torch.inf).min() >= 15.0


@pytest.mark.parametrize(
    "palette", [GARMENT_COLOURS, HAIR_COLOURS, SKIN_TONES], ids=["garments", "hair", "skin"]
)
def test_a_jittered_colour_keeps_its_name(palette: dict[str, tuple[float, float, float]]) -> None:
    rng = np.random.default_rng(0)
    for name, rgb in palette.items():
        variants = torch.tensor([jittered(rgb, rng) for _ in range(20)])
        assert nearest_colour(variants, palette) == [name] * 20
        assert colour_differences(variants, {name: rgb}).max() <= 3.01


def test_splits_do_not_mix_and_have_their_shares() -> None:
    splits = [split_of(seed) for seed in range(5000)]
    assert splits == [split_of(seed) for seed in range(5000)]
    assert 0.88 < splits.count("train") / 5000 < 0.92
    assert 0.04 < splits.count("test") / 5000 < 0.06
    drawn = {name: set(seeds_of(name, 50)) for name in ("train", "validation", "test")}
    assert not drawn["train"] & drawn["test"]
    assert not drawn["train"] & drawn["validation"]
    assert not drawn["test"] & drawn["validation"]


def test_a_seed_is_one_person_and_survives_json() -> None:
    for seed in range(20):
        subject = sample_subject(seed)
        assert subject == sample_subject(seed)
        assert geometry_from_json(json.loads(json.dumps(to_json(subject.geometry)))) == subject.geometry
        assert outfit_from_json(json.loads(json.dumps(to_json(subject.outfit)))) == subject.outfit


def test_people_come_in_equal_shares() -> None:
    people = [sample_geometry(seed) for seed in range(1500)]
    assert 0.46 < np.mean([p.sex == "woman" for p in people]) < 0.54
    for age in ("teen", "adult", "older"):
        assert 0.29 < np.mean([p.age == age for p in people]) < 0.38
    weights = np.histogram([p.phenotype["weight"] for p in people], bins=4, range=(0.12, 0.88))[0]
    assert weights.min() > 0.8 * weights.max()
    tones = [sample_outfit(p, np.random.default_rng(p.seed)).skin_tone for p in people]
    assert all(0.12 < tones.count(tone) / len(tones) < 0.21 for tone in SKIN_TONES)


def test_everything_worn_has_a_fabric() -> None:
    for seed in range(200):
        subject = sample_subject(seed)
        worn = [subject.geometry.top, subject.geometry.bottom, subject.geometry.dress, subject.geometry.shoes]
        kinds = {garment.kind for garment in subject.outfit.garments.values()}
        assert {kind for kind in worn if kind is not None} <= kinds
        assert (subject.geometry.dress is None) == (subject.geometry.top is not None)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(
    ("colour", "colour2"), [("red", "white"), ("blue", "yellow"), ("black", "white"), ("white", "navy")]
)
def test_the_main_colour_dominates_every_pattern(pattern: str, colour: str, colour2: str) -> None:
    images = _cloth(_garment(pattern, colour, colour2), metres_per_pixel=0.004)
    names = nearest_colour(images.reshape(-1, 3))
    assert names.count(colour) / len(names) >= 0.6


@pytest.mark.parametrize("colour", list(GARMENT_COLOURS))
def test_plain_cloth_is_the_colour_it_is_called(colour: str) -> None:
    rgb = _cloth(_garment("plain", colour, "white"), metres_per_pixel=0.004).reshape(-1, 3)
    assert nearest_colour(rgb) == [colour] * len(rgb)


def test_stripes_keep_their_area_at_any_distance() -> None:
    t = torch.linspace(0.0, 20.0, 4001)[:-1]
    for width in (0.01, 0.3, 0.9, 2.5):
        coverage = stripe_coverage(t, 0.3, torch.full_like(t, width))
        assert coverage.mean() == pytest.approx(0.3, abs=2e-3)
        assert coverage.min() >= -1e-3
        assert coverage.max() <= 1.0 + 1e-3


def test_face_features_are_symmetric() -> None:
    for name, mask in zip(CHANNELS, feature_atlas()[0][0], strict=True):
        if name == "freckles":
            continue
        # The atlas is a little wider on one side of the middle: compare the part that both sides have.
        columns = mask.shape[1]
        middle = round((MIDDLE - 0.14) / 0.69 * columns)
        left, right = mask[:, :middle].flip(1), mask[:, middle:]
        reach = min(left.shape[1], right.shape[1])
        assert (left[:, :reach] - right[:, :reach]).abs().mean() < 0.01, name


def test_lips_are_redder_than_cheeks() -> None:
    subject = sample_subject(5)
    uv = torch.tensor([[0.9000, MIDDLE], [0.8800, MIDDLE + 0.075]])  # upper lip, cheek
    rest = torch.tensor([[0.0, -0.08, 0.9], [0.03, -0.06, 0.9]])
    lip, cheek = skin_colour(subject.outfit, subject.geometry, uv, rest, torch.full((2,), 0.001))
    assert lip[0] / lip[1:].mean() > cheek[0] / cheek[1:].mean()


def test_an_arm_is_no_head() -> None:
    """Left forearm and scalp share a range of UVs."""
    subject = sample_subject(5)
    outfit = replace(subject.outfit, hair_rgb=(0.0, 1.0, 0.0), skin_rgb=(0.8, 0.6, 0.5))
    uv = torch.tensor([[0.70, 0.85], [0.70, 0.60]])
    rest = torch.tensor([[0.30, 0.0, 0.60], [0.0, 0.02, 0.99]])
    arm, scalp = skin_colour(
        outfit, replace(subject.geometry, hair_style="buzz"), uv, rest, torch.full((2,), 0.003)
    )
    assert arm[0] > arm[1]
    assert scalp[1] > scalp[0]


def test_paint_is_deterministic_and_averages_four_pixels() -> None:
    subject = sample_subject(4)
    pixels = _pixels(slots=np.array([TOP, TOP, SKIN], dtype=np.uint8), flat=np.array([0, 1, 10]))
    images = paint(pixels, subject.outfit, subject.geometry)
    assert torch.equal(images, paint(pixels, subject.outfit, subject.geometry))
    assert images.shape == (1, 3, 2, 2)
    assert images[0, :, 0, 1].tolist() == [1.0, 1.0, 1.0]
    # Half cloth, half white ground.
    top = torch.tensor(subject.outfit.garments[TOP].rgb)
    assert torch.allclose(images[0, :, 0, 0], (top + 1.0) / 2.0, atol=0.06)


def test_another_outfit_on_the_same_pixels_has_other_colours() -> None:
    geometry = sample_geometry(4)
    pixels = _pixels(slots=np.full(16, TOP, dtype=np.uint8), flat=np.arange(16))
    first, second = (
        paint(pixels, sample_outfit(geometry, np.random.default_rng(seed)), geometry) for seed in (0, 1)
    )
    assert not torch.allclose(first, second, atol=0.05)


def _garment(pattern: str, colour: str, colour2: str) -> Garment:
    scales = {"plain": 0.005, "denim": 0.005, "knit": 0.02, "print": 0.2, "dotted": 0.1, "plaid": 0.13}
    return Garment(
        kind="t-shirt", slot=TOP, colour=colour, rgb=GARMENT_COLOURS[colour], colour2=colour2,
        rgb2=GARMENT_COLOURS[colour2], pattern=pattern, scale=scales.get(pattern, 0.08), phase=(0.3, 0.6),
        duty=0.36, seed=5,
    )  # fmt: skip


def _cloth(garment: Garment, metres_per_pixel: float, size: int = 160) -> Float[Tensor, "S S 3"]:
    """A square of cloth as a person's chest wears it, 2 x 2 pixels averaged."""
    steps = (torch.arange(size * 2.0) - size) * metres_per_pixel / 2
    v, u = torch.meshgrid(-steps, steps, indexing="ij")
    uv = torch.stack([u, v], dim=-1).reshape(-1, 2)
    rest = torch.stack([uv[:, 0] / 1.7, torch.full_like(uv[:, 0], -0.1), uv[:, 1] / 1.7 + 0.72], dim=-1)
    rgb = fabric_colour(garment, uv, rest, torch.full((len(uv),), metres_per_pixel / 2))
    return rgb.reshape(size, 2, size, 2, 3).mean(dim=(1, 3))


def _pixels(slots: np.ndarray, flat: np.ndarray) -> DressedPixels:
    """Pixels of one 4 x 4 view (2 x 2 once averaged)."""
    count = len(slots)
    return DressedPixels(
        views=1,
        height=4,
        width=4,
        view=np.zeros(count, np.uint8),
        pixel=flat.astype(np.int32),
        slot=slots,
        fabric_uv=np.linspace(0.0, 0.01, 2 * count, dtype=np.float32).reshape(-1, 2),
        rest_position=np.tile(np.array([[0.06, 0.05, 0.7]], dtype=np.float32), (count, 1)),
        ao=np.full(count, 255, np.uint8),
        border=np.full(count, 200, np.uint8),
    )
