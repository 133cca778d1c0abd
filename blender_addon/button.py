"""What all buttons share: a problem is told and nothing changes, or it is said what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bpy

from . import pump, runtime
from .problems import Problem


class Button:
    """Beside `bpy.types.Operator`, whose `poll` and `execute` it is.

    Each button has an `act`. No abstract base class asks for it, because Blender's operators have a metaclass
    of their own, which abc's cannot stand beside; a case of the tests does.
    """

    in_panel = False
    """Whether a problem stays in the panel, with its remedy's button, until such a button goes through."""

    if TYPE_CHECKING:

        def act(self, context: bpy.types.Context) -> str | None:
            """Each button's own; returns what the artist is told, if anything.

            Raises:
                Problem: nothing was changed.
            """

        def report(self, kind: set[str], message: str) -> None: ...

        @classmethod
        def poll_message_set(cls, message: str) -> None: ...

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        """What has to be done before it can be pressed; "" when it can. Quick: panels ask at each draw."""
        return ""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = cls.why_not(context)
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            said = self.act(context)
        except Problem as problem:
            if self.in_panel:
                runtime.session().refusal = problem.told
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        if self.in_panel:
            runtime.session().refusal = None
        if said:
            self.report({"INFO"}, said)
        pump.wake()
        return {"FINISHED"}
