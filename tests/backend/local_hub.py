"""A hub on this machine: what huggingface_hub asks of huggingface.co, over HTTP, with the failures of life.

Serves folders as repositories: information with sizes and checksums, file trees, files with ranges and etags.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".bin")
"""Kept in large-file storage, as the real hub does."""
STALL_SECONDS = 30


@dataclass
class LocalHub:
    """The served repositories, and how they misbehave; `requests` is what was asked."""

    repositories: dict[str, Path]
    gated: set[str] = field(default_factory=set)
    refused: dict[str, int] = field(default_factory=dict)
    """HTTP status with which a repository is refused."""
    claimed_sizes: dict[str, int] = field(default_factory=dict)
    """Size that is told of a file, in place of its own."""
    cut_after: dict[str, list[int]] = field(default_factory=dict)
    """Path -> bytes after which each of the next answers breaks off."""
    stall_after: dict[str, int] = field(default_factory=dict)
    """Path -> bytes after which answers stand still: time to be interrupted."""
    spoilt: dict[str, int] = field(default_factory=dict)
    """Path -> how many of the next answers carry a wrong byte."""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path, and the range asked for."""
    stalled: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> LocalHub:
        hub = self

        class Handler(_Handler):
            served = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def fetched(self, path: str) -> list[str | None]:
        """The ranges that were asked for of a file; None: all of it."""
        return [ranges for method, asked, ranges in self.requests if method == "GET" and asked.endswith(path)]


class _Handler(BaseHTTPRequestHandler):
    served: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.served.requests.append((self.command, path, self.headers.get("Range")))
        parts = path.split("/")
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            self._answer_api("/".join(parts[2:4]), parts[4:])
        elif len(parts) > 4 and parts[2] == "resolve":
            self._answer_file("/".join(parts[:2]), "/".join(parts[4:]))
        else:
            self._refuse(404, "EntryNotFound")

    def _answer_api(self, repository: str, rest: list[str]) -> None:
        folder = self.served.repositories.get(repository)
        if repository in self.served.refused:
            self._refuse(self.served.refused[repository], "")
        elif folder is None:
            self._refuse(404, "RepoNotFound")
        elif rest == ["auth-check"]:
            self._refuse(403, "GatedRepo") if repository in self.served.gated else self._json({})
        elif rest[:1] == ["tree"]:
            self._json([{"type": "file", **self._entry(folder, path)} for path in _files(folder)])
        else:
            siblings = [self._sibling(folder, path) for path in _files(folder)]
            gated = "auto" if repository in self.served.gated else False
            card = {"license": "openrail"}
            self._json(
                {"id": repository, "sha": COMMIT, "siblings": siblings, "gated": gated, "cardData": card}
            )

    def _entry(self, folder: Path, path: str) -> dict[str, Any]:
        content = (folder / path).read_bytes()
        size = self.served.claimed_sizes.get(path, len(content))
        entry: dict[str, Any] = {"path": path, "size": size, "oid": _git_sha1(content)}
        if path.endswith(LARGE):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": size, "pointerSize": 134}
        return entry

    def _sibling(self, folder: Path, path: str) -> dict[str, Any]:
        entry = self._entry(folder, path)
        sibling = {"rfilename": path, "size": entry["size"], "blobId": entry["oid"]}
        if "lfs" in entry:
            lfs = entry["lfs"]
            sibling["lfs"] = {"sha256": lfs["oid"], "size": lfs["size"], "pointerSize": lfs["pointerSize"]}
        return sibling

    def _answer_file(self, repository: str, path: str) -> None:
        folder = self.served.repositories.get(repository)
        if folder is None:
            return self._refuse(404, "RepoNotFound")
        if repository in self.served.gated:
            return self._refuse(403, "GatedRepo")
        if not (folder / path).is_file():
            return self._refuse(404, "EntryNotFound")
        content = (folder / path).read_bytes()
        large = path.endswith(LARGE)
        etag = hashlib.sha256(content).hexdigest() if large else _git_sha1(content)
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self._send(path, content, start)
        return None

    def _send(self, path: str, content: bytes, start: int) -> None:
        hub = self.served
        if hub.spoilt.get(path, 0) > 0:
            hub.spoilt[path] -= 1
            content = content[:-1] + bytes([content[-1] ^ 1])
        body = content[start:]
        cuts = hub.cut_after.get(path)
        if cuts:
            self.wfile.write(body[: cuts.pop(0)])
            self.close_connection = True
        elif path in hub.stall_after:
            self.wfile.write(body[: hub.stall_after[path]])
            self.wfile.flush()
            hub.stalled.set()
            time.sleep(STALL_SECONDS)
        else:
            self.wfile.write(body)

    def _json(self, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
