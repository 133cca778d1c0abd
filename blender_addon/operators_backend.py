"""Buttons for the backend: install, start, stop, reconnect, keys, log."""

import bpy

from . import compat, preferences, runtime
from .button import Button
from .problems import Problem


class VITRUVIAN_OT_backend_install(Button, bpy.types.Operator):
    """Make the backend's own Python environment, outside Blender's; the log tells how it goes"""

    bl_idname = "vitruvian.backend_install"
    bl_label = "Install the Backend"

    def act(self, context: bpy.types.Context) -> None:
        if not compat.online_access():
            raise Problem(
                "OFFLINE", "Blender may not use the network", "Allow Online Access in Preferences > System"
            )
        wanted = preferences.get()
        python, source = (wanted.python, wanted.source) if wanted else ("python3", "vitruvian")
        runtime.backend().install(bpy.path.abspath(python), bpy.path.abspath(source))


class VITRUVIAN_OT_backend_start(Button, bpy.types.Operator):
    """Start the backend on this computer; one that runs already is used"""

    bl_idname = "vitruvian.backend_start"
    bl_label = "Start"
    in_panel = True

    def act(self, context: bpy.types.Context) -> None:
        runtime.start_backend()
        runtime.connect().reconnect()


class VITRUVIAN_OT_backend_stop(Button, bpy.types.Operator):
    """Stop the backend on this computer; its jobs are kept and go on when it starts again"""

    bl_idname = "vitruvian.backend_stop"
    bl_label = "Stop"

    def act(self, context: bpy.types.Context) -> None:
        backend = runtime.backend()
        if backend.state == "installing":
            backend.cancel_install()
        else:
            runtime.session().disconnect()
            backend.stop()


class VITRUVIAN_OT_reconnect(Button, bpy.types.Operator):
    """Connect to the backend that the preferences name"""

    bl_idname = "vitruvian.reconnect"
    bl_label = "Connect"
    in_panel = True

    def act(self, context: bpy.types.Context) -> None:
        runtime.session().disconnect()
        runtime.connect()


class VITRUVIAN_OT_release_memory(Button, bpy.types.Operator):
    """Let idle workers give their graphics memory back, so that Blender can render"""

    bl_idname = "vitruvian.release_memory"
    bl_label = "Give Memory Back"

    def act(self, context: bpy.types.Context) -> None:
        runtime.session().release_memory()


class VITRUVIAN_OT_make_keys(Button, bpy.types.Operator):
    """Make this computer's key pair; it is kept in your own folder, never in a .blend"""

    bl_idname = "vitruvian.make_keys"
    bl_label = "Make My Key"

    def act(self, context: bpy.types.Context) -> str:
        runtime.need_packages()
        if not runtime.my_public_key():
            runtime.make_keys()
        context.window_manager.clipboard = runtime.my_public_key()
        return "Your public key is on the clipboard: send it to the administrator"


class VITRUVIAN_OT_copy_public_key(Button, bpy.types.Operator):
    """Copy this computer's public key, for the server's administrator"""

    bl_idname = "vitruvian.copy_public_key"
    bl_label = "Copy My Key"

    def act(self, context: bpy.types.Context) -> str:
        key = runtime.my_public_key()
        if not key:
            raise Problem("KEYS", "This computer has no key yet", "Make one in the preferences")
        context.window_manager.clipboard = key
        return "Your public key is on the clipboard"


class VITRUVIAN_OT_open_log(Button, bpy.types.Operator):
    """Open the backend's log"""

    bl_idname = "vitruvian.open_log"
    bl_label = "Open the Log"

    def act(self, context: bpy.types.Context) -> None:
        backend = runtime.backend()
        installing = backend.state == "installing" or backend.install_failed or not backend.serve_log.exists()
        path = backend.install_log if installing else backend.serve_log
        if not path.exists():
            raise Problem("NO_LOG", "There is no log yet", "Install or start the backend first")
        bpy.ops.wm.path_open(filepath=str(path))


class VITRUVIAN_OT_open_preferences(Button, bpy.types.Operator):
    """Open this add-on's preferences"""

    bl_idname = "vitruvian.open_preferences"
    bl_label = "Open the Preferences"

    def act(self, context: bpy.types.Context) -> None:
        bpy.ops.preferences.addon_show(module=compat.PACKAGE)


CLASSES = (
    VITRUVIAN_OT_backend_install,
    VITRUVIAN_OT_backend_start,
    VITRUVIAN_OT_backend_stop,
    VITRUVIAN_OT_reconnect,
    VITRUVIAN_OT_release_memory,
    VITRUVIAN_OT_make_keys,
    VITRUVIAN_OT_copy_public_key,
    VITRUVIAN_OT_open_log,
    VITRUVIAN_OT_open_preferences,
)
