"""What belongs to this computer rather than to a file: where the backend is, its keys, its environment."""

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from . import compat, runtime


class VitruvianPreferences(bpy.types.AddonPreferences):
    """Shown in Blender's preferences, under the add-on."""

    bl_idname = compat.PACKAGE

    backend: EnumProperty(
        name="Backend",
        items=[
            ("LOCAL", "This computer", "Started and stopped by the add-on"),
            ("REMOTE", "A server", "An address that somebody else looks after"),
        ],
    )
    address: StringProperty(
        name="Address", description="Like tcp://gpu.studio.lan:29517", default="tcp://127.0.0.1:29517"
    )
    server_key: StringProperty(name="Server's key", description="Its public key, 40 characters")
    use_keys: BoolProperty(
        name="Encrypt", description="Needed for any server that is not this computer", default=True
    )
    python: StringProperty(
        name="Python",
        description="A Python 3.11 or newer outside Blender, for the backend's own environment",
        default="python3",
    )
    source: StringProperty(
        name="Install from",
        description="The project's folder, a wheel, or a package's name",
        default="vitruvian",
        subtype="FILE_PATH",
    )
    command: StringProperty(
        name="Program",
        description="A `vitruvian` that is installed already; empty uses the add-on's own environment",
        subtype="FILE_PATH",
    )
    auto_start: BoolProperty(
        name="Start when needed", description="Start the local backend at the first Generate", default=True
    )

    def draw(self, _: bpy.types.Context) -> None:
        layout = self.layout
        layout.prop(self, "backend", expand=True)
        if self.backend == "REMOTE":
            self._draw_remote(layout)
        else:
            self._draw_local(layout)
        layout.label(text=f"Results and logs: {compat.user_folder()}", icon="FILE_FOLDER")

    def _draw_remote(self, layout: bpy.types.UILayout) -> None:
        if not compat.online_access():
            layout.label(text="Allow Online Access in Preferences > System to use a server", icon="ERROR")
        layout.prop(self, "address")
        layout.prop(self, "use_keys")
        if self.use_keys:
            layout.prop(self, "server_key")
            key = runtime.my_public_key()
            row = layout.row()
            row.label(text=f"My key: {key}" if key else "This computer has no key yet")
            name = "vitruvian.copy_public_key" if key else "vitruvian.make_keys"
            row.operator(name)
        layout.operator("vitruvian.reconnect")

    def _draw_local(self, layout: bpy.types.UILayout) -> None:
        backend = runtime.backend()
        layout.prop(self, "command")
        column = layout.column()
        column.enabled = not self.command
        column.prop(self, "python")
        column.prop(self, "source")
        row = column.row()
        row.operator("vitruvian.backend_install")
        row.operator("vitruvian.open_log")
        layout.prop(self, "auto_start")
        layout.label(text=f"Backend: {backend.state}")
        if backend.install_failed:
            layout.label(text="The installation failed; the log says why", icon="ERROR")
        box = layout.box().column(align=True)
        for line in backend.tail(6):
            box.label(text=line[:160])


CLASSES = (VitruvianPreferences,)


def get() -> VitruvianPreferences | None:
    """The preferences; None while the add-on is not enabled through Blender (in scripts and tests)."""
    addon = bpy.context.preferences.addons.get(compat.PACKAGE)
    return addon.preferences if addon else None


def register() -> None:
    for kind in CLASSES:
        bpy.utils.register_class(kind)


def unregister() -> None:
    for kind in reversed(CLASSES):
        bpy.utils.unregister_class(kind)
