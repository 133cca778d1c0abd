"""The extension's zips: what is in them, that they are repeatable, and that Blender's own tool takes them."""

from __future__ import annotations

import ast
import base64
import csv
import hashlib
import io
import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import build_addon
import pytest
from build_addon import BuildError, DownloadError, Wheel

PYTHONS = {"3.11": (3, 11), "3.13": (3, 13), "3.14": (3, 14)}
"""Blender 4.2 to 5.0, Blender 5.1 and newer, and 5.2 as Debian builds it."""


@pytest.fixture(scope="session")
def tool() -> Path:
    """Blender's extension tool."""
    try:
        return build_addon.find_tool()
    except BuildError as error:
        pytest.skip(str(error))


@pytest.fixture
def own_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sources to change: `blender_addon/` (as little as an add-on can be) and the protocol."""
    addon, protocol = tmp_path / "blender_addon", tmp_path / "protocol" / "vitruvian_protocol"
    for folder in (addon, protocol):
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
    (addon / build_addon.MANIFEST).write_bytes((build_addon.ADDON / build_addon.MANIFEST).read_bytes())
    (tmp_path / "pins").write_text("")
    for name, path in {"ADDON": addon, "PROTOCOL": protocol, "PINS": tmp_path / "pins"}.items():
        monkeypatch.setattr(build_addon, name, path)
    return tmp_path


def runs_in(wheel: Wheel, python: tuple[int, int]) -> bool:
    """Whether the wheel's tags fit a Python: its own version, or an older one with the stable interface."""
    made_for = (int(wheel.tags[2][2]), int(wheel.tags[2][3:]))
    return made_for == python or (wheel.tags[3] == "abi3" and made_for <= python)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", build_addon.PLATFORMS)
def test_each_blender_finds_one_wheel_of_each_package(platform: str, python: str) -> None:
    fitting = [w for w in build_addon.read_pins() if w.runs_on(platform) and runs_in(w, PYTHONS[python])]
    assert sorted(wheel.tags[0] for wheel in fitting) == ["msgpack", "pyzmq"]
    versions = {(wheel.tags[0], wheel.tags[1]) for wheel in build_addon.read_pins()}
    assert len(versions) == 2, "one version of a package: Blender keeps only the highest"


def test_platforms_are_understood_as_blender_does(tool: Path) -> None:
    blender = runpy.run_path(str(tool), run_name="tool")["blender_platform_compatible_with_wheel_platform"]
    for wheel in build_addon.read_pins():
        for platform in build_addon.PLATFORMS:
            assert wheel.runs_on(platform) == blender(platform, wheel.tags[4]), (wheel.filename, platform)


def test_what_the_zips_hold(addon_zips: list[Path]) -> None:
    everything, *split = (set(zipfile.ZipFile(path).namelist()) for path in addon_zips)
    assert {name.split("/")[0] for name in everything} == {"vitruvian"}
    assert {"vitruvian/__init__.py", "vitruvian/LICENSE", "vitruvian/blender_manifest.toml"} <= everything
    assert not [name for name in everything if "__pycache__" in name or "/." in name]
    wheels = {name for name in everything if name.endswith(".whl")}
    assert len(wheels) == 1 + len(build_addon.read_pins())
    assert set().union(*split) == everything
    for names in split:
        own = names & wheels
        assert names - own == everything - wheels
        assert sum("vitruvian_protocol" in name for name in own) == 1
        assert len(own) == 6, "the protocol, msgpack for three Pythons, pyzmq for 3.11 and for what follows"


def test_manifest_names_platforms_and_wheels(addon_zips: list[Path]) -> None:
    manifests = [manifest_of(path) for path in addon_zips]
    assert manifests[0]["platforms"] == list(build_addon.PLATFORMS)
    assert [m["platforms"] for m in manifests[1:]] == [[name] for name in build_addon.PLATFORMS]
    for path, manifest in zip(addon_zips, manifests, strict=True):
        names = set(zipfile.ZipFile(path).namelist())
        assert all(f"vitruvian/{wheel.removeprefix('./')}" in names for wheel in manifest["wheels"])
        assert manifest["permissions"].keys() >= {"network", "files"}


def manifest_of(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        return tomllib.loads(archive.read(f"vitruvian/{build_addon.MANIFEST}").decode())


def test_bundled_wheels_are_what_was_pinned(addon_zip: Path) -> None:
    with zipfile.ZipFile(addon_zip) as archive:
        for wheel in build_addon.read_pins():
            data = archive.read(f"vitruvian/wheels/{wheel.filename}")
            assert hashlib.sha256(data).hexdigest() == wheel.sha256


def test_equal_sources_give_equal_bytes(own_sources: Path) -> None:
    first = build_addon.build(own_sources / "first")
    for path in own_sources.rglob("*.py"):
        os.utime(path, (0, 0))
    again = build_addon.build(own_sources / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in first]
    assert sorted(os.listdir(own_sources / "again")) == sorted(path.name for path in again)


def test_blenders_tool_takes_every_zip(addon_zips: list[Path], tool: Path) -> None:
    build_addon.check(addon_zips, tool)
    assert "Success" in build_addon.run_tool(tool, "validate", str(addon_zips[0]))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda files: files.pop("vitruvian/__init__.py"), "__init__"),
        (lambda files: files.update({f"vitruvian/{build_addon.MANIFEST}": b'id = "vitruvian"'}), "version"),
        (lambda files: files.pop(next(n for n in files if n.endswith(".whl"))), "wheels"),
        (lambda files: files.update({"readme.txt": b""}), "outside"),
    ],
)
def test_check_refuses_what_blender_could_not_install(
    own_sources: Path, tool: Path, spoil: Callable[[dict[str, bytes]], Any], complaint: str
) -> None:
    path = build_addon.build(own_sources / "dist")[0]
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    spoil(files)
    build_addon.write_zip(path, files)
    with pytest.raises(BuildError, match=complaint):
        build_addon.check([path], tool)


def test_repository_lists_every_platform(addon_zips: list[Path], tool: Path, tmp_path: Path) -> None:
    build_addon.publish(addon_zips[1:], tmp_path / "repository", tool)
    index = json.loads((tmp_path / "repository" / "index.json").read_text())
    assert {entry["id"] for entry in index["data"]} == {"vitruvian"}
    assert {name for entry in index["data"] for name in entry["platforms"]} == set(build_addon.PLATFORMS)
    for entry in index["data"]:
        data = (tmp_path / "repository" / entry["archive_url"]).read_bytes()
        assert entry["archive_hash"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert set(entry["python_versions"]) >= {*PYTHONS}
    assert (tmp_path / "repository" / "index.html").stat().st_size > 0


def test_protocol_wheel_records_its_files() -> None:
    name, data = build_addon.protocol_wheel("1.2.3")
    assert re.fullmatch(r"vitruvian_protocol-1\.2\.3\+[0-9a-f]{12}-py3-none-any\.whl", name)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        info = f"{name.removesuffix('-py3-none-any.whl')}.dist-info"
        rows = list(csv.reader(archive.read(f"{info}/RECORD").decode().splitlines()))
        assert {row[0] for row in rows} == set(archive.namelist())
        for path, digest, size in rows:
            if path != f"{info}/RECORD":
                content = archive.read(path)
                wanted = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                assert (digest, size) == (f"sha256={wanted}", str(len(content)))


def test_protocol_can_be_imported_from_its_wheel(tmp_path: Path) -> None:
    name, data = build_addon.protocol_wheel("1.2.3")
    (tmp_path / name).write_bytes(data)
    script = (
        "import sys, importlib.metadata as m; sys.path.insert(0, sys.argv[1]);"
        "import vitruvian_protocol.scene as s; print(s.__file__); print(m.version('vitruvian_protocol'))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    place, version = done.stdout.split()
    assert place.startswith(str(tmp_path / name))
    assert version == name.split("-")[1]


def test_protocol_version_follows_its_contents(own_sources: Path) -> None:
    before = build_addon.protocol_wheel("1.0.0")
    assert build_addon.protocol_wheel("1.0.0") == before
    (own_sources / "protocol" / "vitruvian_protocol" / "__init__.py").write_text("x = 1\n")
    assert build_addon.protocol_wheel("1.0.0")[0] != before[0]


def test_versions_agree(own_sources: Path) -> None:
    manifest = own_sources / "blender_addon" / build_addon.MANIFEST
    manifest.write_text(re.sub(r'\nversion = ".*"', '\nversion = "99.0.0"', manifest.read_text()))
    with pytest.raises(BuildError, match=r"99\.0\.0.*make them equal"):
        build_addon.build(own_sources / "dist")


def test_old_blenders_read_the_same_version() -> None:
    tree = ast.parse((build_addon.ADDON / "__init__.py").read_text(encoding="utf-8"))
    values = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "bl_info"
    ]
    bl_info = ast.literal_eval(values[0])
    assert ".".join(map(str, bl_info["version"])) == build_addon.project_version()
    assert bl_info["blender"] <= (3, 4, 0)


def test_a_spoilt_wheel_in_the_cache_is_fetched_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = Wheel("a-1-cp311-cp311-win_amd64.whl", hashlib.sha256(b"good").hexdigest())
    fetched: list[str] = []

    def fetch(wheel: Wheel, folder: Path, cache: Path) -> None:
        fetched.append(wheel.filename)
        (folder / wheel.filename).write_bytes(b"good")

    monkeypatch.setattr(build_addon, "download", fetch)
    (tmp_path / wheel.filename).write_bytes(b"half of it")
    for _ in range(2):
        assert build_addon.cached_wheel(wheel, tmp_path).read_bytes() == b"good"
    assert fetched == [wheel.filename]
    assert os.listdir(tmp_path) == [wheel.filename]


def test_offline_says_which_file_is_missing_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    wheel = build_addon.read_pins()[0]
    with pytest.raises(DownloadError, match=re.escape(wheel.filename)) as caught:
        build_addon.cached_wheel(wheel, tmp_path / "cache")
    assert str(tmp_path / "cache") in str(caught.value)
    assert os.listdir(tmp_path / "cache") == []


def test_command_line_reports_errors_in_one_place(
    own_sources: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_sources / "blender_addon" / "__init__.py").unlink()
    assert build_addon.main(["--out", str(own_sources / "dist")]) == 2
    assert capsys.readouterr().err.startswith("error: blender_addon/__init__.py is missing")
    assert not (own_sources / "dist").exists()


def test_command_line_builds_and_checks(
    own_sources: Path, tool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = own_sources / "dist"
    assert build_addon.main(["--out", str(out), "--check", "--repository", "--tool", str(tool)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(build_addon.PLATFORMS)
    assert all(line.endswith("valid") for line in lines)
    assert (out / "repository" / "index.json").is_file()
