"""Quality presets and what they change; plain values that the panel shows and tests read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    label: str
    purpose: str
    steps: int
    texture_size: int

    def summary(self) -> str:
        return f"{self.steps} steps, texture {self.texture_size} px"


PRESETS: dict[str, Preset] = {
    "DRAFT": Preset("Draft", "A quick look at prompt and seed", 8, 512),
    "STANDARD": Preset("Standard", "Good for most uses", 20, 1024),
    "HIGH": Preset("High", "For close-ups", 40, 2048),
    "FINAL": Preset("Final", "The largest texture", 60, 4096),
}
CUSTOM = "CUSTOM"


def preset_of(steps: int, texture_size: int) -> str:
    """The preset that has these values, or CUSTOM."""
    for name, preset in PRESETS.items():
        if (preset.steps, preset.texture_size) == (steps, texture_size):
            return name
    return CUSTOM
