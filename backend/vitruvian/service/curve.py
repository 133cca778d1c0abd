"""Keys, the list of who may connect, and the proof at start-up that nobody else can.

CURVE by itself lets in anybody who knows the server's public key. What keeps strangers out is the ZAP handler
below; libzmq asks it only if the domain is not empty and enforced, and nothing warns where that is forgotten.
Hence the self-test with a key that nobody can have been given.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import zmq
from zmq.utils import z85

from vitruvian.core.errors import UserError
from vitruvian.service.config import ServeConfig, check_address, is_loopback

ZAP_DOMAIN = b"vitruvian"
SERVER_FILE, ALLOWED_FILE = "server.json", "allowed.txt"
_KEY = re.compile(r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
_SELF_TEST_SECONDS = 10.0
_WRITABLE = "Choose a folder that you may write to"


def make_key_file(path: Path, **beside: str) -> str:
    """A new pair of keys as JSON, readable by its owner only; returns the public key.

    Raises:
        UserError: the file is there already, or cannot be written.
    """
    public, secret = (key.decode("ascii") for key in zmq.curve_keypair())
    text = json.dumps({"public": public, "secret": secret, **beside}, indent=2) + "\n"
    _make_folder(path.parent)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UserError("keys", str(path), "is there already", "Use it, or move it away first") from None
    except OSError as error:
        raise UserError("keys", str(path), f"cannot be written ({error.strerror})", _WRITABLE) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return public


def read_key_file(path: Path) -> dict[str, str]:
    """`public`, `secret` and, in a client's file, `server`.

    Raises:
        UserError: no such file, or not such a file.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        data = None
    remedy = "Make one with `vitruvian keys server` or `vitruvian keys client`"
    if not isinstance(data, dict) or not all(_KEY.fullmatch(str(data.get(k))) for k in ("public", "secret")):
        raise UserError("keys", str(path), "is not a file with a pair of keys", remedy)
    return data


class AllowList:
    """Public keys that may connect, as lines `KEY NAME` of a text file that is read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._names: dict[str, str] = {}

    def names(self) -> dict[str, str]:
        """Name by public key, as the file says now. No file: nobody."""
        try:
            stat = self._path.stat()
        except OSError:
            self._stamp, self._names = None, {}
            return self._names
        stamp = (stat.st_mtime_ns, stat.st_size)
        if stamp != self._stamp:
            try:
                text = self._path.read_text(encoding="utf-8", errors="replace")
            except OSError:
                return {}
            lines = (line.split() for line in text.splitlines())
            self._names = {parts[0]: parts[1] for parts in lines if len(parts) == 2 and _is_key(parts[0])}
            self._stamp = stamp
        return self._names

    def allow(self, key: str, name: str) -> None:
        """Let a key in, from now on.

        Raises:
            UserError: not a key, not a name, or the name is another key's; the list cannot be written.
        """
        check_key("key", key)
        if not _NAME.fullmatch(name):
            raise UserError("name", name, "cannot be a name", "Use letters, digits, _ . @ -")
        known = self.names()
        if name in known.values() and known.get(key) != name:
            raise UserError("name", name, "is another key's", "Revoke that one first, or use another name")
        self._write({**known, key: name})

    def revoke(self, name: str) -> None:
        """Shut a key out; its open connections end with their next message.

        Raises:
            UserError: nobody has that name; the list cannot be written.
        """
        known = self.names()
        if name not in known.values():
            shown = ", ".join(sorted(known.values())) or "nobody"
            raise UserError("name", name, "is not on the list", f"The list has: {shown}")
        self._write({key: n for key, n in known.items() if n != name})

    def _write(self, names: dict[str, str]) -> None:
        _make_folder(self._path.parent)
        part = self._path.with_name(self._path.name + ".part")
        try:
            part.write_text("".join(f"{key} {name}\n" for key, name in names.items()), encoding="utf-8")
            part.replace(self._path)
        except OSError as error:
            problem = f"cannot be written ({error.strerror})"
            raise UserError("keys", str(self._path), problem, _WRITABLE) from None


class Gatekeeper:
    """Answers libzmq's question whether a key may connect. Runs in the gateway's own loop: there is no thread
    that could die unnoticed."""

    def __init__(self, context: zmq.Context, allowed: AllowList) -> None:
        self.allowed = allowed
        self.socket: zmq.Socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.bind("inproc://zeromq.zap.01")
        self.refused = 0

    def answer_all(self) -> None:
        """Answer what has been asked so far."""
        while self.socket.poll(0):
            frames = self.socket.recv_multipart()
            # Envelope, empty frame; version, request, domain, address, identity, mechanism, credentials.
            start = frames.index(b"") + 1
            version, request, domain, _, _, mechanism, *credentials = frames[start:]
            key = z85.encode(credentials[0]).decode("ascii") if len(credentials) == 1 else ""
            welcome = domain == ZAP_DOMAIN and mechanism == b"CURVE" and key in self.allowed.names()
            self.refused += not welcome
            status = [b"200", b"OK", key.encode("ascii")] if welcome else [b"400", b"not on the list", b""]
            self.socket.send_multipart([*frames[:start], version, request, *status, b""])

    def close(self) -> None:
        self.socket.close()


def secure(router: zmq.Socket, keys: dict[str, str]) -> None:
    """Set a socket up as a CURVE server behind the gatekeeper. Before `bind`."""
    router.curve_server = True
    router.curve_publickey = keys["public"].encode("ascii")
    router.curve_secretkey = keys["secret"].encode("ascii")
    router.zap_domain = ZAP_DOMAIN
    router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def self_test(context: zmq.Context, router: zmq.Socket, gatekeeper: Gatekeeper, server_key: str) -> None:
    """Try to get in with a random key.

    Raises:
        UserError: it worked, or nobody was asked; then nothing may be served.
    """
    public, secret = zmq.curve_keypair()
    stranger: zmq.Socket = context.socket(zmq.DEALER)
    stranger.linger = 0
    stranger.ipv6 = router.ipv6
    stranger.curve_serverkey = server_key.encode("ascii")
    stranger.curve_publickey, stranger.curve_secretkey = public, secret
    endpoint = router.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
    endpoint = endpoint.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
    stranger.connect(endpoint)
    stranger.send(b"let me in")
    before, deadline = gatekeeper.refused, time.monotonic() + _SELF_TEST_SECONDS
    poller = zmq.Poller()
    poller.register(router, zmq.POLLIN)
    poller.register(gatekeeper.socket, zmq.POLLIN)
    entered = False
    try:
        while not entered and gatekeeper.refused == before and time.monotonic() < deadline:
            poller.poll(100)
            gatekeeper.answer_all()
            entered = bool(router.poll(0))
        entered = entered or bool(router.poll(100))
    finally:
        stranger.close()
    if entered or gatekeeper.refused == before:
        found = "a stranger's message was delivered" if entered else "no key was asked for"
        problem = f"does not keep strangers out ({found})"
        raise UserError("address", endpoint, problem, "Do not use this installation")


def _make_folder(folder: Path) -> None:
    """Raises: UserError where it is a file, or cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = "is a file" if folder.is_file() else f"cannot be made ({error.strerror})"
        raise UserError("keys", str(folder), problem, _WRITABLE) from None


def check_key(field: str, key: str) -> None:
    """Raises: UserError unless `key` is a public key's 40 characters."""
    if not _is_key(key):
        raise UserError(field, key, "is not a public key", "Give the 40 characters that were printed")


def _is_key(text: str) -> bool:
    return _KEY.fullmatch(text) is not None


def check_exposure(config: ServeConfig) -> None:
    """Refuse to listen where other machines can reach without keys and somebody on the list.

    Raises:
        UserError: with the commands that make keys.
    """
    host, _ = check_address(config.listen)
    if config.keys is None:
        if is_loopback(host):
            return
        remedy = (
            "Make keys with `vitruvian keys server --keys FOLDER`, let clients in with "
            "`vitruvian keys allow`, then give --keys FOLDER"
        )
        raise UserError("address", config.listen, "can be reached by others, and there are no keys", remedy)
    read_key_file(config.keys / SERVER_FILE)
    if not is_loopback(host) and not AllowList(config.keys / ALLOWED_FILE).names():
        remedy = "Let somebody in first: `vitruvian keys allow KEY NAME`"
        raise UserError("keys", str(config.keys), "nobody is on the list of clients", remedy)
