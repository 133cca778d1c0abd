"""Builds the Blender extension: `python build_addon.py` (`make addon`) writes into `dist/`

    vitruvian-VERSION.zip               for every platform
    vitruvian-VERSION-linux_x64.zip     and so on: the same with one platform's wheels

Inside is one folder `vitruvian/` (so that Blender 3.4 can install it too): the add-on, its manifest, and in
`wheels/` what it needs for Blender's Python 3.11 (4.2 to 5.0) and 3.13 (5.1 and newer), and for 3.14 (5.2 in
Debian): the protocol, made here, and pyzmq and msgpack as pinned in `scripts/addon_wheels.sha256`. Equal
sources give equal bytes.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ADDON = ROOT / "blender_addon"
PROTOCOL = ROOT / "protocol" / "vitruvian_protocol"
PINS = ROOT / "scripts" / "addon_wheels.sha256"
MANIFEST = "blender_manifest.toml"

PLATFORMS = {
    "linux-x64": r"manylinux\w*_x86_64",
    "windows-x64": r"win_amd64",
    "windows-arm64": r"win_arm64",
    "macos-arm64": r"macosx_\w+_(arm64|universal2)",
    "macos-x64": r"macosx_\w+_(x86_64|universal2)",
}
"""Blender's name of a platform -> the wheel platform tags that run on it."""

DOWNLOADS = 4
"""pip processes that download at the same time."""


class BuildError(Exception):
    """What stands in the way, and what to do."""


class DownloadError(BuildError):
    """A wheel is neither in the cache nor to be had."""


@dataclass(frozen=True)
class Wheel:
    """A wheel that is to be bundled as it comes from the package index."""

    filename: str
    sha256: str

    @property
    def tags(self) -> tuple[str, str, str, str, str]:
        """Package, version, Python, ABI and platforms, as its filename says them."""
        parts = self.filename.removesuffix(".whl").split("-")
        if len(parts) != 5:
            raise BuildError(f"{self.filename}: not a wheel's filename; correct {PINS.relative_to(ROOT)}")
        return parts[0], parts[1], parts[2], parts[3], parts[4]

    def runs_on(self, platform: str) -> bool:
        """Whether Blender on `platform` (a key of `PLATFORMS`) can load it."""
        return any(re.fullmatch(PLATFORMS[platform], tag) for tag in self.tags[4].split("."))


def build(out: Path, cache: Path | None = None) -> list[Path]:
    """Writes all zips into `out`, the one for every platform first, and returns their paths.

    Wheels come from `cache` (default: `default_cache()`); what it lacks is downloaded with pip.
    Raises BuildError.
    """
    version = project_version()
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        pins = read_pins()
        paths = pool.map(lambda wheel: cached_wheel(wheel, cache or default_cache()), pins)
        pinned = {wheel: path.read_bytes() for wheel, path in zip(pins, paths, strict=True)}
    protocol_name, protocol_bytes = protocol_wheel(version)
    addon = addon_files()
    out.mkdir(parents=True, exist_ok=True)
    made = []
    for platform in (None, *PLATFORMS):
        fitting = {w.filename: data for w, data in pinned.items() if platform is None or w.runs_on(platform)}
        wheels = {f"wheels/{name}": data for name, data in {protocol_name: protocol_bytes, **fitting}.items()}
        manifest = complete_manifest(addon[MANIFEST].decode(), [platform] if platform else PLATFORMS, wheels)
        suffix = f"-{platform.replace('-', '_')}" if platform else ""
        path = out / f"vitruvian-{version}{suffix}.zip"
        write_zip(path, {f"vitruvian/{n}": d for n, d in {**addon, **wheels, MANIFEST: manifest}.items()})
        made.append(path)
    return made


def project_version() -> str:
    """The version in pyproject.toml, which the add-on's manifest must have too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    manifest = tomllib.loads((ADDON / MANIFEST).read_text(encoding="utf-8"))["version"]
    if project != manifest:
        raise BuildError(
            f"pyproject.toml says {project}, blender_addon/{MANIFEST} {manifest}: make them equal"
        )
    return project


def addon_files() -> dict[str, bytes]:
    """Every file of the add-on by its path in the zip, without caches, hidden files and wheels."""
    files = {}
    for path in sorted(ADDON.rglob("*")):
        place = path.relative_to(ADDON)
        left_out = any(part.startswith(".") or part in ("__pycache__", "wheels") for part in place.parts)
        if path.is_file() and not left_out:
            files[place.as_posix()] = path.read_bytes()
    if "__init__.py" not in files:
        raise BuildError(f"{ADDON.name}/__init__.py is missing: without it Blender sees no add-on")
    return files


def complete_manifest(source: str, platforms: Iterable[str], wheels: Iterable[str]) -> bytes:
    """The manifest with its platforms and wheels. Keys of the top level must stand before the first table."""
    named = ", ".join(f'"{name}"' for name in platforms)
    listed = "".join(f'  "./{name}",\n' for name in sorted(wheels))
    top, table, rest = source.partition("\n[")
    return f"{top}\nplatforms = [{named}]\nwheels = [\n{listed}]\n{table}{rest}".encode()


def write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes a zip which depends on nothing but names and contents; appears only when it is complete."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_bytes(zip_bytes(files))
    unfinished.replace(path)


def zip_bytes(files: Mapping[str, bytes]) -> bytes:
    """A zip of `files` in the order of their names, all of one date."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name)  # its default date is the earliest that a zip can say
            entry.external_attr = 0o644 << 16
            packed = name.endswith((".whl", ".png", ".npz"))
            entry.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    return stream.getvalue()


def protocol_wheel(version: str) -> tuple[str, bytes]:
    """The protocol's wheel: filename and contents.

    Blender keeps a wheel that is installed already when name and version are the same. The version therefore
    ends in a hash of the package's files, so that an artist never runs a new add-on on an old protocol.
    """
    files = {
        f"{PROTOCOL.name}/{p.relative_to(PROTOCOL).as_posix()}": p.read_bytes() for p in _sources(PROTOCOL)
    }
    if not files:
        raise BuildError(f"{PROTOCOL.relative_to(ROOT)}: no Python files there; is the checkout complete?")
    digest = hashlib.sha256()
    for name, data in files.items():
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    stamped = f"{version}+{digest.hexdigest()[:12]}"
    info = f"{PROTOCOL.name}-{stamped}.dist-info"
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.4\nName: {PROTOCOL.name}\nVersion: {stamped}\nLicense-Expression: Apache-2.0\n"
        "License-File: LICENSE\nRequires-Python: >=3.11\n"
        "Requires-Dist: numpy\nRequires-Dist: msgpack\nRequires-Dist: pyzmq\n"
    ).encode()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: vitruvian\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[f"{info}/licenses/LICENSE"] = (ROOT / "LICENSE").read_bytes()
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD")
    return f"{PROTOCOL.name}-{stamped}-py3-none-any.whl", zip_bytes(files)


def _sources(package: Path) -> list[Path]:
    return sorted(path for path in package.rglob("*") if path.suffix in (".py", ".typed") and path.is_file())


def _record(files: Mapping[str, bytes], own_name: str) -> bytes:
    rows = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(data)}\n")
    return "".join([*rows, f"{own_name},,\n"]).encode()


def read_pins() -> list[Wheel]:
    """The pinned wheels, from lines as `sha256sum` writes them."""
    rows = (line.split() for line in PINS.read_text(encoding="utf-8").splitlines() if line.strip())
    return [Wheel(filename, sha256) for sha256, filename in rows]


def default_cache() -> Path:
    """Where downloaded wheels are kept: outside the repository, so that every checkout uses them."""
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or str(Path.home() / ".cache")
    return Path(home) / "vitruvian" / "wheels"


def cached_wheel(wheel: Wheel, cache: Path) -> Path:
    """The wheel's file in `cache`, downloaded if it is missing or not what is pinned. Raises BuildError."""
    path = cache / wheel.filename
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == wheel.sha256:
        return path
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        download(wheel, Path(folder), cache)
        (Path(folder) / wheel.filename).replace(path)
    return path


def download(wheel: Wheel, folder: Path, cache: Path) -> None:
    """Has pip fetch the wheel into `folder`; pip refuses what has another hash. Raises BuildError."""
    package, version, python, abi, platforms = wheel.tags
    print(f"downloading {wheel.filename}", file=sys.stderr)
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{package}=={version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += [
        "--only-binary=:all:",
        "--require-hashes",
        "--requirement",
        str(requirement),
        "--dest",
        str(folder),
    ]
    command += ["--implementation", "cp", "--python-version", f"{python[2]}.{python[3:]}", "--abi", abi]
    command += [part for platform in platforms.split(".") for part in ("--platform", platform)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not (folder / wheel.filename).is_file():
        said = [
            line for line in done.stderr.splitlines() if line.startswith("ERROR")
        ] or done.stderr.splitlines()[-1:]
        raise DownloadError(
            f"pip could not download {wheel.filename} ({' '.join(said) or 'without a reason'}).\n"
            f"Build once with a network, or put the file into {cache}"
        )


def find_tool() -> Path:
    """Blender's own extension tool, inside a bpy environment of this checkout. Raises BuildError."""
    inside = "lib/python*/site-packages/bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py"
    found = sorted(ROOT.glob(f".venv-blender*/{inside}"))
    if not found:
        raise BuildError(
            "no bpy environment to check with: run scripts/setup_blender_env.sh, or name a "
            "Blender's scripts/addons_core/bl_pkg/cli/blender_ext.py with --tool"
        )
    return found[-1]


def run_tool(tool: Path, *arguments: str) -> str:
    """Runs Blender's extension tool and returns what it said. Raises BuildError if it found fault."""
    done = subprocess.run([sys.executable, str(tool), *arguments], capture_output=True, text=True)
    said = f"{done.stdout}{done.stderr}".strip()
    if done.returncode or re.search("error", said, re.IGNORECASE):
        raise BuildError(f"Blender's tool refuses ({' '.join(arguments)}):\n{said}")
    return said


def check(zips: Iterable[Path], tool: Path) -> None:
    """Has Blender validate each zip, and sees that its one folder holds what it names. Raises BuildError."""
    for path in zips:
        run_tool(tool, "validate", str(path))
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            manifest = tomllib.loads(archive.read(f"vitruvian/{MANIFEST}").decode())
        outside = sorted(name for name in names if not name.startswith("vitruvian/"))
        named = {f"vitruvian/{wheel.removeprefix('./')}" for wheel in manifest["wheels"]}
        if outside or named != {name for name in names if name.endswith(".whl")}:
            raise BuildError(
                f"{path.name}: files outside vitruvian/ ({outside}), or other wheels than its manifest names"
            )


def publish(zips: Iterable[Path], folder: Path, tool: Path) -> None:
    """Makes `folder` a static extension repository (index.json, index.html) of the platforms' zips."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in zips:
        shutil.copy2(path, folder)
    run_tool(tool, "server-generate", f"--repo-dir={folder}", "--html")


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Builds the Blender extension.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the zips (default: dist)")
    parser.add_argument("--cache", type=Path, help="folder for downloaded wheels (default: the user's cache)")
    parser.add_argument("--check", action="store_true", help="validate the zips with Blender's own tool")
    parser.add_argument(
        "--repository", action="store_true", help="also make a static repository in OUT/repository"
    )
    parser.add_argument(
        "--tool", type=Path, help="that tool, blender_ext.py, if not the one of a .venv-blender*"
    )
    options = parser.parse_args(arguments)
    try:
        zips = build(options.out, options.cache)
        if options.check:
            check(zips, options.tool or find_tool())
        if options.repository:
            publish(zips[1:], options.out / "repository", options.tool or find_tool())
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for path in zips:
        print(f"{path}  {path.stat().st_size / 2**20:.1f} MB{'  valid' if options.check else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
