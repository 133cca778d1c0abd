"""What an artist is told when something is wrong: code, sentence, remedy, and a button where one helps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

BUTTONS: dict[str, tuple[str, str]] = {
    "UNREACHABLE": ("vitruvian.backend_start", "Start the backend"),
    "LOST": ("vitruvian.reconnect", "Reconnect now"),
    "NOT_OURS": ("vitruvian.open_preferences", "Open the preferences"),
    "AUTH": ("vitruvian.copy_public_key", "Copy my key"),
    "SERVER_KEY": ("vitruvian.open_preferences", "Open the preferences"),
    "NO_BACKEND": ("vitruvian.backend_install", "Install the backend"),
    "BACKEND_DIED": ("vitruvian.open_log", "Open the log"),
    "OFFLINE": ("vitruvian.open_preferences", "Open the preferences"),
    "BAD_SCENE:EMPTY": ("vitruvian.add_proxy", "Add a body"),
    "BAD_SCENE:UV": ("vitruvian.repair_uv", "Unwrap into a new UV map"),
    "BAD_SCENE:SIZE": ("vitruvian.repair_size", "Scale to a person's size"),
    "SIZE": ("vitruvian.repair_size", "Scale to a person's size"),
    "SCALE": ("vitruvian.repair_scale", "Apply the scale"),
    "BAD_SCENE:NOT_FINITE": ("vitruvian.repair_mesh", "Clean the mesh"),
    "BAD_SCENE:INDEX": ("vitruvian.repair_mesh", "Clean the mesh"),
    "BAD_SCENE:DEGENERATE": ("vitruvian.repair_mesh", "Clean the mesh"),
    "BAD_SCENE:CAMERA": ("vitruvian.add_rig", "Add the camera rig"),
    "OUT_OF_VRAM": ("vitruvian.release_memory", "Give memory back"),
    "INTERNAL": ("vitruvian.copy_report", "Copy report"),
}
"""Operator and label for a code; the part before the colon serves finer codes that have none."""


@dataclass(frozen=True)
class Told:
    """An error as the panel shows it and the job list keeps it."""

    code: str
    sentence: str
    remedy: str
    retry: str = "after_fix"
    error_id: str = ""

    def to_json(self) -> dict[str, str]:
        return dict(vars(self))

    @staticmethod
    def from_json(data: Any) -> Told | None:
        """None for anything that is not a told error."""
        if not isinstance(data, dict):
            return None
        names = ("code", "sentence", "remedy", "retry", "error_id")
        return Told(**{name: str(data.get(name, "")) for name in names})

    @property
    def button(self) -> tuple[str, str] | None:
        return BUTTONS.get(self.code) or BUTTONS.get(self.code.partition(":")[0])


class Problem(Exception):
    """Something the artist can put right; raised before anything has changed."""

    def __init__(self, code: str, sentence: str, remedy: str) -> None:
        self.told = Told(code, sentence, remedy)
        super().__init__(f"{sentence}. {remedy}.")


def told(error: Any) -> Told:
    """From the wire's `ErrorInfo`."""
    return Told(error.code, error.sentence, error.remedy, error.retry, error.error_id)
