"""Bad input to every command but `generate` (tests/backend/test_bad_input.py): one line with the field, the
value and the remedy, exit code 2, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import zmq
from serving import free_port

from vitruvian.cli import connection, run
from vitruvian.service.curve import make_key_file

KEY = "a" * 40
BLEND = "a.blend"
NO_WORKER = "tcp://127.0.0.1:1"


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with what the commands below name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.2)
    (tmp_path / "folder").mkdir()
    (tmp_path / "other" / "art").mkdir(parents=True)
    (tmp_path / "file").write_text("hello")
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    (tmp_path / BLEND).write_bytes(b"BLENDER")
    (tmp_path / "other" / BLEND).write_bytes(b"BLENDER")
    make_key_file(tmp_path / "keys" / "server.json")
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    capsys.readouterr()
    assert run(arguments) == 2
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1, printed.err
    assert printed.err.startswith("error: ")
    assert printed.out == ""
    return printed.err


SERVE = [
    (["--address", "nonsense"], "address = 'nonsense'", "tcp://"),
    (["--address", "tcp://127.0.0.1:0"], "address", "tcp://"),
    (["--address", "tcp://127.0.0.1:65536"], "address", "tcp://"),
    (["--address", "ipc:///tmp/x"], "address", "tcp://"),
    (["--address", "tcp://0.0.0.0:29999"], "address", "vitruvian keys server"),
    (["--address", "tcp://0.0.0.0:29999", "--keys", "keys"], "keys", "vitruvian keys allow"),
    (["--keys", "none"], "keys = 'none/server.json'", "vitruvian keys server"),
    (["--keys", "file"], "keys", "vitruvian keys server"),
    (["--device", "toaster"], "device = 'toaster'", "cuda:1"),
    (["--device", "cpu", "--device", "cpu"], "device = 'cpu'", "one worker"),
    (["--prior", "./models"], "prior = './models'", "NAME=FOLDER"),
    (["--prior", "a="], "prior = 'a='", "NAME=FOLDER"),
    (["--prior", "a=/no/such/folder"], "prior", "path"),
    (["--prior", "a=file"], "prior = 'a=file'", "path"),
    (["--prior", "mini", "--prior", "mini=folder"], "prior", "name of its own"),
    (["--idle-minutes", "-1"], "'--idle-minutes'", "'-1'"),
    (["--idle-minutes", "nan"], "'--idle-minutes'", "'nan'"),
    (["--keep-days", "0"], "'--keep-days'", "'0'"),
    (["--min-free-gb", "inf"], "'--min-free-gb'", "'inf'"),
    (["--min-free-gb", "much"], "'--min-free-gb'", "'much'"),
    (["extra"], "extra", "--help"),
]
KEYS = [
    ([], "Missing command", "--help"),
    (["server", "--keys", "keys"], "keys", "move it away"),
    (["server", "--keys", "file"], "keys = 'file'", "is a file"),
    (["server", "--keys", "file/below"], "keys = 'file/below'", "folder"),
    (["client", "a.json"], "'--server'", "--help"),
    (["client", "a.json", "--server", "short"], "server = 'short'", "40 characters"),
    (["client", "folder", "--server", KEY], "keys = 'folder'", "is there already"),
    (["client", "file/below", "--server", KEY], "keys", "is a file"),
    (["allow", KEY], "'name'", "--help"),
    (["allow", "short", "ada"], "key = 'short'", "40 characters"),
    (["allow", KEY, "two words"], "name = 'two words'", "letters"),
    (["allow", KEY, "ada", "--keys", "file"], "keys = 'file'", "vitruvian keys server"),
    (["allow", KEY, "ada", "--keys", "none"], "keys = 'none'", "vitruvian keys server"),
    (["revoke", "nobody"], "name = 'nobody'", "The list has"),
    (["list", "--keys", "none"], "keys = 'none'", "vitruvian keys server"),
]
STATUS = [
    (["--server", "nonsense"], "server = 'nonsense'", "tcp://"),
    (["--server", NO_WORKER], f"server = '{NO_WORKER}'", "Start"),
    (["--keys", "none.json"], "keys = 'none.json'", "vitruvian keys client"),
    (["--keys", "folder"], "keys = 'folder'", "vitruvian keys client"),
    (["--keys", "noise"], "keys = 'noise'", "vitruvian keys client"),
    (["--keys", "keys/server.json"], "server", "public key"),
    (["extra"], "extra", "--help"),
]
SUBMIT = [
    ([""], "prompt", "Describe"),
    (["a man", "--server", "nonsense"], "server = 'nonsense'", "tcp://"),
    (["a man", "--server", NO_WORKER], "server", "Start"),
    (["a man", "--keys", "none.json"], "keys = 'none.json'", "vitruvian keys client"),
    (["a man", "--job", "7"], "job = '7'", "uuidgen"),
    (["a man", "--out", "file"], "out = 'file'", "folder"),
    (["a man", "--out", "other"], "out = 'other'", "empty folder"),
    (["a man", "--mesh", "folder"], "mesh = 'folder'", "is not a file"),
    (["a man", "--cameras", "folder"], "cameras = 'folder'", "is not a file"),
    (["a man", "--body", "folder"], "body = 'folder'", "JSON"),
    (["a man", "--seed", "-1"], "seed = -1", "number"),
    (["a man", "--steps", "many"], "'--steps'", "'many'"),
]
BATCH = [
    ([], "files", "--help"),
    (["none.blend"], "files = 'none.blend'", "path"),
    (["file"], "files = 'file'", "path"),
    (["folder"], "files = 'folder'", "path"),
    ([BLEND, "--csv", "none.csv"], "csv = 'none.csv'", "path"),
    ([BLEND, "--csv", "folder"], "csv = 'folder'", "path"),
    ([BLEND, "--out", "file"], "out = 'file'", "is a file"),
    ([BLEND, "--out", "file/below"], "out = 'file/below'", "folder"),
    ([BLEND, f"other/{BLEND}", "--out", "results"], "out", "two files"),
    ([BLEND, "--steps", "0"], "'--steps'", "'0'"),
    ([BLEND, "--seed", "-1"], "'--seed'", "'-1'"),
    ([BLEND, "--texture-size", "7"], "texture_size = 7", "1024"),
    ([BLEND, "--wait", "-1"], "'--wait'", "'-1'"),
    ([BLEND, "--address", "nonsense"], "address = 'nonsense'", "tcp://"),
    ([BLEND, "--addon", "folder"], "addon = 'folder'", "--addon"),
    ([BLEND, "--blender", "none"], "blender = 'none'", "program"),
    ([BLEND, "--blender", "folder"], "blender = 'folder'", "program"),
    ([BLEND, "--python", "/bin/echo"], "python = '/bin/echo'", "not a Python"),
    ([BLEND, "--python", sys.executable], "has no bpy", "--blender"),
]
TRAIN = [
    ([], "'--out'", "--help"),
    (["--out", "file"], "out = 'file'", "folder"),
    (["--out", "new", "--part", "hair"], "'--part'", "'hair'"),
    (["--out", "new", "--minutes", "nan"], "minutes = nan", "90"),
    (["--out", "new", "--minutes", "-1"], "minutes = -1", "90"),
    (["--out", "new", "--subjects", "0"], "subjects = 0", "1 to"),
    (["--out", "new", "--seed", "-1"], "'--seed'", "'-1'"),
    (["--out", "new", "--workers", "0"], "'--workers'", "'0'"),
    (["--out", "new", "--device", "toaster"], "device = 'toaster'", "cpu"),
    (["--out", "new", "--start-from", "none"], "start_from = 'none'", "folder"),
    (["--out", "new", "--start-from", "folder"], "prior = 'folder'", "lacks"),
    (["--out", "new", "--part", "diffusion"], "part = 'diffusion'", "--part data"),
]
EVALUATE = [
    (["--out", "file"], "out = 'file'", "folder"),
    (["--out", "other"], "out = 'other'", "empty folder"),
    (["--prior", "none"], "prior = 'none'", "mini"),
    (["--prior", "folder"], "prior = 'folder'", "diffusers"),
    (["--people", "0"], "'--people'", "'0'"),
    (["--compared", "1.5"], "'--compared'", "'1.5'"),
    (["--device", "toaster"], "device = 'toaster'", "cpu"),
]
BENCH = [
    (["none"], "'none'", "render"),
    (["generate", "--prior", "none"], "prior = 'none'", "mini"),
    (["render", "--device", "cuda:99"], "device = 'cuda:99'", "cpu"),
    (["scaling", "--out", "file"], "out = 'file'", "folder"),
    (["scaling", "--out", "other"], "out = 'other'", "empty folder"),
    (["blender", "--steps", "0"], "'--steps'", "'0'"),
    (["blender", "--repeats", "0"], "'--repeats'", "'0'"),
    (["blender", "--blender", "none"], "blender = 'none'", "program"),
    (["blender", "--python", "none"], "python = 'none'", "program"),
]
COMMANDS = {
    "serve": SERVE,
    "keys": KEYS,
    "status": STATUS,
    "submit": SUBMIT,
    "batch": BATCH,
    "train-prior": TRAIN,
    "evaluate": EVALUATE,
    "bench": BENCH,
}
CASES = [
    pytest.param([command, *arguments], field, remedy, id=" ".join([command, *arguments]))
    for command, cases in COMMANDS.items()
    for arguments, field, remedy in cases
]


@pytest.mark.parametrize(("arguments", "field", "remedy"), CASES)
def test_bad_values_are_told_in_one_line(
    arguments: list[str], field: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, arguments)
    assert field in line
    assert remedy in line


NO_ROOM = """
import errno, os, sys
from vitruvian.cli import app

def fill() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "texture.png")

app.app.command()(fill)
sys.exit(app.run(["fill"]))
"""


def test_what_the_system_refuses_is_told_in_one_line() -> None:
    found = subprocess.run([sys.executable, "-c", NO_ROOM], capture_output=True, text=True, timeout=120)
    assert found.returncode == 2
    assert found.stderr.startswith("error: file = texture.png: cannot be used (No space left")
    assert len(found.stderr.splitlines()) == 1


def serve(*arguments: str) -> tuple[int, list[str]]:
    """`vitruvian serve` in a process of its own, since it starts another one: exit code and errors."""
    command = [sys.executable, "-c", "from vitruvian.cli import main; main()", "serve", *arguments]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return found.returncode, [line for line in found.stderr.splitlines() if not line.startswith("state ")]


@pytest.mark.parametrize("state", ["file", "file/below", "/proc/none", "occupied"])
def test_a_state_folder_that_cannot_be_used_is_told_once(state: str, desk: Path) -> None:
    (desk / "occupied" / "gateway.lock").mkdir(parents=True)
    code, errors = serve("--address", f"tcp://127.0.0.1:{free_port()}", "--state", state)
    assert code == 2
    assert len(errors) == 1, errors
    assert errors[0].startswith(f"error: state = '{state}': cannot be used")
    assert "--state" in errors[0]


def test_a_port_that_is_taken_is_told_once(desk: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as taken:
        port = taken.bind_to_random_port("tcp://127.0.0.1")
        code, errors = serve("--address", f"tcp://127.0.0.1:{port}", "--state", "state")
    assert code == 2
    assert len(errors) == 1, errors
    assert "address" in errors[0]
    assert "--address" in errors[0]
