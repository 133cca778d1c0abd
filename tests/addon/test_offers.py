"""What a server offers against what an artist chose."""

from __future__ import annotations

from vitruvian_addon import offers  # pyright: ignore[reportMissingImports]

SERVER = {"priors": ("studio", "mini"), "methods": ["mvhuman", 7], "version": "1"}


def test_the_servers_first_unless_one_was_chosen() -> None:
    assert offers.chosen(SERVER, "prior", "", "mini") == "studio"
    assert offers.chosen(SERVER, "prior", "mini", "mini") == "mini"
    assert offers.chosen({}, "prior", "", "mini") == "mini"
    assert offers.chosen({"priors": "studio"}, "prior", "", "mini") == "mini"
    assert offers.offered(SERVER, "method") == ("mvhuman",), "what is no name is left out"


def test_what_is_not_offered_is_told_with_what_is() -> None:
    problem = offers.problem_of(SERVER, "prior", "gone")
    assert problem is not None
    assert problem.told.sentence == 'This server does not offer the image model "gone"'
    assert problem.told.remedy.endswith("studio, mini")
    assert offers.problem_of(SERVER, "prior", "mini") is None
    assert offers.problem_of(SERVER, "prior", "") is None
    assert offers.problem_of({}, "prior", "gone") is None, "the server itself will say so"
