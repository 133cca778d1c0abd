"""View-dependent prompt words."""

from hypothesis import given
from hypothesis import strategies as st

from vitruvian.core.view_words import view_words


def test_the_ring_of_mvhuman() -> None:
    expected = {
        0: "", 45: ", from left-hand side", 90: ", from left-hand side, from behind",
        135: ", from left-hand side, from behind", 180: ", from behind",
        225: ", from right-hand side, from behind", 270: ", from right-hand side, from behind",
        315: ", from right-hand side",
    }  # fmt: skip
    for azimuth, words in expected.items():
        assert view_words(azimuth, "extra") == words
        assert view_words(azimuth, "body") == ", full body" + words
        assert view_words(azimuth, "upper") == ", upper body" + words


@given(st.floats(-1e4, 1e4))
def test_whole_turns_change_nothing_and_mirroring_swaps_sides(azimuth: float) -> None:
    words = view_words(azimuth, "upper")
    swapped = words.replace("left", "#").replace("right", "left").replace("#", "right")
    assert view_words(-azimuth, "upper") == swapped
    nearest_edge = min(abs(abs((azimuth + 180) % 360 - 180) - edge) for edge in (0, 22.5, 67.5, 157.5, 180))
    if nearest_edge > 1e-6:
        assert view_words(azimuth + 360, "upper") == words
