"""Time that processes spent on the processor: unlike the clock on the wall it hardly changes with what else a
machine does, so a job through Blender can be compared with the same job alone on a busy one. Linux only.
"""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def seconds_of_family(pid: int) -> float:
    """What a process and all its descendants have spent so far, threads and ended children included."""
    parents, spent = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue  # it has just ended
            fields = text.rpartition(")")[2].split()  # after its name, which may hold anything
            parents[int(entry.name)] = int(fields[1])
            spent[int(entry.name)] = sum(map(int, fields[11:15])) / TICKS
    family, found = {pid}, True
    while found:
        found = {child for child, parent in parents.items() if parent in family} - family
        family |= found
    return sum(spent.get(member, 0.0) for member in family)
