"""Bounds that both sides enforce. The server tells its own in `welcome`; they are never above these."""

from __future__ import annotations

KIB, MIB, GIB = 2**10, 2**20, 2**30

DEFAULT_ADDRESS = "tcp://127.0.0.1:29517"
"""A port below 32768, so that no reused ephemeral port brings a stranger's reconnects."""

WIRE_MAJOR = 1
MAGIC = b"VT%02d" % WIRE_MAJOR
"""Frame 0 of every message: `VT` and the wire's major version in two digits."""

HEADER_BYTES = 64 * KIB
HEADER_DEPTH = 16
"""Nesting of maps and lists in a header, the header's own map counted."""
FRAME_BYTES = 4 * MIB
MESSAGE_BYTES = 8 * MIB
"""All buffers of one message together."""
BUFFERS = 16
CHUNK_BYTES = 256 * KIB
"""Payload of one `put_chunk` or `artifact_chunk`; the last one of a transfer may be shorter."""
BULK_CHUNK_BYTES = 1 * MIB
"""Payload of one `artifact_chunk` to a client with the capability `bulk`."""
WINDOW_BYTES = 4 * MIB
"""Bytes of one transfer that may be on their way unconfirmed: 16 chunks."""
GRANT_BYTES = 1 * MIB
"""A receiver grants new credit once so much of the window was used up."""

SCENE_BYTES = 256 * MIB
SCENE_HEADER_BYTES = 512 * KIB
"""Names of joints and cameras, and a prompt for each camera."""
VERTICES = 2_000_000
FACES = 4_000_000
JOINTS = 1_024
WEIGHTS_PER_VERTEX = 32
CAMERAS = 64
IMAGE_SIDE = 8_192
IMAGE_SIDE_MIN = 16
NAME = 128
"""Characters of a name of a mesh, joint or camera."""
PROMPT = 2_000
METRES = 1e4
"""Largest coordinate of anything in a scene."""
EXTENT_MIN, EXTENT_MAX = 1e-3, 1e3
"""Metres across that a body may be."""

PREVIEW_BYTES = 256 * KIB
PREVIEW_SIDE = 512
ARTIFACT_BYTES = 512 * MIB
JOB_BYTES = 2 * GIB
ARTIFACTS = 96
"""Files of one job: a view for each camera, and the rest."""
QUEUED_PER_USER = 20
RUNNING_PER_USER = 2
QUEUED = 200
SESSIONS = 64
SESSIONS_PER_KEY = 4
MESSAGES_PER_SECOND = 50
"""Sustained rate of a client's messages, chunks and credit not counted."""
PAUSE_SECONDS = 1.0
"""How long a client waits that was refused with RATE, before it asks for the same again by itself."""
JOB_SECONDS = 3_600

SNDHWM = RCVHWM = 64
HANDSHAKE_MS = 5_000
PING_SECONDS = 2.0
"""Silence after which a client pings; three pings unanswered and the connection is lost."""
PINGS_MISSED = 3
SESSION_SECONDS = 30.0
"""Silence after which the server forgets a session, never its jobs."""
BACKOFF_SECONDS = (0.5, 30.0)
"""First and longest wait before a client rebuilds its socket; doubled each time, with jitter."""
PROGRESS_PER_SECOND = 4
PREVIEW_PER_SECOND = 1


def told() -> dict[str, int]:
    """The limits a server tells in `welcome`; a server with lower ones replaces them there."""
    return {
        "scene_bytes": SCENE_BYTES,
        "vertices": VERTICES,
        "faces": FACES,
        "cameras": CAMERAS,
        "artifact_bytes": ARTIFACT_BYTES,
        "queued_per_user": QUEUED_PER_USER,
        "running_per_user": RUNNING_PER_USER,
    }
