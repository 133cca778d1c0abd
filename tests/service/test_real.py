"""The real thing: `vitruvian serve` with the bundled image model, and `vitruvian submit`."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from serving import Artist, free_port, small_scene

from vitruvian.body.anny_body import anny_body
from vitruvian.service.convert import body_from, cameras_from, doubts_about, scene_of
from vitruvian_protocol import events as e
from vitruvian_protocol.codec import pack_scene, unpack_scene
from vitruvian_protocol.scene import MeshArrays, Scene

ROOT = Path(__file__).parents[2]
PROMPT = "a man in a red shirt"
QUICK = ["--steps", "2", "--texture-size", "512", "--pose", "walking"]
VITRUVIAN = [sys.executable, "-c", "from vitruvian.cli import main; main()"]


@contextmanager
def serving(state: Path, *options: str) -> Iterator[str]:
    """`vitruvian serve` in a process of its own; gives its address."""
    where = f"tcp://127.0.0.1:{free_port()}"
    command = [*VITRUVIAN, "serve", "--address", where, "--state", str(state), "--min-free-gb", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert where in process.stdout.readline()
        yield where
    finally:
        process.terminate()
        assert process.wait(120) == 0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image model with random weights that the backend's tests use."""
    build = runpy.run_path(str(ROOT / "tests" / "backend" / "tiny_prior.py"))["build_tiny_prior"]
    return build(tmp_path_factory.mktemp("prior") / "tiny")


@pytest.fixture(scope="module")
def tiny_address(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("service"), "--prior", f"mini={tiny}") as where:
        yield where


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def paint_both_ways(address: str, prior: str, folder: Path) -> None:
    """Raises where a submitted job leaves another folder than `generate`."""
    for verb, extra in (("submit", ["--server", address]), ("generate", ["--prior", prior])):
        command = [*VITRUVIAN, verb, PROMPT, *QUICK, *extra, "--out", str(folder / verb)]
        found = subprocess.run(command, capture_output=True, text=True, timeout=3600)
        assert found.returncode == 0, found.stderr
        assert found.stdout.strip() == str(folder / verb / "human.glb")
    submitted, generated = files_below(folder / "submit"), files_below(folder / "generate")
    assert set(submitted) == set(generated)
    same = [name for name in submitted if name != "report.json" and not name.endswith(".glb")]
    assert {name: submitted[name] == generated[name] for name in same} == dict.fromkeys(same, True)
    reports = [json.loads(files["report.json"]) for files in (submitted, generated)]
    for key in ("prompt", "settings", "cameras", "figures"):
        assert reports[0][key] == reports[1][key]


@pytest.mark.slow
def test_submit_leaves_the_folder_that_generate_leaves(tiny: Path, tiny_address: str, tmp_path: Path) -> None:
    paint_both_ways(tiny_address, str(tiny), tmp_path)


@pytest.mark.slow
def test_the_bundled_prior_over_the_wire(tmp_path: Path) -> None:
    with serving(tmp_path / "state") as address:
        paint_both_ways(address, "mini", tmp_path)


@pytest.mark.slow
def test_a_mesh_without_uvs_gets_new_ones(tiny_address: str, tmp_path: Path) -> None:
    """And a real job can be watched, cancelled, and followed by another."""
    with Artist(tiny_address, patience=1800.0) as artist:
        cancelled = artist.submit(PROMPT, small_scene(), steps=200, texture_size=512)
        artist.until(lambda: [x for x in artist.of(cancelled, e.Progress) if x.stage == "sampling"])
        artist.client.cancel(cancelled)
        assert isinstance(artist.end(cancelled), e.Cancelled)
        job = artist.submit(PROMPT, small_scene(), steps=3, texture_size=512)
        names = {info.name for info in artist.end(job).artifacts}
        assert {"albedo.png", "human.glb", "corner_uvs.npy", "view_015.png"} <= names
        assert {x.kind for x in artist.of(job, e.Preview)} == {"sheet", "texture"}
        assert artist.of(job, e.Warned)
        uvs = np.load(artist.fetch(job, "corner_uvs.npy", tmp_path / "uvs.npy"), allow_pickle=False)
        assert uvs.shape == (4, 3, 2)
        assert uvs.min() >= 0.0
        assert uvs.max() <= 1.0


def test_a_body_survives_the_wire() -> None:
    body = anny_body(pose="walking")
    scene = unpack_scene(pack_scene(scene_of(body, None)))
    again = body_from(scene.mesh)
    assert again.uv_report == []
    assert again.mesh.uvs is not None
    assert again.mesh.uv_faces is not None
    assert body.mesh.uvs is not None
    assert np.array_equal(again.mesh.vertices, body.mesh.vertices)
    assert np.array_equal(again.mesh.faces, body.mesh.faces)
    assert np.array_equal(again.mesh.uvs[again.mesh.uv_faces], body.mesh.uvs[body.mesh.uv_faces])
    assert again.mesh.rig is not None
    assert body.mesh.rig is not None
    assert np.array_equal(again.mesh.rig.weights, body.mesh.rig.weights)
    assert again.regions is not None
    assert body.regions is not None
    # The built-in body has the mean body's hairline, one that was sent has its own.
    assert float((again.regions != body.regions).float().mean()) < 0.005


def test_cameras_survive_the_wire() -> None:
    from vitruvian.render.rigs import default_rig

    body = anny_body()
    rig = default_rig(body.mesh)
    scene = unpack_scene(pack_scene(scene_of(body, rig, ("a logo",) + ("",) * (len(rig) - 1))))
    assert scene.cameras is not None
    again = cameras_from(scene.cameras)
    assert np.array_equal(again.T_world_cam, rig.T_world_cam)
    assert np.array_equal(again.K, rig.K)
    assert (again.names, again.kinds) == (rig.names, rig.kinds)
    assert scene.cameras.prompts[0] == "a logo"


def test_new_uvs_come_in_the_order_that_was_sent() -> None:
    from vitruvian.service.convert import new_corner_uvs

    sent = small_scene().mesh
    inside_out = MeshArrays(sent.name, sent.vertices, np.ascontiguousarray(sent.faces[:, ::-1]))
    straight, turned = body_from(sent), body_from(inside_out)
    a, b = new_corner_uvs(sent, straight.mesh), new_corner_uvs(inside_out, turned.mesh)
    assert a is not None
    assert b is not None
    assert np.array_equal(a, b[:, ::-1])
    assert new_corner_uvs(scene_with(a, sent).mesh, body_from(scene_with(a, sent).mesh).mesh) is None


def test_what_may_spoil_a_result_is_told() -> None:
    body = anny_body()
    assert doubts_about(scene_of(body, None)) == []
    mesh = scene_of(body, None).mesh
    again = replace(mesh, faces=np.concatenate([mesh.faces, mesh.faces[:3]]), corner_uvs=None)
    told = doubts_about(Scene(again))
    assert any("twice" in sentence for sentence in told)
    assert not any("UV" in sentence for sentence in told)


def scene_with(uvs: np.ndarray, mesh: MeshArrays) -> Scene:
    return Scene(MeshArrays(mesh.name, mesh.vertices, mesh.faces, np.ascontiguousarray(uvs, np.float32)))
