"""A job's state in an artist's words. No bpy."""

from __future__ import annotations

from .jobs import Job


def describe(job: Job) -> str:
    """One line for the panel."""
    if job.cancelling and not job.ended:
        return "Cancelling"
    if job.state == "queued":
        ahead = f", {job.position} before it" if job.position else ""
        return f"Waiting{ahead}" + (f" ({job.stage})" if job.stage else "")
    if job.state == "checking":
        return "Looking at the UV map"
    if job.state in ("running", "sending", "fetching"):
        stage = job.stage.capitalize() or {"sending": "Sending", "running": "Running"}.get(job.state, "")
        again = f" (attempt {job.attempt})" if job.attempt > 1 else ""
        return f"{stage}{again}"
    return {"ready": "Ready", "failed": "Failed", "cancelled": "Cancelled"}[job.state]


def time_left(seconds: float | None) -> str:
    """`eta_s` in words; empty where unknown."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s left"
    return f"about {round(seconds / 60)} min left"
