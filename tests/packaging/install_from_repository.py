"""Runs in Blender's module: adds a static repository, installs the extension from it, writes what was seen.

python install_from_repository.py URL RESULT.json
"""

import json
import os
import sys
import traceback
from pathlib import Path

import bpy  # pyright: ignore[reportMissingImports]  (Blender's own environment)


def main(url: str, result: str) -> None:
    # Blender asks for it even where the URL is a file.
    bpy.context.preferences.system.use_online_access = True
    repositories = bpy.context.preferences.extensions.repos
    repositories.new(name="Studio", module="studio", remote_url=url)
    index = next(i for i, item in enumerate(repositories) if item.module == "studio")
    bpy.ops.extensions.repo_sync(repo_index=index)
    bpy.ops.extensions.package_install(repo_index=index, pkg_id="vitruvian", enable_on_install=True)
    import zmq  # pyright: ignore[reportMissingImports]  (came with the extension)

    enabled = "bl_ext.studio.vitruvian" in bpy.context.preferences.addons
    Path(result).write_text(json.dumps({"enabled": enabled, "zmq": zmq.zmq_version()}))


if __name__ == "__main__":
    code = 1
    try:
        main(*sys.argv[1:3])
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code)  # see install_zip.py
