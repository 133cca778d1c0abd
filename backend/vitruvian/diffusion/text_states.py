"""What the networks are told, in words and by a picture: one value for the denoiser's wrappers to pass on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class TextStates:
    """Encoded prompts of N views, or K texts for each of N views: the leading axes are the same in all parts.

    Indexing takes the same rows out of every part.
    """

    states: Float[Tensor, "*B L D"]
    """Of all text encoders side by side: what cross-attention reads."""
    pooled: Float[Tensor, "*B P"] | None = None
    """The whole prompt in one vector; SDXL's networks read it beside the time."""
    picture: Float[Tensor, "*B 1 *E"] | None = None
    """A picture as an IP-Adapter's image encoder sees it; not words, but told and guided in the same way."""

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, index: Any) -> TextStates:
        return self.each(lambda part: part[index])

    def each(self, change: Callable[[Tensor], Tensor]) -> TextStates:
        """With `change` made to every part."""
        pooled, picture = (None if part is None else change(part) for part in (self.pooled, self.picture))
        return TextStates(change(self.states), pooled, picture)

    def flatten(self) -> TextStates:
        """The two leading axes as one."""
        return self.each(lambda part: part.flatten(0, 1))

    @staticmethod
    def stack(texts: Sequence[TextStates]) -> TextStates:
        """K texts a view from K times one; they have the same parts."""
        states = torch.stack([text.states for text in texts])
        pooled = [text.pooled for text in texts if text.pooled is not None]
        picture = [text.picture for text in texts if text.picture is not None]
        return TextStates(
            states, torch.stack(pooled) if pooled else None, torch.stack(picture) if picture else None
        )
