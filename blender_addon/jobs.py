"""The job list: what was asked, where it belongs, how far it is. JSON in the user's folder. No bpy."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from .problems import Told

State = Literal["checking", "sending", "queued", "running", "fetching", "ready", "failed", "cancelled"]
ENDED = ("ready", "failed", "cancelled")
"""Nothing more comes by itself. `ready`: the files are on disk and can be applied, as often as wanted."""
KEPT = 200
"""Ended jobs beyond this number are dropped, oldest first."""
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


class JobList:
    """Jobs by id, oldest first, saved whole after each change that matters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "jobs.json"
        self.jobs: dict[str, Job] = {}
        self._load()

    def results_folder(self, job_id: str) -> Path:
        return self.folder / "results" / job_id

    def add(self, job: Job) -> None:
        self.jobs[job.id] = job
        ended = [job.id for job in self.jobs.values() if job.ended]
        for job_id in ended[: max(0, len(ended) - KEPT)]:
            self.remove(job_id)
        self.save()

    def remove(self, job_id: str) -> None:
        """Forget an ended job and its files."""
        self.jobs.pop(job_id, None)
        shutil.rmtree(self.results_folder(job_id), ignore_errors=True)

    def save(self) -> None:
        """Write the list; a disk that is full costs the list's freshness, not the session."""
        text = json.dumps({"version": 1, "jobs": [job_to_json(job) for job in self.jobs.values()]}, indent=1)
        try:
            write_atomically(self.path, text)
        except OSError as error:
            print(f"vitruvian: the job list cannot be saved: {error}")

    def _load(self) -> None:
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            entries = data["jobs"] if isinstance(data, dict) else []
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError):
            self._set_aside()
            return
        for entry in entries if isinstance(entries, list) else []:
            job = job_from_json(entry)
            if job is not None:
                self.jobs[job.id] = job

    def _set_aside(self) -> None:
        try:
            os.replace(self.path, self.path.with_suffix(".damaged"))
        except OSError as error:
            print(f"vitruvian: a damaged job list cannot be moved away: {error}")


def write_atomically(path: Path, text: str) -> None:
    """The file is there as it was or as it becomes, never half.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
