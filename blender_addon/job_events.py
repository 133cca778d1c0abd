"""What the server's words about a job change in it. No bpy, no connection.

Each function takes the job and one event of the client, and returns what changed and whether the list must be
saved. What needs the disk or the connection too is in `fetching`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .jobs import Job
from .problems import Told, told

ChangeKind = Literal["connection", "job", "progress", "preview", "ready", "notice"]


@dataclass(frozen=True)
class Change:
    """What a tick brought about."""

    kind: ChangeKind
    job: str = ""


Outcome = tuple[Change, bool]
Handler = Callable[[Job, Any], Outcome]


def hear(job: Job, event: Any, handlers: Mapping[str, Handler]) -> Outcome | None:
    """What an event changes in its job; None for one that was told before, is unknown, or comes too late."""
    name = type(event).__name__
    handler, seq = handlers.get(name), getattr(event, "seq", 0)
    if handler is None or 0 < seq <= job.seq:  # an attach tells again
        return None
    job.seq = max(seq, job.seq)
    if job.ended and name not in AFTER_END:
        return None
    return handler(job, event)


def fail(job: Job, error: Told) -> Outcome:
    job.state, job.error, job.cancelling = "failed", error, False
    job.previews.clear()
    return Change("job", job.id), True


def _accepted(job: Job, event: Any) -> Outcome:
    if job.state == "sending":
        job.state = "queued"
    job.position = event.position
    return Change("job", job.id), True


def _queued(job: Job, event: Any) -> Outcome:
    job.state, job.position, job.stage, job.fraction = "queued", event.position, event.why, 0.0
    return Change("job", job.id), True


def _started(job: Job, event: Any) -> Outcome:
    job.state, job.attempt, job.position = "running", event.attempt, 0
    return Change("job", job.id), True


def _stage(job: Job, event: Any) -> Outcome:
    job.state, job.stage = "running", event.stage
    return Change("progress", job.id), False


def _progress(job: Job, event: Any) -> Outcome:
    job.stage, job.fraction, job.eta_s = event.stage, event.fraction, event.eta_s
    job.attempt, job.position = event.attempt, event.position
    return Change("progress", job.id), False


def _uploading(job: Job, event: Any) -> Outcome:
    job.stage, job.fraction = "sending the scene", event.sent / max(event.total, 1)
    return Change("progress", job.id), False


def _preview(job: Job, event: Any) -> Outcome:
    job.previews[event.kind] = bytes(event.jpeg)
    job.preview_number += 1
    return Change("preview", job.id), False


def _warned(job: Job, event: Any) -> Outcome:
    job.warnings.append(event.text)
    return Change("job", job.id), True


def _failed(job: Job, event: Any) -> Outcome:
    if event.error.code == "UNKNOWN_JOB" and job.state == "sending":
        return fail(job, NOT_SENT)
    return fail(job, told(event.error))


def _cancelled(job: Job, event: Any) -> Outcome:
    job.state, job.cancelling = "cancelled", False
    job.previews.clear()
    return Change("job", job.id), True


def _cancel_acked(job: Job, event: Any) -> Outcome:
    if event.outcome == "unknown":
        # It never reached the server (or the server has forgotten it): nothing runs.
        return _cancelled(job, event)
    if event.outcome == "already_terminal":
        job.cancelling = False
    return Change("job", job.id), True


NOT_SENT = Told(
    "NOT_SENT", "The job did not reach the server before Blender closed", "Generate again", "auto"
)
HANDLERS: dict[str, Handler] = {
    "Uploading": _uploading,
    "Accepted": _accepted,
    "Rejected": _failed,
    "Queued": _queued,
    "Started": _started,
    "Stage": _stage,
    "Progress": _progress,
    "Preview": _preview,
    "Warned": _warned,
    "Failed": _failed,
    "Cancelled": _cancelled,
    "CancelAcked": _cancel_acked,
}
"""By the name of the event's class."""
AFTER_END = ("Fetched",)
"""Events that still mean something for a job that has ended."""
