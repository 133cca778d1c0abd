"""The batch without a window in an installed Blender: `blender -b FILE --command vitruvian` and
`vitruvian batch --blender`, against a gateway whose worker paints one colour."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from real_blender import Blender, install, run
from tests.addon.servers import painting_gateway

from vitruvian.cli.app import run as vitruvian

MAKE = """
import bpy
bpy.ops.wm.read_homefile(use_empty=True)
for name in ("Ada", "Bob", "Eve"):
    bpy.ops.vitruvian.add_proxy()
    bpy.context.scene.vitruvian.body.name = name
bpy.ops.wm.save_as_mainfile(filepath={path!r})
"""
READ = """
import bpy, json
print("WORN", json.dumps({o.name: o.vitruvian.job for o in bpy.data.objects if o.type == "MESH"}))
"""


def worn(blender: Blender, file: Path, resources: Path) -> dict[str, str]:
    """Whose result each body of a file wears."""
    done = run([*blender.command, "-b", str(file), "--python-expr", READ], resources)
    line = next(line for line in done.stdout.splitlines() if line.startswith("WORN "))
    return json.loads(line.removeprefix("WORN "))


@pytest.mark.window
def test_a_batch_from_the_command_line(blender: Blender, addon_zip: Path, tmp_path: Path) -> None:
    if blender.version < (4, 2):
        pytest.skip("Blender knows commands of add-ons from 4.2 on")
    resources, file, out = tmp_path / "user", tmp_path / "people.blend", tmp_path / "out"
    out.mkdir()
    zip_for_it = tmp_path / addon_zip.name  # where it can see it
    zip_for_it.write_bytes(addon_zip.read_bytes())
    install(blender, zip_for_it, resources)
    made = run([*blender.command, "-b", "--python-expr", MAKE.format(path=str(file))], resources)
    assert file.exists(), made.stdout + made.stderr

    def batch(*options: str) -> subprocess.CompletedProcess[str]:
        return run([*blender.command, "-b", str(file), "--command", "vitruvian", *options], resources)

    with painting_gateway(tmp_path / "state") as address:
        options = ["--body=Ada", "--body=Bob", "--prompt=a man", f"--address={address}"]
        options += ["--texture-size=512", f"--output={out / file.name}"]
        done = batch(*options)
        print(done.stdout)
        assert done.returncode == 0, done.stdout + done.stderr
        first = worn(blender, out / file.name, resources)
        assert first["Ada"]
        assert first["Bob"]
        assert not first["Eve"]
        again = batch(*options)
        assert again.returncode == 0, again.stdout + again.stderr
        assert worn(blender, out / file.name, resources) == first, "what was done is not done again"
        wrong = batch("--collection=none", f"--address={address}")
        assert (wrong.returncode, "There is no collection" in wrong.stderr) == (2, True), wrong.stderr
        whole = wrapped_batch(blender, file, resources, tmp_path / "all", address)
        assert whole == 0
        assert all(worn(blender, tmp_path / "all" / file.name, resources).values())
    nobody = batch("--body=Ada", "--prompt=x", f"--address={address}", "--wait=1")
    assert (nobody.returncode, "No server answers" in nobody.stderr) == (3, True), nobody.stderr


def wrapped_batch(blender: Blender, file: Path, resources: Path, out: Path, address: str) -> int:
    """The same by `vitruvian batch --blender`, all three bodies from a CSV; its exit code."""
    table = file.with_suffix(".csv")
    table.write_text("body,prompt\nAda,a king\nBob,a queen\nEve,a page\n")
    command = ["batch", str(file), "--blender", blender.command[0], "--csv", str(table)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLENDER_USER_RESOURCES", str(resources))
        return vitruvian([*command, "--out", str(out), "--address", address])
