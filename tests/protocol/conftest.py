"""The client at its desk."""

from __future__ import annotations

import pytest
from protocol_server import Desk


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.greet()
    return made
