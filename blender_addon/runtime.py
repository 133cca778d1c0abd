"""What lives as long as the add-on is enabled: session, local backend, keys. Nothing of a file."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import time
from pathlib import Path
from urllib.parse import urlsplit

import bpy

from . import compat, local_backend, processes
from .connection import ClientLike, Endpoint
from .problems import Problem
from .session import Session

VERSION = "0.1.0"

_session: Session | None = None
_backend: local_backend.LocalBackend | None = None
pinned: Endpoint | None = None
"""Where to connect whatever the preferences say; the headless batch sets it."""
epoch = 0
"""Counts loaded files: what was remembered of an earlier one is worth nothing."""


def session() -> Session:
    """The one session, made at first use."""
    return open_session(compat.user_folder()) if _session is None else _session


def open_session(folder: Path) -> Session:
    """A session that keeps jobs and results in this folder, in place of the one there was."""
    global _session
    if _session is not None:
        _session.close()
    _session = Session(folder, _connect, time.monotonic, time.time)
    return _session


def backend() -> local_backend.LocalBackend:
    global _backend
    if _backend is None:
        _backend = local_backend.LocalBackend(compat.user_folder() / "backend")
    return _backend


def missing_packages() -> list[str]:
    """What the connection needs and this Blender does not have (an install without the bundled wheels)."""
    needed = ("vitruvian_protocol", "zmq", "msgpack")
    return [name for name in needed if importlib.util.find_spec(name) is None]


def need_packages() -> None:
    """Raises: Problem, where what the connection needs is not there."""
    missing = missing_packages()
    if missing:
        raise Problem(
            "PACKAGES",
            f"This Blender lacks {', '.join(missing)}",
            "Install the add-on from its zip in Blender 4.2 or newer (older ones: docs/blender.md)",
        )


def connect(start: bool = True) -> Session:
    """The session, talking to the backend that the preferences name; a local one is started where needed.

    Args:
        start: False never starts a local backend.

    Raises:
        Problem: packages missing, no online access, no keys, or no backend to start.
    """
    need_packages()
    current, where = session(), endpoint(start)
    if current.connection == "refused":
        current.disconnect()  # perhaps the server knows us by now; what waits is sent on the new connection
    try:
        current.use(where)
    except Exception as error:  # whatever the socket finds wrong with an address or a key
        sentence = f"The address or a key cannot be used: {error}"
        raise Problem("NOT_OURS", sentence, "Check address, port and keys in the preferences") from error
    return current


def endpoint(start: bool = True) -> Endpoint:
    """Where to connect; with `start`, a local backend is started where none runs.

    Raises:
        Problem: as `connect`.
    """
    from . import preferences

    if pinned is not None:
        return pinned
    wanted = preferences.get()
    if wanted is None:
        return Endpoint(os.environ.get("VITRUVIAN_ADDRESS", backend().address))
    if wanted.backend == "REMOTE":
        return _remote(wanted.address, wanted.use_keys, wanted.server_key)
    idle = backend().state in ("stopped", "died", "absent")
    if start and wanted.auto_start and idle and not _somebody_serves():
        start_backend()
    return Endpoint(backend().address, name="local")


def start_backend() -> None:
    """Start the local backend as the preferences say.

    Raises:
        Problem: it is not installed, or cannot be started.
    """
    from . import preferences

    wanted = preferences.get()
    command = [bpy.path.abspath(wanted.command)] if wanted is not None and wanted.command else None
    backend().start(command)


def _somebody_serves() -> bool:
    """Whether a backend that the user started in a terminal listens at the usual place."""
    return processes.port_answers(local_backend.FIRST_PORT)


def _remote(address: str, use_keys: bool, server_key: str) -> Endpoint:
    host = urlsplit(address).hostname or ""
    if host not in ("127.0.0.1", "localhost", "::1") and not compat.online_access():
        raise Problem(
            "OFFLINE",
            "Blender may not use the network",
            "Turn on Allow Online Access in Preferences > System, or use this computer",
        )
    if not use_keys:
        return Endpoint(address)
    keys = _read_keys()
    if keys is None or len(server_key.strip()) != 40:
        raise Problem(
            "KEYS",
            "The keys for the server are incomplete",
            "Make your key in the preferences, send it to the administrator, and enter the server's key",
        )
    return Endpoint(address, keys["public"], keys["secret"], server_key.strip())


def _connect(where: Endpoint) -> ClientLike:
    from vitruvian_protocol.client import Client, ClientKeys

    keys = ClientKeys(where.public_key, where.secret_key, where.server_key) if where.public_key else None
    about = {"addon": VERSION, "blender": bpy.app.version_string, "system": platform.system()}
    return Client(where.address, keys=keys, about=about)


# ---- keys: in the user's folder, never in a .blend ----


def _keys_path() -> Path:
    return compat.user_folder() / "keys.json"


def _read_keys() -> dict[str, str] | None:
    try:
        data = json.loads(_keys_path().read_text(encoding="utf-8"))
        keys = {"public": str(data["public"]), "secret": str(data["secret"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return keys if all(len(key) == 40 for key in keys.values()) else None


def my_public_key() -> str:
    """This computer's public key; "" before `make_keys`."""
    keys = _read_keys()
    return keys["public"] if keys else ""


def make_keys() -> str:
    """Make and keep a key pair, readable by the user alone; returns the public half."""
    from vitruvian_protocol.client import make_keypair

    public, secret = make_keypair()
    path = _keys_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"public": public, "secret": secret}, file)
    return public


def close() -> None:
    """Let go of everything; jobs and the local backend go on."""
    global _session, _backend, pinned
    if _session is not None:
        _session.close()
    _session, _backend, pinned = None, None, None
