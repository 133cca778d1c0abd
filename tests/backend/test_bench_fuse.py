"""What `vitruvian bench fuse` measures, on small views."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from vitruvian.evaluate.bench.fuse import bench_fuse
from vitruvian.evaluate.bench.memory import peak_growth
from vitruvian.evaluate.protocol import Target

CPU = torch.device("cpu")


@cache
def lines() -> dict[str, Target]:
    found = bench_fuse(CPU, sizes=(512, 1024), view_size=128)
    return {line.what: line for line in found}


def test_the_parts_add_up_to_the_whole() -> None:
    parts = [line.value for what, line in lines().items() if what.startswith("512 px: ") and line.unit == "s"]
    plain = lines()["512 px: back-projection with grid_sample"].value
    assert sum(parts) - plain == pytest.approx(lines()["512 px"].value)
    assert lines()["512 px: time against it"].value == pytest.approx(lines()["512 px"].value / plain)


def test_fusion_shows_the_pattern_better_than_plain_back_projection() -> None:
    for size in (512, 1024):
        ours = lines()[f"{size} px: where coverage is above 0.3"].value
        assert ours > lines()[f"{size} px: back-projection there"].value + 3.0


def test_growth_compares_the_two_largest_sizes() -> None:
    (line,) = [line for what, line in lines().items() if "exponent" in what]
    assert line.what == "time against pixels, 512 to 1024 px: exponent"
    assert line.met == (line.value <= 1.0)


def test_memory_growth_is_what_the_work_held_at_once() -> None:
    def work() -> int:
        return len(torch.zeros(50_000_000).fill_(1.0))

    count, grown = peak_growth(work, CPU)
    assert count == 50_000_000
    assert 0.15 < grown < 0.4
