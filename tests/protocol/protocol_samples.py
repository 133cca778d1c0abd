"""One message of every type, always the same, the golden frames made of them, and a golden scene.

`python tests/protocol/protocol_samples.py` writes the frames of types that have none yet. Those that are
there are never written again: they are what a released version sends.
"""

from __future__ import annotations

from pathlib import Path

from protocol_scenes import scene

from vitruvian_protocol import Settings
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import encode, pack_scene, spec_sha256
from vitruvian_protocol.errors import explain

GOLDEN = Path(__file__).parent / "golden" / "v1"
MID, RE, JOB, RUN = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "1234")
SHA = "ab" * 32
BULK = "artifact_chunk_bulk"
"""The golden frames of a piece of a file for a client with the capability `bulk`."""
GOLDEN_SCENE = GOLDEN / "scene.vtscene"
JPEG = bytes.fromhex("ffd8ffc0000b080010002001012200ffd9")
"""Start, frame header (32 x 16, grey), end: enough to be measured, not to be seen."""

_ENVELOPE = {"mid": MID, "re": RE, "ts": 1_700_000_000.5}
_JOB = {**_ENVELOPE, "job": JOB}
_DURABLE = {**_JOB, "seq": 3, "run": RUN}
_SETTINGS = Settings(
    "a woman in a red coat",
    negative="hat",
    seed=2**32 - 1,
    steps=30,
    guidance=7.5,
    size=512,
    texture_size=2048,
    method="mvhuman",
    prior="mini",
    reference=False,
)
_ARTIFACT = m.ArtifactInfo("albedo.png", 123_456, SHA)
_ERROR = explain("TOO_LARGE", "$.mesh.faces", "has too many faces", got=5_000_000, limit=4_000_000)

SAMPLES: dict[str, m.Message] = {
    sample.t: sample
    for sample in (
        m.Hello(**_ENVELOPE, about={"addon": "0.1.0", "blender": "4.5.3", "cores": 8}, caps=("preview",)),
        m.Welcome(
            **_ENVELOPE,
            run=RUN,
            session=MID,
            limits={"cameras": 64},
            about={"version": "0.1.0", "methods": ["mvhuman"], "priors": ["mini"]},
        ),
        m.Ping(**_ENVELOPE),
        m.Pong(**_ENVELOPE),
        m.Bye(**_ENVELOPE),
        m.Error(**_ENVELOPE, error=_ERROR),
        m.PutBegin(**_ENVELOPE, sha256=SHA, size=300_000),
        m.PutReady(**_ENVELOPE, offset=262_144, credit=1_048_576),
        m.PutChunk(**_ENVELOPE, transfer=MID, offset=262_144, data=memoryview(bytes(range(256)))),
        m.PutDone(**_ENVELOPE, sha256=SHA),
        m.Credit(**_ENVELOPE, transfer=MID, size=1_048_576),
        m.TransferStop(**_ENVELOPE, transfer=MID),
        m.ArtifactGet(**_JOB, name="albedo.png", offset=99, credit=4_194_304),
        m.ArtifactBegin(**_ENVELOPE, size=123_456, sha256=SHA, offset=99),
        m.ArtifactChunk(**_ENVELOPE, offset=99, data=memoryview(b"\x00\xff" * 50)),
        m.ArtifactAck(**_JOB, name="albedo.png", sha256=SHA),
        m.Submit(
            **_JOB,
            settings=_SETTINGS,
            scene_sha256=SHA,
            scene_size=300_000,
            spec_sha256=spec_sha256(_SETTINGS, SHA),
            priority=-1,
            on_disconnect="cancel",
        ),
        m.Accepted(**_JOB, state="queued", position=2, duplicate=True),
        m.Rejected(**_JOB, error=_ERROR),
        m.Event(**_DURABLE, kind="stage", text="views", position=1, attempt=2),
        m.Progress(**_JOB, stage="views", fraction=0.25, eta_s=12.5, attempt=1, position=0),
        m.Preview(**_JOB, kind="sheet", jpeg=memoryview(JPEG)),
        m.PreviewAck(**_JOB, kind="sheet"),
        m.Done(**_DURABLE, artifacts=(_ARTIFACT, m.ArtifactInfo("report.json", 2, SHA))),
        m.Failed(**_DURABLE, error=_ERROR, stage="views"),
        m.Cancelled(**_DURABLE),
        m.Cancel(**_JOB),
        m.CancelAck(**_JOB, outcome="stopping"),
        m.Attach(**_JOB, after_seq=7),
        m.Snapshot(**_JOB, state="running", last_seq=9, position=0, attempt=2),
        m.Status(**_ENVELOPE),
        m.StatusReply(
            **_ENVELOPE,
            queued=3,
            running=1,
            jobs=(m.JobLine(JOB, "running", 0, "views", 0.5),),
            devices=(m.DeviceLine("cpu", "busy", 2**34),),
            uptime_s=60.0,
        ),
        m.ReleaseMemory(**_ENVELOPE),
        m.Released(**_ENVELOPE, devices=1, busy=1),
    )
}


def read_golden(name: str) -> list[bytes]:
    """The frames in a golden file: each behind its length in four bytes, little-endian."""
    data = (GOLDEN / f"{name}.bin").read_bytes()
    frames: list[bytes] = []
    while data:
        length = int.from_bytes(data[:4], "little")
        frames.append(data[4 : 4 + length])
        data = data[4 + length :]
    return frames


def write_missing_golden() -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    messages = {name: encode(sample) for name, sample in SAMPLES.items()}
    messages[BULK] = encode(SAMPLES["artifact_chunk"], bulk=True)
    for name, frames in messages.items():
        path = GOLDEN / f"{name}.bin"
        if not path.exists():
            path.write_bytes(b"".join(len(f).to_bytes(4, "little") + bytes(f) for f in frames))
    if not GOLDEN_SCENE.exists():
        GOLDEN_SCENE.write_bytes(pack_scene(scene()))


if __name__ == "__main__":
    write_missing_golden()
