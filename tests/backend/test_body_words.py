"""What a prompt says of the body, and what it does not."""

import pytest

from vitruvian.body.anny_arrays import PHENOTYPES
from vitruvian.body.words import ADULT, phenotype_from_words


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a woman with short black hair in a red shirt", {"gender": 0.95, "age": 0.67}),
        ("An old man, bald, in a suit", {"gender": 0.05, "age": 0.92}),
        ("a person in slim jeans with a tall hat", ADULT),
        ("a teenager wearing a men's jacket", {"age": 0.53}),
        ("a slim muscular woman", {"gender": 0.95, "age": 0.67, "weight": 0.2, "muscle": 0.85}),
        ("a man and a woman", ADULT),
    ],
)
def test_only_the_words_about_the_person_count(prompt: str, expected: dict[str, float]):
    assert phenotype_from_words(prompt) == expected


def test_every_hint_is_a_setting_that_the_body_has():
    everything = phenotype_from_words("a tall old heavy strong woman")
    assert set(everything) <= set(PHENOTYPES)
    assert all(0 <= value <= 1 for value in everything.values())
