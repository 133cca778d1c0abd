"""Hair."""

from vitruvian.wardrobe.cloth import Piece
from vitruvian.wardrobe.garments import Wearer
from vitruvian.wardrobe.records import Geometry


def make_hair(wearer: Wearer, geometry: Geometry) -> list[Piece]:
    return []
