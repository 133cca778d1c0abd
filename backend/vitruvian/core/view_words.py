"""View-dependent prompt words: the same strings in the training of the bundled prior and in sampling.

The azimuth words are MVHuman's (its released config: none in front, "from left-hand side" at 45 degrees,
"from left-hand side, from behind" at 90 and 135, "from behind" at 180, mirrored on the right).
"""

from __future__ import annotations

from vitruvian.core.camera import ViewKind

FRAMING_WORDS: dict[ViewKind, str] = {
    "body": "full body",
    "upper": "upper body",
    "face": "face close-up",
    "extra": "",
}


def view_words(azimuth_degrees: float, kind: ViewKind) -> str:
    """What is added to a prompt for one camera: "" or a phrase that starts with ", ".

    Args:
        azimuth_degrees: 0 = camera in front of the body, +90 = at its left (`CameraRig.azimuth_degrees`);
            any real number, taken modulo 360.
        kind: what the view frames.
    """
    azimuth = (azimuth_degrees + 180.0) % 360.0 - 180.0
    words = [FRAMING_WORDS[kind]]
    if 22.5 <= abs(azimuth) <= 157.5:
        words.append("from left-hand side" if azimuth > 0 else "from right-hand side")
    if abs(azimuth) > 67.5:
        words.append("from behind")
    return "".join(f", {word}" for word in words if word)
