"""The attention bank on a UNet with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vitruvian.diffusion.attention import AttentionBank, attention_bank, with_reference
from vitruvian.diffusion.denoiser import NoiseLevel, TextDenoiser, make_denoiser, view_chunks, with_guidance
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.text import encode_prompts
from vitruvian.diffusion.text_states import TextStates

VIEWS = 4
LEVEL = NoiseLevel(600.0, 0.6, 0.8, 2, 10)


def latents(seed: int = 0, views: int = VIEWS) -> Tensor:
    return torch.randn(views, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def conditions(views: int = VIEWS) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(9)
    return {name: torch.rand(views, 3, 32, 32, generator=generator) for name in ("depth", "normal")}


def text_of(tiny: Prior, texts: int) -> TextStates:
    both = [encode_prompts(tiny, [prompt] * VIEWS) for prompt in ("", "red shirt")]
    return TextStates.stack(both[-texts:])


def evaluate(denoise: TextDenoiser, x_t: Tensor, text: TextStates, chunks: Sequence[Sequence[int]]) -> Tensor:
    rows = [denoise(x_t[list(v)], LEVEL, text[:, list(v)], v) for v in chunks]
    order = [view for views in chunks for view in views]
    return torch.cat(rows, dim=1)[:, torch.tensor(order).argsort()]


def test_empty_bank_is_plain_attention(tiny: Prior) -> None:
    x_t, text = latents(), text_of(tiny, 2)
    denoise = make_denoiser(tiny, conditions(), {})
    plain = denoise(x_t, LEVEL, text, range(VIEWS))
    with attention_bank(tiny.unet) as bank:
        assert torch.equal(denoise(x_t, LEVEL, text, range(VIEWS)), plain)
        bank.mode = "read"
        assert torch.equal(denoise(x_t, LEVEL, text, range(VIEWS)), plain)


def test_unet_is_as_before_also_after_an_error(tiny: Prior) -> None:
    before = dict(tiny.unet.attn_processors)

    def fail() -> None:
        with attention_bank(tiny.unet):
            assert tiny.unet.attn_processors != before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert tiny.unet.attn_processors == before


def test_a_reference_equal_to_the_view_changes_nothing(tiny: Prior) -> None:
    """Softmax over every key twice is softmax over every key once."""
    x_t = latents(views=1).repeat(VIEWS, 1, 1, 1)
    same = {name: image[:1].repeat(VIEWS, 1, 1, 1) for name, image in conditions().items()}
    denoise = make_denoiser(tiny, same, {})
    plain = denoise(x_t, LEVEL, text_of(tiny, 2), range(VIEWS))
    with attention_bank(tiny.unet) as bank:
        referenced = with_reference(denoise, bank, [2])
        result = evaluate(referenced, x_t, text_of(tiny, 2), view_chunks(VIEWS, 8, [2]))
    torch.testing.assert_close(result, plain, atol=1e-5, rtol=1e-4)


def run_with_reference(tiny: Prior, x_t: Tensor, text: TextStates, chunk: int, end: float = 1.0) -> Tensor:
    with attention_bank(tiny.unet) as bank:
        denoise = with_reference(make_denoiser(tiny, conditions(), {}), bank, [1], end)
        return evaluate(denoise, x_t, text, view_chunks(VIEWS, chunk, [1]))


def test_views_follow_the_reference_and_it_follows_nobody(tiny: Prior) -> None:
    x_t, text = latents(), text_of(tiny, 1)
    changed = x_t.clone()
    changed[1] = latents(seed=7)[1]
    first, second = run_with_reference(tiny, x_t, text, 8), run_with_reference(tiny, changed, text, 8)
    assert (first[0, 0] - second[0, 0]).abs().max() > 1e-6
    changed = x_t.clone()
    changed[0] = latents(seed=7)[0]
    assert torch.equal(run_with_reference(tiny, changed, text, 8)[0, 1], first[0, 1])


def test_chunks_do_not_matter(tiny: Prior) -> None:
    x_t, text = latents(), text_of(tiny, 2)
    whole, single = (run_with_reference(tiny, x_t, text, chunk) for chunk in (8, 1))
    torch.testing.assert_close(whole, single, atol=1e-5, rtol=1e-4)


def test_each_half_of_guidance_has_its_own_reference(tiny: Prior) -> None:
    """Both halves together give what each gives alone."""
    x_t, text = latents(), text_of(tiny, 2)
    both = run_with_reference(tiny, x_t, text, 8)
    for half in range(2):
        alone = run_with_reference(tiny, x_t, text[half : half + 1], 8)
        torch.testing.assert_close(both[half : half + 1], alone, atol=1e-5, rtol=1e-4)


def test_after_its_end_views_are_on_their_own(tiny: Prior) -> None:
    x_t, text = latents(), text_of(tiny, 2)
    plain = evaluate(make_denoiser(tiny, conditions(), {}), x_t, text, view_chunks(VIEWS, 8, [1]))
    assert torch.equal(run_with_reference(tiny, x_t, text, 8, end=0.1), plain)
    assert not torch.equal(run_with_reference(tiny, x_t, text, 8, end=0.5), plain)


def test_conditions_belong_to_their_views(tiny: Prior) -> None:
    """A view alone is painted as in the batch: its own conditions, nobody else's."""
    x_t, text = latents(), text_of(tiny, 2)
    denoise = make_denoiser(tiny, conditions(), {})
    both = [
        with_guidance(denoise, text[1], text[0], 3.0, chunks)(x_t, LEVEL)
        for chunks in ([[0, 1, 2, 3]], [[3], [2, 0], [1]])
    ]
    torch.testing.assert_close(both[0], both[1], atol=1e-5, rtol=1e-4)


def test_conditions_and_their_weights_matter(tiny: Prior) -> None:
    from vitruvian.diffusion.weights import ControlWeight

    x_t, text = latents(), text_of(tiny, 1)
    images = conditions()
    results = [
        make_denoiser(tiny, images, weights)(x_t, LEVEL, text, range(VIEWS))
        for weights in ({}, {"depth": ControlWeight(0.0, 0.0)}, {"normal": ControlWeight(0.5, 0.5)})
    ]
    without_depth = make_denoiser(tiny, {"normal": images["normal"]}, {})(x_t, LEVEL, text, range(VIEWS))
    assert not torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    torch.testing.assert_close(results[1], without_depth, atol=1e-5, rtol=1e-4)


def test_bank_starts_off() -> None:
    assert AttentionBank().mode == "off"
    assert AttentionBank().tokens == {}


def test_the_bank_keeps_fused_attention(tiny: Prior) -> None:
    """Every self-attention still goes through torch's own, with the reference's tokens beside the view's."""
    seen: list[tuple[int, int]] = []

    class Look(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.nn.functional.scaled_dot_product_attention:
                query, key = args[:2]
                seen.append((query.shape[-2], key.shape[-2]))
            return func(*args, **(kwargs or {}))

    x_t, text = latents(), text_of(tiny, 2)
    with Look():
        evaluate(make_denoiser(tiny, {}, {}), x_t, text, view_chunks(VIEWS, 8, [1]))
    plain = list(seen)
    seen.clear()
    with attention_bank(tiny.unet) as bank, Look():
        evaluate(
            with_reference(make_denoiser(tiny, {}, {}), bank, [1]), x_t, text, view_chunks(VIEWS, 8, [1])
        )
    assert len(seen) == len(plain) > 0
    assert any(keys == 2 * queries for queries, keys in seen)
    assert not any(keys == 2 * queries for queries, keys in plain)
