"""Work shared out among the cores."""

from __future__ import annotations

import threading

import pytest
import torch

from vitruvian.core.parallel import for_each

CPU = torch.device("cpu")


def test_results_keep_the_order_of_the_items() -> None:
    assert for_each(lambda n: n * n, range(50), CPU) == [n * n for n in range(50)]


def test_each_item_runs_on_one_thread_without_gradients_and_nothing_is_left_changed() -> None:
    threads = torch.get_num_threads()
    weight = torch.ones(3, requires_grad=True)

    def work(_: int) -> tuple[int, bool, int]:
        return torch.get_num_threads(), (weight * 2).requires_grad, threading.get_ident()

    found = for_each(work, range(8), CPU)
    if threads > 1:
        assert {inner for inner, _, _ in found} == {1}
        assert threading.get_ident() not in {thread for _, _, thread in found}
    assert not any(gradient for _, gradient, _ in found)
    assert torch.get_num_threads() == threads
    assert (weight * 2).requires_grad


def test_an_error_reaches_the_caller() -> None:
    def work(n: int) -> int:
        if n == 3:
            raise ValueError("three")
        return n

    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="three"):
        for_each(work, range(5), CPU)
    assert torch.get_num_threads() == before
