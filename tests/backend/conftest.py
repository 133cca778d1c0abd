"""Fixtures that several test modules share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_prior import build_tiny_prior

from vitruvian.diffusion.loading import load_prior
from vitruvian.diffusion.prior import Prior


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prior's folder with random weights; do not write into it."""
    return build_tiny_prior(tmp_path_factory.mktemp("prior") / "tiny")


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Prior:
    """The same, loaded in float32, so that small differences mean something."""
    return load_prior(tiny_folder, dtype=torch.float32)
