"""What the tests of refusals share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from vitruvian_protocol import ProtocolError
from vitruvian_protocol.codec import decode
from vitruvian_protocol.errors import ERRORS, info_of


def refusal(call: Callable[[], object]) -> ProtocolError:
    """The error that `call` must raise: of a known code, with a sentence that has no gaps."""
    with pytest.raises(ProtocolError) as caught:
        call()
    assert caught.value.code in ERRORS
    assert "{" not in info_of(caught.value).sentence
    return caught.value


def refused(frames: Sequence[bytes]) -> ProtocolError:
    """The error that decoding these frames must raise."""
    return refusal(lambda: decode(frames))
