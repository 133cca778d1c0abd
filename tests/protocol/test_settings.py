"""Settings out of bounds are refused by their name, and prompts are cleaned before."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from malformed_settings import BAD_SETTINGS
from refusals import refusal

from vitruvian_protocol import Settings, check_settings, clean_prompt


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_bad_settings_name_their_field(name: str) -> None:
    changes, field = BAD_SETTINGS[name]
    bad = dataclasses.replace(Settings("a man"), **changes)
    error = refusal(lambda: check_settings(bad))
    assert (error.code, error.path) == ("BAD_SETTINGS", f"$.settings.{field}")


@pytest.mark.parametrize(
    "prompt", ["%s{}{0}%n", "'; DROP TABLE jobs; --", "女人穿红色外套", "café", "x" * 2_000, "$(reboot)"]
)
def test_a_prompt_is_only_a_prompt(prompt: str) -> None:
    check_settings(Settings(prompt))


@settings(max_examples=500, deadline=None, database=None)
@given(st.text(max_size=200))
def test_a_cleaned_prompt_is_accepted_and_stays_as_it_is(text: str) -> None:
    cleaned = clean_prompt(text)
    assert clean_prompt(cleaned) == cleaned
    if cleaned:
        check_settings(Settings(cleaned))


def test_cleaning_keeps_words_apart() -> None:
    assert clean_prompt("a\tman\r\n in\u2028red \x00\u202e") == "a man in red"
    assert clean_prompt("cafe\u0301") == "café"
