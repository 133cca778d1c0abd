"""Vitruvian: textured humans from a proxy body, a camera rig and a prompt."""

__version__ = "0.1.0"
