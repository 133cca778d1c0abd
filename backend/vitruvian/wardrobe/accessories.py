"""Acc."""

from vitruvian.wardrobe.cloth import Piece
from vitruvian.wardrobe.garments import Wearer
from vitruvian.wardrobe.records import Geometry


def make_accessories(wearer: Wearer, geometry: Geometry) -> list[Piece]:
    return []
