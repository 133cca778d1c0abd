"""Fixtures that tests of several rooms share."""

from __future__ import annotations

from pathlib import Path

import build_addon
import pytest


@pytest.fixture(scope="session")
def addon_zips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The extension as artists get it, built from this checkout: for all platforms, then one for each."""
    try:
        return build_addon.build(tmp_path_factory.mktemp("dist"))
    except build_addon.DownloadError as error:
        pytest.skip(f"{error} (make addon does it)")


@pytest.fixture(scope="session")
def addon_zip(addon_zips: list[Path]) -> Path:
    """The zip for every platform."""
    return addon_zips[0]
