"""What the bundled prior was taught, and how a prompt that asks for more is answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shapes import sphere

from vitruvian.diffusion.loading import load_prior
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.text import view_endings, view_prompts
from vitruvian.diffusion.vocabulary import dropped_words, prompt_notes, unknown_words
from vitruvian.generation import generate
from vitruvian.render.rigs import default_rig
from vitruvian.wardrobe.captions import compose
from vitruvian.wardrobe.subject import sample_geometry, sample_outfit
from vitruvian.wardrobe.vocabulary import caption_words, page, words_of

DOCS = Path(__file__).parents[2] / "docs"
LONG = "a man in " + " and ".join(f"a {colour} shirt" for colour in ("red", "blue", "green", "teal") * 10)


@pytest.fixture(scope="module")
def mini() -> Prior:
    return load_prior("mini")


def test_captions_hold_no_word_that_is_not_listed() -> None:
    known = set(caption_words())
    for seed in range(600):
        rng = np.random.default_rng(seed)
        geometry = sample_geometry(seed)
        kind = ("body", "upper", "face", "extra")[seed % 4]
        text = compose(geometry, sample_outfit(geometry, rng), rng, float(rng.uniform(-180, 180)), kind).text
        assert set(words_of([text])) <= known, text


def test_every_listed_word_is_said_by_some_caption() -> None:
    said: set[str] = set()
    missing = set(caption_words())
    for seed in range(20_000):
        rng = np.random.default_rng(seed)
        geometry = sample_geometry(seed % 500)
        kind = ("body", "upper", "face", "extra")[seed % 4]
        said |= set(
            words_of([compose(geometry, sample_outfit(geometry, rng), rng, seed % 360 - 180.0, kind).text])
        )
        if missing <= said:
            return
    assert missing <= said, sorted(missing - said)


def test_the_bundled_prior_says_what_it_was_taught(mini: Prior) -> None:
    # Captions may have learned more words since; what the card names must still mean something.
    assert mini.card["words"]
    assert set(mini.card["words"]) <= set(caption_words())


def test_the_page_is_what_the_captions_say() -> None:
    assert (DOCS / "vocabulary.md").read_text(encoding="utf-8") == page()


def test_unknown_words_are_named_once_in_order(mini: Prior) -> None:
    texts = ["A tall man in a KIMONO with the obi, kimono and red shirt", "cyberpunk"]
    assert unknown_words(mini, texts) == ["kimono", "obi", "cyberpunk"]


def test_words_of_the_body_are_followed_elsewhere(mini: Prior) -> None:
    assert unknown_words(mini, ["two thin, muscular women and a chubby gentleman"]) == []


def test_a_prior_without_a_list_is_trusted(tiny: Prior) -> None:
    assert unknown_words(tiny, ["anything at all"]) == []


def test_a_slip_of_the_pen_gets_the_word_that_was_meant(mini: Prior) -> None:
    (note,) = prompt_notes(mini, default_rig(sphere(), 64), "a man in a stripped shirt and a sarong")
    assert "stripped (meant: striped?), sarong." in note


def test_what_a_long_prompt_loses_is_named_word_by_word(mini: Prior) -> None:
    rig = default_rig(sphere(), 64)
    lost = dropped_words(mini, LONG, view_endings(rig))
    shortest = min(len(prompt.split()) for prompt in view_prompts(mini, LONG, rig))
    assert lost
    assert LONG.endswith(lost)
    assert len(LONG.split()) - len(lost.split()) <= shortest
    assert any(lost in note for note in prompt_notes(mini, rig, LONG))
    assert dropped_words(mini, "a man in a red shirt", view_endings(rig)) == ""


def test_a_job_reports_it(tiny_folder: Path) -> None:
    avatar = generate(LONG, prior=str(tiny_folder), steps=1, size=128, texture_size=512)
    assert any("longer than the image model reads" in note for note in avatar.report["notes"])
