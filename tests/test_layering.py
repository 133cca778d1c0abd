"""Imports point one way (DESIGN.md section 1), held over the syntax trees: nothing is imported to check it.

protocol <- add-on; protocol <- backend; the backend never imports bpy, the add-on never imports the backend.
core <- body, render, fields <- diffusion, texture, distill <- methods <- service, cli.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BACKEND = ROOT / "backend" / "vitruvian"

LAYERS = (
    {"core"},
    {"body", "render", "fields"},
    {"diffusion", "texture", "distill", "export"},
    {"methods"},
    {"job", "generation"},
    {"service", "cli"},
)
"""Rooms and top-level modules from the ground up. A room imports from lower layers and from itself; within a
layer only what `NEIGHBOURS` names."""
NEIGHBOURS = {("body", "render"), ("render", "body"), ("generation", "job"), ("cli", "service")}
"""Pairs (importer, imported) of one layer that may meet."""
BESIDE = {"wardrobe", "evaluate"}
"""Stand beside the methods: may import every room but service and cli; only cli imports them."""

ONLY_IN = {
    "zmq": (
        "backend/vitruvian/service/",
        "protocol/vitruvian_protocol/client.py",
        "protocol/vitruvian_protocol/dealer.py",
    ),
    "kaolin": ("backend/vitruvian/render/raster_kaolin.py",),
    "diffusers": ("backend/vitruvian/diffusion/",),
    "transformers": ("backend/vitruvian/diffusion/",),
    "peft": ("backend/vitruvian/diffusion/",),
    "anny": ("backend/vitruvian/body/",),
    "smplx": ("backend/vitruvian/body/",),
    "typer": ("backend/vitruvian/cli/",),
    "rich": ("backend/vitruvian/cli/",),
    "bpy": ("blender_addon/",),
}
"""Packages and the only places that may import them."""
NEVER = {"pickle", "dill", "cloudpickle", "joblib", "nvdiffrast", "torchvision"}
"""Unsafe on files from outside; not free for commercial use; cannot be had beside a CPU build of torch."""


def python_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imported_modules(source: str) -> Iterator[str]:
    """Dotted names of all that `source` imports, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                continue  # inside a package of its own; `test_relative_imports_stay_in_their_packages`
            yield f"{node.module}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(source: str) -> set[str]:
    """Rooms (folders or top-level modules) of vitruvian that `source` imports."""
    known = {room for layer in LAYERS for room in layer} | BESIDE
    parts = (name.split(".") for name in imported_modules(source))
    return {p[1] for p in parts if p[0] == "vitruvian" and len(p) > 1 and p[1] in known}


def may_import(importer: str, imported: str) -> bool:
    if importer == imported or (importer, imported) in NEIGHBOURS:
        return True
    if importer in BESIDE:
        return imported not in LAYERS[-1]
    if imported in BESIDE:
        return importer == "cli"
    return layer_of(imported) < layer_of(importer)


def layer_of(room: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if room in layer)


def room_of(path: Path) -> str:
    return path.relative_to(BACKEND).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", python_files(BACKEND), ids=lambda p: str(p.relative_to(BACKEND)))
def test_rooms_import_one_way(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return  # the package's front door offers `generate`
    wrong = {r for r in rooms_imported(path.read_text(encoding="utf-8")) if not may_import(room, r)}
    assert not wrong, f"{room} may not import {wrong}"


def test_every_room_has_a_layer() -> None:
    known = {room for layer in LAYERS for room in layer} | BESIDE | {"__init__"}
    assert {room_of(path) for path in python_files(BACKEND)} <= known


def test_methods_do_not_import_each_other() -> None:
    shared = {"inputs", "record", "__init__"}
    methods = {p.stem: p.read_text(encoding="utf-8") for p in python_files(BACKEND / "methods")}
    for name, source in methods.items():
        if name in shared:
            continue
        others = {f"vitruvian.methods.{other}" for other in methods if other not in shared | {name}}
        assert not others & set(imported_modules(source)), name


@pytest.mark.parametrize("package", [*ONLY_IN, *NEVER])
def test_packages_stay_in_their_places(package: str) -> None:
    allowed = ONLY_IN.get(package, ())
    for folder in ("backend", "protocol", "blender_addon"):
        for path in python_files(ROOT / folder):
            place = path.relative_to(ROOT).as_posix()
            if not place.startswith(allowed):
                tops = {name.split(".")[0] for name in imported_modules(path.read_text(encoding="utf-8"))}
                assert package not in tops, f"{place} imports {package}"


def test_protocol_and_addon_know_no_backend() -> None:
    for folder in ("protocol", "blender_addon"):
        for path in python_files(ROOT / folder):
            tops = {name.split(".")[0] for name in imported_modules(path.read_text(encoding="utf-8"))}
            assert not tops & {"vitruvian", "torch"}, path


@pytest.mark.parametrize("folder", ["backend", "protocol", "blender_addon"])
def test_relative_imports_stay_in_their_packages(folder: str) -> None:
    """Protocol and add-on are imported under names that Blender chooses, so theirs are relative; the
    backend's are absolute, so that they can be checked."""
    for path in python_files(ROOT / folder):
        depth = len(path.relative_to(ROOT / folder).parts) - (folder == "protocol")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level <= (0 if folder == "backend" else depth), path


def test_the_rules_catch_what_they_should() -> None:
    assert rooms_imported("def f():\n    from vitruvian.methods.mvhuman import run") == {"methods"}
    assert rooms_imported("from vitruvian import cli") == {"cli"}
    assert may_import("methods", "texture")
    assert may_import("cli", "evaluate")
    assert not may_import("texture", "diffusion")
    assert not may_import("core", "render")
    assert not may_import("methods", "wardrobe")
    assert not may_import("evaluate", "cli")
    assert not may_import("generation", "wardrobe")
