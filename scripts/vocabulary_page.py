"""Write docs/vocabulary.md: what the bundled prior's captions can say."""

from pathlib import Path

from vitruvian.wardrobe.vocabulary import page

if __name__ == "__main__":
    (Path(__file__).parent.parent / "docs" / "vocabulary.md").write_text(page(), encoding="utf-8")
