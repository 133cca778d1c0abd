"""The backend's buttons: a local one started and stopped, a remote one behind Blender's online flag, the log.

Cases for `run_case.py`. In the backend's place runs `fake_serve.py`, which listens and says so.
"""

import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy  # pyright: ignore[reportMissingImports]
from kit import FOLDER, addon, draw_all, refused

HERE = Path(__file__).parent


def program(*options: str) -> str:
    """A program that takes `serve --address ... --state ...`, as the preferences name one."""
    script = FOLDER / "vitruvian"
    script.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "fake_serve.py"}" "$@" {" ".join(options)}\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script)


def until(condition: Callable[[], Any]) -> None:
    """Beat until it is so; the second between two looks at the backend is not waited for."""
    pump, end = addon("pump"), time.monotonic() + 60
    while not condition():
        pump._backend_looked = 0.0
        pump.tick()
        time.sleep(0.02)
        assert time.monotonic() < end, (addon("runtime").backend().state, addon("runtime").session().error)


def local(command: str) -> Any:
    preferences = addon("preferences").get()
    preferences.backend, preferences.command = "LOCAL", command
    return addon("runtime").backend()


def case_the_backend_is_started_once_and_stopped() -> None:
    pump = addon("pump")
    backend = local(program())
    assert backend.folder == addon("compat").user_folder() / "backend"
    assert bpy.ops.vitruvian.backend_start() == {"FINISHED"}
    record = backend.record
    assert record is not None
    until(lambda: pump.backend_state() == "running")
    assert addon("runtime").session().endpoint.address == f"tcp://127.0.0.1:{record.port}"
    assert bpy.ops.vitruvian.backend_start() == {"FINISHED"}
    assert backend.record == record, "never a second one"
    assert "vitruvian.backend_stop" in draw_all()
    assert backend.tail() == [f"listening on {record.port}"]
    bpy.ops.preferences.addon_disable(module=addon("compat").PACKAGE)
    bpy.ops.preferences.addon_enable(module=addon("compat").PACKAGE)
    backend = local(program())
    assert backend.record == record, "it outlives the add-on, and is found again"
    assert bpy.ops.vitruvian.backend_stop() == {"FINISHED"}
    until(lambda: addon("pump").backend_state() in ("stopped", "absent"))
    assert backend.record is None
    assert addon("runtime").session().connection == "off"


def case_a_backend_that_dies_says_so_and_the_log_is_there() -> None:
    opened: list[str] = []
    local(program("--broken"))
    assert bpy.ops.vitruvian.backend_start() == {"FINISHED"}
    until(lambda: addon("pump").backend_state() == "died")
    error = addon("runtime").session().error
    assert (error.code, error.button[0]) == ("BACKEND_DIED", "vitruvian.open_log")
    assert "no such model" in error.sentence
    assert any("no such model" in label for label in draw_all())
    operators = addon("operators_backend")
    operators.bpy = _Recorder(opened)
    try:
        assert bpy.ops.vitruvian.open_log() == {"FINISHED"}
    finally:
        operators.bpy = bpy
    assert [Path(path).read_text() for path in opened] == ["no such model\n"]


class _Recorder:
    """`bpy` whose file browser only notes what it was asked to open."""

    def __init__(self, opened: list[str]) -> None:
        self.opened = opened
        self.ops = self.wm = self

    def path_open(self, filepath: str) -> None:
        self.opened.append(filepath)


def case_without_a_backend_the_buttons_say_what_to_do() -> None:
    local(str(FOLDER / "no-such-program"))
    assert "is not installed" in refused(bpy.ops.vitruvian.backend_start)
    assert addon("runtime").session().refusal.button[0] == "vitruvian.backend_install"
    assert any("is not installed" in label for label in draw_all())
    assert "There is no log yet" in refused(bpy.ops.vitruvian.open_log)


def case_the_network_only_with_blenders_leave() -> None:
    """This computer always; another one, and the installation's download, behind Allow Online Access."""
    preferences, system = addon("preferences").get(), bpy.context.preferences.system
    preferences.backend, preferences.use_keys = "REMOTE", False
    if system.use_online_access:
        system.use_online_access = False
    assert not bpy.app.online_access
    preferences.address = "tcp://127.0.0.1:9"
    assert bpy.ops.vitruvian.reconnect() == {"FINISHED"}
    preferences.address = "tcp://192.0.2.1:29517"
    assert "may not use the network" in refused(bpy.ops.vitruvian.reconnect)
    assert addon("runtime").session().refusal.code == "OFFLINE"
    assert "may not use the network" in refused(bpy.ops.vitruvian.backend_install)
    assert addon("runtime").backend().state == "absent", "no installation was begun"
    system.use_online_access = True
    assert bpy.ops.vitruvian.reconnect() == {"FINISHED"}
    preferences.backend, preferences.python = "LOCAL", "/no/python"
    assert "No Python at" in refused(bpy.ops.vitruvian.backend_install)


def case_the_installation_has_a_log_and_can_be_stopped() -> None:
    bpy.context.preferences.system.use_online_access = True
    preferences = addon("preferences").get()
    preferences.backend, preferences.python = "LOCAL", sys.executable
    preferences.source = str(FOLDER / "no-such-wheel.whl")
    assert bpy.ops.vitruvian.backend_install() == {"FINISHED"}
    backend = addon("runtime").backend()
    assert backend.state == "installing"
    assert "being installed already" in refused(bpy.ops.vitruvian.backend_install)
    assert backend.install_log.read_text().startswith("$ ")
    assert bpy.ops.vitruvian.backend_stop() == {"FINISHED"}
    until(lambda: backend.state == "absent")
    assert backend.install_failed
    assert not str(backend.command).startswith(sys.prefix), "outside Blender's own Python"
