"""`vitruvian status`: queue, own jobs and devices of a server."""

from __future__ import annotations

import time

from vitruvian.cli.connection import CONNECT_SECONDS, HERE, Keys, Server, connected
from vitruvian.core.errors import UserError


def status(server: Server = HERE, keys: Keys = None) -> None:
    """Show a server's queue, your jobs in it, and its devices."""
    from vitruvian_protocol import events

    with connected(server, keys) as client:
        client.status()
        found: events.Status | None = None
        deadline = time.monotonic() + CONNECT_SECONDS
        while found is None and time.monotonic() < deadline:
            client.wait(0.1)
            found = next((e for e in client.poll() if isinstance(e, events.Status)), None)
    if found is None:
        raise UserError("server", server, "does not answer", "Try again")
    print(f"{found.running} running, {found.queued} queued, up for {_span(found.uptime_s)}")
    for device in found.devices:
        memory = f", {device.memory_total / 2**30:.0f} GB" if device.memory_total else ""
        why = f" ({device.why})" if device.why else ""
        print(f"device {device.name}: {device.state}{memory}{why}")
    for job in found.jobs:
        where = f"{job.position} before it" if job.state == "queued" else f"{job.stage} {job.fraction:.0%}"
        print(f"job {job.job}: {job.state}, {where}")


def _span(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
