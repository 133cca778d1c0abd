"""Runs in Blender's module, where pyzmq and msgpack are not: installs the extension's zip, uses what it
brought, removes it, and writes what was seen.

python install_zip.py ZIP RESULT.json
"""

import importlib.metadata
import importlib.util
import json
import os
import sys
import traceback
from pathlib import Path

import bpy  # pyright: ignore[reportMissingImports]  (Blender's own environment)

MODULE = "bl_ext.user_default.vitruvian"
BUNDLED = ("zmq", "msgpack", "vitruvian_protocol")


def main(source: str, result: str) -> None:
    seen: dict[str, object] = {"before": found(), "blender": bpy.app.version_string}
    bpy.ops.extensions.package_install_files(filepath=source, repo="user_default", enable_on_install=True)
    seen["enabled"] = MODULE in bpy.context.preferences.addons
    seen["places"] = found()
    seen["protocol"] = importlib.metadata.version("vitruvian_protocol")
    seen["echo"] = echo({"text": "grüß Gott", "bytes": b"\0\1"})
    seen["registered"] = sorted(name for name in dir(bpy.types) if name.startswith("VITRUVIAN_"))
    repositories = bpy.context.preferences.extensions.repos
    index = next(i for i, item in enumerate(repositories) if item.module == "user_default")
    bpy.ops.extensions.package_uninstall(repo_index=index, pkg_id="vitruvian")
    seen["registered_after"] = sorted(name for name in dir(bpy.types) if name.startswith("VITRUVIAN_"))
    packages = Path(bpy.utils.resource_path("USER"), "extensions", ".local").glob(
        "lib/python*/site-packages/*"
    )
    seen["left"] = sorted(path.name for path in packages)
    Path(result).write_text(json.dumps(seen))


def found() -> dict[str, str | None]:
    """Where each bundled package would be imported from."""
    specs = {name: importlib.util.find_spec(name) for name in BUNDLED}
    return {name: spec.origin if spec else None for name, spec in specs.items()}


def echo(message: dict[str, object]) -> bool:
    """Whether a message comes back over a socket as it was: the bundled C extensions at work."""
    import msgpack
    import zmq

    with zmq.Context() as context, context.socket(zmq.ROUTER) as server, context.socket(zmq.DEALER) as client:
        port = server.bind_to_random_port("tcp://127.0.0.1")
        client.connect(f"tcp://127.0.0.1:{port}")
        client.send(msgpack.packb(message) or b"")
        assert server.poll(10_000), "the message did not arrive"
        server.send_multipart(server.recv_multipart())
        assert client.poll(10_000), "the answer did not arrive"
        return msgpack.unpackb(client.recv()) == message


if __name__ == "__main__":
    code = 1
    try:
        main(*sys.argv[1:3])
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    # Blender 4.x can hang at the interpreter's end once an add-on was enabled; what is tested is done.
    os._exit(code)
