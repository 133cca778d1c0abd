"""A device that is not there: tensors that say they are on it, compute on the processor, and refuse to meet
others.

What runs on it keeps every tensor where it belongs. It does not say that CUDA has the operations used, or how
fast they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from vitruvian.diffusion import rows

CARD = torch.device("meta")
_MAY_CROSS = ("aten._to_copy", "aten.copy_", "aten.index.", "aten.index_put", "aten._index_put")
"""Operations that may see both devices: copies, and indices on the processor."""


class CardTensor(Tensor):
    """A tensor on the card that is not there; `inner` holds its values."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> CardTensor:
        made = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            cls, inner.shape, strides=inner.stride(), dtype=inner.dtype, device=CARD
        )
        made.inner = inner
        return made

    def __repr__(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        return f"CardTensor({self.inner})"

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})


class _SparseCard:
    """A sparse matrix on the card, for products only."""

    def __init__(self, inner: Tensor) -> None:
        self._inner = inner

    def __matmul__(self, other: Tensor) -> Tensor:
        if not isinstance(other, CardTensor):
            raise RuntimeError("sparse product: Expected all tensors to be on the same device")
        return CardTensor(self._inner @ other.inner)


def _lists_as_tensors(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(_lists_as_tensors(part) for part in index)
    return torch.tensor(index) if isinstance(index, list) else index


class _Functions(TorchFunctionMode):
    """What torch does for literals and sparse matrices without a call that could be caught below."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") == CARD:
            return func(*args, **{**kwargs, "device": "cpu"}).to(CARD)
        if func is Tensor.new_tensor and isinstance(args[0], CardTensor):
            return torch.tensor(args[1], dtype=kwargs.get("dtype", args[0].dtype)).to(CARD)
        if func is Tensor.tolist and isinstance(args[0], CardTensor):
            return args[0].inner.tolist()
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[0], CardTensor):
            args = (args[0], _lists_as_tensors(args[1]), *args[2:])
        if func is torch.sparse_csr_tensor and any(isinstance(part, CardTensor) for part in args):
            if not all(isinstance(part, CardTensor) for part in args[:3]):
                raise RuntimeError("sparse_csr_tensor: Expected all tensors to be on the same device")
            kwargs.pop("device", None)
            return _SparseCard(func(*(p.inner if isinstance(p, CardTensor) else p for p in args), **kwargs))
        return func(*args, **kwargs)


class _Card(TorchDispatchMode):
    """Catches what makes tensors on the card without having one."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`func` on the processor; the result is on the card where it would be."""
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    on_card = any(isinstance(tensor, CardTensor) for tensor in tensors)
    bare = [t for t in tensors if not isinstance(t, CardTensor) and t.device == CARD]
    assert not bare, f"{func} made a tensor that this stand-in missed"
    strangers = [
        t for t in tensors if not isinstance(t, CardTensor) and t.ndim > 0 and t.device.type == "cpu"
    ]
    if on_card and strangers and not str(func).startswith(_MAY_CROSS):
        raise RuntimeError(f"{func}: Expected all tensors to be on the same device, but found two")
    asked = kwargs.get("device")
    if asked is not None:
        on_card = torch.device(asked).type == "meta"
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if str(func).startswith(("aten.copy_", "aten.index_put_", "aten._index_put")):
        on_card = isinstance(args[0], CardTensor)
    kwargs = {key: False if key in ("pin_memory", "non_blocking") else value for key, value in kwargs.items()}
    plain_args, plain_kwargs = tree_map(lambda v: v.inner if isinstance(v, CardTensor) else v, (args, kwargs))
    result = func(*plain_args, **plain_kwargs)
    known = {id(t.inner): t for t in tensors if isinstance(t, CardTensor)}

    def wrap(value: Any) -> Any:
        if not isinstance(value, Tensor) or not on_card:
            return value
        return known.get(id(value)) if id(value) in known else CardTensor(value)

    return tree_map(wrap, result)


@contextmanager
def pretend_card(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Such a device is there for the length of the block."""
    with monkeypatch.context() as patched, _Functions(), _Card():
        patched.setattr(torch, "autocast", lambda *arguments, **options: nullcontext())
        # Indices are kept by device: those of this card are none for real tensors of the meta device.
        patched.setattr(rows, "_rows_of", rows._rows_of.__wrapped__)
        yield CARD


def put_on_card(module: torch.nn.Module) -> None:
    """`module.to(CARD)`, in place."""
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None:
                part._parameters[name] = torch.nn.Parameter(CardTensor(value.data), requires_grad=False)
        for name, value in part._buffers.items():
            if value is not None:
                part._buffers[name] = CardTensor(value.data)
