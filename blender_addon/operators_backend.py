"""Buttons for the backend: install, start, stop, reconnect, keys, log."""

import bpy

from . import compat, preferences, pump, runtime
from .operators_scene import refuse
from .problems import Problem


class VITRUVIAN_OT_backend_install(bpy.types.Operator):
    """Make the backend's own Python environment, outside Blender's; the log tells how it goes"""

    bl_idname = "vitruvian.backend_install"
    bl_label = "Install the Backend"

    def execute(self, context: bpy.types.Context) -> set[str]:
        wanted = preferences.get()
        if not compat.online_access():
            return refuse(
                self,
                Problem(
                    "OFFLINE",
                    "Blender may not use the network",
                    "Allow Online Access in Preferences > System",
                ),
            )
        python, source = (wanted.python, wanted.source) if wanted else ("python3", "vitruvian")
        try:
            runtime.backend().install(bpy.path.abspath(python), bpy.path.abspath(source))
        except Problem as problem:
            return refuse(self, problem)
        pump.wake()
        return {"FINISHED"}


class VITRUVIAN_OT_backend_start(bpy.types.Operator):
    """Start the backend on this computer; one that runs already is used"""

    bl_idname = "vitruvian.backend_start"
    bl_label = "Start"

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            runtime.start_backend()
            runtime.connect().reconnect()
        except Problem as problem:
            runtime.session().error = problem.told
            return refuse(self, problem)
        pump.wake()
        return {"FINISHED"}


class VITRUVIAN_OT_backend_stop(bpy.types.Operator):
    """Stop the backend on this computer; its jobs are kept and go on when it starts again"""

    bl_idname = "vitruvian.backend_stop"
    bl_label = "Stop"

    def execute(self, context: bpy.types.Context) -> set[str]:
        backend = runtime.backend()
        if backend.state == "installing":
            backend.cancel_install()
            return {"FINISHED"}
        runtime.session().disconnect()
        backend.stop()
        pump.wake()
        return {"FINISHED"}


class VITRUVIAN_OT_reconnect(bpy.types.Operator):
    """Connect to the backend that the preferences name"""

    bl_idname = "vitruvian.reconnect"
    bl_label = "Connect"

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            runtime.session().disconnect()
            runtime.connect()
        except Problem as problem:
            runtime.session().error = problem.told
            return refuse(self, problem)
        pump.wake()
        return {"FINISHED"}


class VITRUVIAN_OT_release_memory(bpy.types.Operator):
    """Let idle workers give their graphics memory back, so that Blender can render"""

    bl_idname = "vitruvian.release_memory"
    bl_label = "Give Memory Back"

    def execute(self, context: bpy.types.Context) -> set[str]:
        runtime.session().release_memory()
        return {"FINISHED"}


class VITRUVIAN_OT_make_keys(bpy.types.Operator):
    """Make this computer's key pair; it is kept in your own folder, never in a .blend"""

    bl_idname = "vitruvian.make_keys"
    bl_label = "Make My Key"

    def execute(self, context: bpy.types.Context) -> set[str]:
        if runtime.missing_packages():
            return refuse(
                self, Problem("PACKAGES", "The bundled packages are missing", "Install the add-on's zip")
            )
        if not runtime.my_public_key():
            runtime.make_keys()
        context.window_manager.clipboard = runtime.my_public_key()
        self.report({"INFO"}, "Your public key is on the clipboard: send it to the administrator")
        return {"FINISHED"}


class VITRUVIAN_OT_copy_public_key(bpy.types.Operator):
    """Copy this computer's public key, for the server's administrator"""

    bl_idname = "vitruvian.copy_public_key"
    bl_label = "Copy My Key"

    def execute(self, context: bpy.types.Context) -> set[str]:
        key = runtime.my_public_key()
        if not key:
            return refuse(
                self, Problem("KEYS", "This computer has no key yet", "Make one in the preferences")
            )
        context.window_manager.clipboard = key
        return {"FINISHED"}


class VITRUVIAN_OT_open_log(bpy.types.Operator):
    """Open the backend's log"""

    bl_idname = "vitruvian.open_log"
    bl_label = "Open the Log"

    def execute(self, context: bpy.types.Context) -> set[str]:
        backend = runtime.backend()
        installing = backend.state == "installing" or backend.install_failed or not backend.serve_log.exists()
        path = backend.install_log if installing else backend.serve_log
        if not path.exists():
            self.report({"WARNING"}, "There is no log yet")
            return {"CANCELLED"}
        bpy.ops.wm.path_open(filepath=str(path))
        return {"FINISHED"}


class VITRUVIAN_OT_open_preferences(bpy.types.Operator):
    """Open this add-on's preferences"""

    bl_idname = "vitruvian.open_preferences"
    bl_label = "Open the Preferences"

    def execute(self, context: bpy.types.Context) -> set[str]:
        bpy.ops.preferences.addon_show(module=compat.PACKAGE)
        return {"FINISHED"}


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
