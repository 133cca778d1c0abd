"""What all buttons share: a problem is told and nothing changes, or it is said what was done."""

from __future__ import annotations

import bpy

from . import pump, runtime
from .problems import Problem


class Button:
    """Beside `bpy.types.Operator`, whose `execute` it is."""

    in_panel = False
    """Whether a problem stays in the panel, with its remedy's button, after its report is gone."""

    def act(self, context: bpy.types.Context) -> str | None:
        """Each button's own; returns what the artist is told, if anything.

        Raises:
            Problem: nothing was changed.
        """
        raise NotImplementedError

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            said = self.act(context)
        except Problem as problem:
            if self.in_panel:
                runtime.session().error = problem.told
            self.report({"ERROR"}, str(problem))  # pyright: ignore[reportAttributeAccessIssue]
            return {"CANCELLED"}
        if said:
            self.report({"INFO"}, said)  # pyright: ignore[reportAttributeAccessIssue]
        pump.wake()
        return {"FINISHED"}
