"""Captions say what is there, and nothing else."""

import re

import numpy as np
import pytest

from vitruvian.wardrobe import phrases
from vitruvian.wardrobe.captions import ATTRIBUTES, Caption, caption, compose
from vitruvian.wardrobe.records import (
    BELT,
    BOTTOM,
    DRESS,
    GLASSES,
    HAT,
    OUTER,
    SHOES,
    SLOT_NAMES,
    TOP,
    Geometry,
    Outfit,
)  # fmt: skip
from vitruvian.wardrobe.subject import sample_geometry, sample_outfit, split_of
from vitruvian.wardrobe.train_text import labels_of, sample_captions

SLOTS = (TOP, BOTTOM, OUTER, DRESS, SHOES, HAT, BELT, GLASSES)


def _people(count: int) -> list[tuple[Geometry, Outfit, Caption]]:
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        geometry = sample_geometry(seed)
        outfit = sample_outfit(geometry, rng)
        azimuth = float(rng.uniform(-180, 180))
        found.append((geometry, outfit, compose(geometry, outfit, rng, azimuth, "upper")))
    return found


def _truth(geometry: Geometry, outfit: Outfit) -> dict[str, str | None]:
    truth: dict[str, str | None] = {
        "sex": geometry.sex, "age": geometry.age, "hair style": geometry.hair_style,
        "hair colour": outfit.hair_colour, "skin": outfit.skin_tone, "eyes": outfit.eye_colour,
        "beard": geometry.beard, "open": "open" if geometry.outer_open > 0 else "closed",
    }  # fmt: skip
    for slot in SLOTS:
        garment = outfit.garments.get(slot)
        name = SLOT_NAMES[slot]
        for key, value in (
            ("kind", "kind"),
            ("colour", "colour"),
            ("pattern", "pattern"),
            ("colour2", "colour2"),
        ):
            truth[f"{name} {key}"] = getattr(garment, value) if garment is not None else None
    return truth


def test_everything_said_is_true() -> None:
    for geometry, outfit, told in _people(300):
        truth = _truth(geometry, outfit)
        for attribute, value in told.said.items():
            assert value in ATTRIBUTES[attribute]
            if attribute == "beard" and value == "beard":
                assert geometry.beard in ("short beard", "full beard")
            elif attribute == "length":
                hem = geometry.dress_hem if geometry.dress else geometry.bottom_hem
                assert (value == "long") == (hem > 0.6)
            elif attribute in truth:
                assert value == truth[attribute], (attribute, told.text)


def test_colours_in_the_text_are_colours_that_are_worn() -> None:
    for _, outfit, told in _people(300):
        if told.said.get("skin") or told.said.get("eyes"):
            continue  # "brown skin" and "blue eyes" use the same words
        allowed = {word for name in _said_colours(told) for word in phrases.COLOUR_WORDS[name]}
        allowed |= set(phrases.HAIR_COLOUR_WORDS[outfit.hair_colour])
        known = {word for words in phrases.COLOUR_WORDS.values() for word in words}
        for word in known - allowed:
            if not any(word in longer for longer in allowed):
                assert not re.search(rf"\b{word}\b(?! skin)", told.text), (word, told.text)


def _said_colours(told: Caption) -> set[str]:
    return {
        value
        for key, value in told.said.items()
        if key.endswith(("colour", "colour2")) and key != "hair colour"
    }


def test_said_kinds_and_patterns_stand_in_the_text() -> None:
    for _, _, told in _people(200):
        for attribute, value in told.said.items():
            if attribute.endswith(" kind"):
                assert any(noun in told.text for noun in phrases.KIND_NOUNS[value]), told.text


def test_same_generator_state_same_words_and_many_words_in_all() -> None:
    geometry = sample_geometry(5)
    outfit = sample_outfit(geometry, np.random.default_rng(0))
    texts = [caption(geometry, outfit, np.random.default_rng(i)) for i in range(50)]
    assert texts == [caption(geometry, outfit, np.random.default_rng(i)) for i in range(50)]
    assert len(set(texts)) > 40


def test_view_words_end_the_caption() -> None:
    geometry = sample_geometry(5)
    outfit = sample_outfit(geometry, np.random.default_rng(0))
    told = compose(geometry, outfit, np.random.default_rng(0), 180.0, "body")
    assert told.text.endswith(", full body, from behind")
    assert told.said["behind"] == "behind"
    assert told.said["framing"] == "body"
    assert "side" not in told.said


def test_phases_and_seeds_are_never_said() -> None:
    from dataclasses import replace

    geometry = sample_geometry(8)
    outfit = sample_outfit(geometry, np.random.default_rng(0))
    garments = {
        s: replace(g, phase=(0.123, 0.456), seed=7, scale=g.scale * 1.1) for s, g in outfit.garments.items()
    }
    other = replace(outfit, garments=garments, seed=1)
    for i in range(20):
        assert caption(geometry, outfit, np.random.default_rng(i)) == caption(
            geometry, other, np.random.default_rng(i)
        )


def test_training_captions_are_of_training_people() -> None:
    assert {split_of(seed) for seed in range(2000)} == {"train", "validation", "test"}
    first, second = sample_captions(8, 3), sample_captions(8, 3)
    assert first == second
    assert first != sample_captions(8, 3, "validation")


def test_labels_of_what_is_not_said_are_the_last_class() -> None:
    labels = labels_of([{}, {"sex": "man"}])
    sizes = [len(values) for values in ATTRIBUTES.values()]
    assert labels[0].tolist() == sizes
    assert labels[1, list(ATTRIBUTES).index("sex")] == ATTRIBUTES["sex"].index("man")


@pytest.mark.parametrize("phrase", ["a orange", "a olive", "a off-white", "an white", "a older", "a afro"])
def test_articles(phrase: str) -> None:
    assert not any(f"{phrase} " in told.text for _, _, told in _people(300))
