"""Bring files from the hub to this disk: resumed after an interruption, verified byte for byte.

The hub's library moves the bytes and keeps its cache. Between two runs it forgets what a large file already
had, so large files are received here, into the place where the library then finds them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from vitruvian.core.errors import UserError
from vitruvian.diffusion.hub_errors import explained
from vitruvian.diffusion.installed import HubFile, Listing, damage, storage_folder, write_record

_READ_BYTES = 1 << 22
_ATTEMPTS = 2


@dataclass(frozen=True)
class Place:
    """Where a repository's files go: a folder of the user's, or the hub's cache."""

    root: Path
    """Where they are read."""
    blobs: Path | None
    """Where the cache keeps contents by their checksum; `root` then links there."""

    @staticmethod
    def of(listing: Listing, to: Path | None) -> Place:
        if to is not None:
            return Place(to, None)
        storage = storage_folder(listing.repository)
        return Place(storage / "snapshots" / listing.commit, storage / "blobs")

    def target(self, file: HubFile) -> Path:
        """Where a large file is put once it is whole."""
        return self.blobs / str(file.sha256) if self.blobs else self.root / file.path

    def partial(self, file: HubFile) -> Path:
        """Where a large file grows."""
        target = self.target(file)
        return target.with_name(f"{target.name}.incomplete")

    def find(self, file: HubFile) -> Path:
        """Where a file lies, or would lie: in the cache also as content that no link leads to yet."""
        path = self.root / file.path
        return self.target(file) if file.sha256 and not path.is_file() else path

    def outstanding(self, listing: Listing) -> int:
        """Bytes that are still to be fetched."""
        missing = [file for file in listing.files if not self.find(file).is_file()]
        started = (self.partial(file) for file in missing if file.sha256)
        return sum(f.size for f in missing) - sum(p.stat().st_size for p in started if p.is_file())

    def drop(self, file: HubFile) -> None:
        """Forget a damaged file, link and content."""
        path = self.root / file.path
        for gone in (path.resolve(), path, self.target(file)):
            gone.unlink(missing_ok=True)


def fetch(listing: Listing, to: Path | None = None) -> Path:
    """Bring a repository to this disk, whole and verified; what is there already is checked and kept.

    Args:
        to: folder to fetch into; None: the hub's cache.

    Returns:
        The folder that holds `listing.files`.

    Raises:
        UserError: no connection, no access, no room, or a file that arrives damaged twice.
    """
    place = Place.of(listing, to)
    with Bar(listing.repository, listing.bytes) as bar:
        for file, _ in list(damage(listing.files, place.find, bar.count)):
            place.drop(file)
        check_room(listing.repository, place.root, place.outstanding(listing))
        bar.at(sum(file.size for file in listing.files if place.find(file).is_file()))
        small = [file for file in listing.files if not file.sha256]
        with explained(listing.repository):
            _let_library_fetch(listing, small, to)
            for file in listing.files:
                if file.sha256 and not place.find(file).is_file():
                    _receive_verified(listing, file, place, bar.count)
            _let_library_fetch(listing, listing.files, to)
            _drop_copies(listing, place)
            write_record(place.root, listing)
        bar.at(listing.bytes)
    for file, problem in damage(small, place.find):
        raise UserError(
            "prior", listing.repository, f"{file.path} {problem}", "Give the same command again, or try later"
        )
    return place.root


def check_room(repository: str, folder: Path, size: int) -> None:
    """Refuse before the first byte what cannot fit.

    Raises:
        UserError: the disk that holds `folder` has fewer than `size` bytes left.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(existing).free
    if size > free:
        raise UserError(
            "prior",
            repository,
            f"needs {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free on the disk of {existing}",
            "Make room, or use another disk with --to FOLDER or HF_HOME",
        )


def _let_library_fetch(listing: Listing, files: Iterable[HubFile], to: Path | None) -> None:
    """Fetch small files, and link large ones that have arrived, as the library's own downloads would be."""
    from huggingface_hub import snapshot_download

    patterns = [escape(file.path) for file in files]
    if not patterns:
        return
    # The cache learns which commit its branch is at only when it is asked for the branch.
    revision = None if to is None else listing.commit
    with _no_bars():
        folder = snapshot_download(
            listing.repository, revision=revision, allow_patterns=patterns, local_dir=to
        )
    if to is None and Path(folder).name != listing.commit:
        raise UserError(
            "prior", listing.repository, "was changed on the hub just now", "Give the same command again"
        )


@contextmanager
def _no_bars() -> Iterator[None]:
    """The library's own bars, one a file, would stand beside the one that counts all."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _receive_verified(listing: Listing, file: HubFile, place: Place, count: Callable[[int], None]) -> None:
    from huggingface_hub.utils import WeakFileLock

    target, partial = place.target(file), place.partial(file)
    partial.parent.mkdir(parents=True, exist_ok=True)
    # Two processes that want the same prior: the second waits, then finds it there.
    lock = partial.with_name(f"{partial.name}.lock")
    with WeakFileLock(lock):
        for _ in range(_ATTEMPTS):
            if target.is_file():
                break
            if _receive(listing, file, partial, count) == file.sha256:
                os.replace(partial, target)
                break
            count(-partial.stat().st_size)
            partial.unlink()
        else:
            raise UserError(
                "prior",
                listing.repository,
                f"{file.path} arrived damaged {_ATTEMPTS} times (its SHA-256 is not the hub's)",
                "Check the connection and any proxy in between, then give the same command again",
            )
    lock.unlink(missing_ok=True)


def _receive(listing: Listing, file: HubFile, partial: Path, count: Callable[[int], None]) -> str:
    """Append what `partial` lacks of a file; returns the whole's SHA-256."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    with _Arriving(partial, count) as stream:
        if stream.tell() > file.size:
            stream.seek(0)
            stream.truncate()
        with _no_bars():
            http_get(
                hf_hub_url(listing.repository, file.path, revision=listing.commit),
                stream,  # pyright: ignore[reportArgumentType]: all that is used of a file, it has
                resume_size=stream.tell(),
                headers=build_hf_headers(),
                expected_size=file.size,
                displayed_filename=file.path,
            )
        return stream.sha256()


def _drop_copies(listing: Listing, place: Place) -> None:
    """Where the system has no links the cache holds copies: the second one of each goes."""
    for file in listing.files:
        if place.blobs and file.sha256 and not (place.root / file.path).is_symlink():
            place.target(file).unlink(missing_ok=True)


class _Arriving:
    """A file that grows at its end, hashed and counted as it does."""

    def __init__(self, path: Path, count: Callable[[int], None]) -> None:
        self._file = path.open("ab+")
        self._count = count
        self._hash = hashlib.sha256()
        self._file.seek(0)
        while chunk := self._file.read(_READ_BYTES):
            self._hash.update(chunk)
            count(len(chunk))

    def __enter__(self) -> _Arriving:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._hash.update(chunk)
        self._count(len(chunk))

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, position: int) -> None:
        self._file.seek(position)

    def truncate(self) -> None:
        """A server that knows no ranges sends everything again: nothing of what there was counts."""
        self._count(-self._file.seek(0, os.SEEK_END))
        self._file.truncate(0)
        self._hash = hashlib.sha256()

    def sha256(self) -> str:
        self._file.flush()
        return self._hash.hexdigest()


class Bar:
    """Progress on stderr while bytes are read or fetched; a line at the end where that is no terminal."""

    def __init__(self, name: str, total: int) -> None:
        from huggingface_hub.utils import tqdm

        self._name = name
        self._total = total
        self._quiet = not sys.stderr.isatty()
        self._tqdm: Any = tqdm(
            total=total, desc=name, unit="B", unit_scale=True, disable=self._quiet, file=sys.stderr
        )

    def count(self, size: int) -> None:
        self._tqdm.update(size)

    def at(self, size: int) -> None:
        """So much is there, whatever was counted before."""
        self._tqdm.update(size - self._tqdm.n)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._tqdm.close()
        if self._quiet and kind is None:
            print(f"{self._name}: {self._total / 1e9:.2f} GB on this disk, verified", file=sys.stderr)
