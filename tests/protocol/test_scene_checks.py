"""Each malformed scene is refused by the name of its field, by the client and by the server again."""

from __future__ import annotations

import pytest
from malformed_files import unchecked
from malformed_scenes import MALFORMED, ONLY_IN_MEMORY
from refusals import refusal

from vitruvian_protocol import check_scene
from vitruvian_protocol.codec import pack_scene, unpack_scene


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_scenes_name_their_field(name: str) -> None:
    bad, code, path = MALFORMED[name]
    error = refusal(lambda: check_scene(bad))
    assert (error.code, error.path) == (code, path)
    assert refusal(lambda: pack_scene(bad)).path == path


@pytest.mark.parametrize("name", [n for n in MALFORMED if n not in ONLY_IN_MEMORY])
def test_the_server_refuses_what_a_client_let_through(name: str) -> None:
    bad, code, path = MALFORMED[name]
    error = refusal(lambda: unpack_scene(unchecked(bad)))
    assert (error.code, error.path) == (code, path)
