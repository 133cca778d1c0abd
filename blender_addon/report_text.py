"""The text of "Copy report": what support needs, nothing secret."""

from __future__ import annotations

import json
import platform

import bpy

from . import pump, runtime
from .jobs import job_to_json


def make_report(job_id: str = "") -> str:
    """Versions, connection, the job (or the last one), and the ends of the logs."""
    session, backend = runtime.session(), runtime.backend()
    jobs = session.jobs
    job = jobs.get(job_id) or next(reversed(jobs.values()), None)
    parts = [
        f"Vitruvian {runtime.VERSION}, Blender {bpy.app.version_string}, Python {platform.python_version()}, "
        f"{platform.platform()}",
        f"Connection: {session.connection} to {session.endpoint.address if session.endpoint else 'nothing'}",
        f"Server: {json.dumps(session.server, default=str)}",
        f"Local backend: {backend.state}",
        f"Missing packages: {', '.join(runtime.missing_packages()) or 'none'}",
        "Longest ticks: " + ", ".join(f"{what} {ms:.0f} ms" for what, ms in pump.longest_ms.items()),
    ]
    if session.error is not None:
        parts.append(f"Error: {json.dumps(session.error.to_json())}")
    if session.refusal is not None:
        parts.append(f"Refused: {json.dumps(session.refusal.to_json())}")
    if job is not None:
        parts.append(f"Job: {json.dumps(job_to_json(job), indent=1, default=str)}")
    parts.append("Log:\n" + "\n".join(backend.tail(40)))
    return "\n\n".join(parts) + "\n"
