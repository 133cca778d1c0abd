"""Papers, one file each. A method is `run(inputs, settings, prior, report) -> Avatar`."""

from vitruvian.methods import mvhuman

METHODS = {"mvhuman": (mvhuman.MVHumanSettings, mvhuman.run)}
"""By the name a user gives: the type of its settings, and the method."""
