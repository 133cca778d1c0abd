"""A job: what was asked, where it belongs, how far it is. No bpy."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from .problems import Told

State = Literal["checking", "sending", "queued", "running", "fetching", "ready", "failed", "cancelled"]
ENDED = ("ready", "failed", "cancelled")
"""Nothing more comes by itself. `ready`: the files are on disk and can be applied, as often as wanted."""
WANTED = ("albedo.png", "coverage.png", "normal.png", "contact_sheet.png", "report.json")
"""Files of a result that are fetched by themselves, where the job made them."""
ESSENTIAL = "albedo.png"
_ID = re.compile(r"[0-9a-f-]{36}")


@dataclass(frozen=True)
class Target:
    """Whose texture it becomes. Names are for people; the ids decide."""

    file_id: str
    file_name: str
    object_uid: str
    object_name: str
    uv_map: str = ""
    layout_sha256: str = ""
    """Of topology and UVs when the job was sent."""


@dataclass
class Job:
    """One job; the fields under the line are not kept over a restart."""

    id: str
    target: Target
    settings: dict[str, Any]
    address: str
    """Of the server that has it; `local` for the add-on's own backend, whose port may change."""
    created: float
    """Seconds since 1970."""
    state: State = "sending"
    seq: int = 0
    """The last durable event that was seen."""
    error: Told | None = None
    artifacts: dict[str, int] = field(default_factory=dict)
    """Name to size of what the backend has made."""
    files: list[str] = field(default_factory=list)
    """What is on this disk."""
    warnings: list[str] = field(default_factory=list)
    batch: str = ""
    offered: bool = False
    """It was put on its body once already; from then on only by hand."""
    # -----
    stage: str = ""
    fraction: float = 0.0
    eta_s: float | None = None
    position: int = 0
    attempt: int = 1
    cancelling: bool = False
    previews: dict[str, bytes] = field(default_factory=dict)
    """The latest JPEG by kind (sheet, texture)."""
    preview_number: int = 0
    session_uid: int = 0
    """Blender's number of the object, good while the file stays open (`epoch`)."""
    epoch: int = -1

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def prompt(self) -> str:
        return str(self.settings.get("prompt", ""))


_SAVED = (
    *("id", "settings", "address", "created", "state", "seq"),
    *("artifacts", "files", "warnings", "batch", "offered"),
)


def job_to_json(job: Job) -> dict[str, Any]:
    data = {name: getattr(job, name) for name in _SAVED}
    return {**data, "target": vars(job.target), "error": job.error.to_json() if job.error else None}


def job_from_json(data: Any) -> Job | None:
    """None for anything that is not a job of ours: the list survives a damaged entry."""
    try:
        if not _ID.fullmatch(data["id"]) or data["state"] not in get_args(State):
            return None
        target = Target(**{name: str(value) for name, value in data["target"].items()})
        job = Job(**{name: data[name] for name in _SAVED if name in data}, target=target)
    except (KeyError, TypeError, AttributeError):
        return None
    job.error = Told.from_json(data.get("error"))
    whole = (
        isinstance(job.settings, dict)
        and isinstance(job.artifacts, dict)
        and isinstance(job.files, list)
        and isinstance(job.seq, int)
        and isinstance(job.created, int | float)
        and isinstance(job.address, str)
    )
    return job if whole else None
