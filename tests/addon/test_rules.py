"""What the add-on must not do in somebody else's Blender, held over its syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ADDON = Path(__file__).parents[2] / "blender_addon"
THREADS = {"threading", "_thread", "concurrent", "multiprocessing", "asyncio", "queue"}
"""Blender supports no Python threads, nor what starts some."""
OUTSIDE = {"run_in_module.py", "bench_in_module.py"}
"""Scripts that start Blender's module, and are not part of what an artist's Blender runs."""


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ADDON.rglob("*.py")):
        yield path.relative_to(ADDON).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def calls(tree: ast.AST) -> Iterator[str]:
    """The dotted names of all functions that are called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_no_thread() -> None:
    for name, tree in trees():
        for node in ast.walk(tree):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                imported = [node.module or ""]
            assert not {module.split(".")[0] for module in imported} & THREADS, name


def test_one_timer() -> None:
    found = [
        (name, call) for name, tree in trees() for call in calls(tree) if call.endswith("timers.register")
    ]
    assert found == [("pump.py", "bpy.app.timers.register")]


def test_one_undo_step_a_result() -> None:
    """What changes the file by itself goes through one operator; nobody pushes steps by hand."""
    found = [(name, call) for name, tree in trees() for call in calls(tree) if "undo_push" in call]
    assert found == []
    applied = [name for name, tree in trees() for call in calls(tree) if call.endswith("apply_result")]
    assert sorted(set(applied)) == ["batch_command.py", "operators_job.py"]


@pytest.mark.parametrize(
    "forbidden", ["sys.path", "sys.modules", "ensurepip", "site.addsitedir", "importlib.reload"]
)
def test_blenders_own_python_is_left_alone(forbidden: str) -> None:
    for name, tree in trees():
        if name in OUTSIDE:
            continue
        named = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute | ast.Name)}
        assert forbidden not in named, name


def test_pip_is_run_in_the_backends_environment_alone() -> None:
    """Never by Blender's own Python, and never but by the button."""
    with_pip = []
    for name, tree in trees():
        words = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        if "pip" in words:
            with_pip.append(name)
        assert "sys.executable" not in {
            ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)
        }, name
    assert with_pip == ["local_backend.py"]
    install = next(tree for name, tree in trees() if name == "local_backend.py")
    lists = [ast.unparse(node) for node in ast.walk(install) if isinstance(node, ast.List)]
    assert [text for text in lists if "'pip'" in text and not text.startswith("[[")] == [
        "[str(inside), '-m', 'pip', 'install', '--disable-pip-version-check', source]"
    ]
    starts = [name for name, tree in trees() for call in calls(tree) if call.endswith("backend().install")]
    assert starts == ["operators_backend.py"]
