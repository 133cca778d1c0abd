"""Memory modes: chunks that shrink when memory runs out, and networks that come and go. Results stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from vitruvian.core.errors import UserError
from vitruvian.diffusion.catalogue import VramMode
from vitruvian.diffusion.chunks import ChunkSize, in_chunks, is_out_of_memory
from vitruvian.diffusion.consistency import ConsistencySettings, every_n_within
from vitruvian.diffusion.counting import affordable_every_n, cost_of, count, on_meta, weight_bytes
from vitruvian.diffusion.denoiser import NoiseLevel, make_denoiser, view_chunks, with_guidance
from vitruvian.diffusion.latents import decode, encode
from vitruvian.diffusion.memory import Residence, evenly, parts_of, plan_memory, resident
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.text import encode_prompts

VIEWS = 5
LEVEL = NoiseLevel(600.0, 0.6, 0.8, 2, 10)
CPU_SAYS = "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def paint(
    prior: Prior, size: int, break_at: Callable[[int], None] = lambda rows: None
) -> tuple[Tensor, ChunkSize]:
    """One guided step of all views; `break_at` is told how many rows go into the UNet, and may raise."""
    chunk = ChunkSize("views painted together", size)
    images = {name: rand(VIEWS, 3, 32, 32, seed=1).sigmoid() for name in prior.controlnets}
    text = [encode_prompts(prior, [words] * VIEWS) for words in ("red shirt", "")]
    handle = prior.unet.register_forward_pre_hook(lambda _, given: break_at(len(given[0])))
    try:
        guided = with_guidance(
            make_denoiser(prior, images, {}), text[0], text[1], 4.0, [range(VIEWS)], size=chunk
        )
        return guided(rand(VIEWS, 4, 8, 8), LEVEL), chunk
    finally:
        handle.remove()


def more_than(rows: int, error: Exception) -> Callable[[int], None]:
    def check(given: int) -> None:
        if given > rows:
            raise error

    return check


@pytest.mark.parametrize("size", [1, 2, 3, 16])
def test_a_view_does_not_depend_on_its_chunk(tiny: Prior, size: int) -> None:
    whole, _ = paint(tiny, VIEWS)
    torch.testing.assert_close(paint(tiny, size)[0], whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError(CPU_SAYS), MemoryError()]
)
def test_out_of_memory_is_tried_again_smaller_and_said(
    tiny: Prior, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    whole, _ = paint(tiny, VIEWS)
    made, chunk = paint(tiny, VIEWS, more_than(2, error))  # both halves of guidance of one view
    torch.testing.assert_close(made, whole, atol=1e-5, rtol=1e-4)
    assert chunk.size == 1
    assert [note.partition(": ")[2] for note in chunk.notes] == [
        "views painted together, 5 before, 2 from now on",
        "views painted together, 2 before, 1 from now on",
    ]
    assert caplog.messages == chunk.notes


def test_one_view_that_does_not_fit_is_an_error_with_a_remedy(tiny: Prior) -> None:
    with pytest.raises(UserError) as raised:
        paint(tiny, VIEWS, more_than(0, torch.OutOfMemoryError("no")))
    assert raised.value.field == "memory"
    assert "--memory low" in raised.value.remedy


def test_other_errors_pass() -> None:
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        in_chunks(range(3), ChunkSize("rows", 2), more_than_error)


def more_than_error(part: Sequence[int]) -> None:
    raise RuntimeError("shapes")


def test_every_item_is_done_once_and_in_order() -> None:
    done: list[int] = []
    failed: set[tuple[int, ...]] = set()

    def work(part: Sequence[int]) -> None:
        if tuple(part) == (4, 5, 6, 7) and tuple(part) not in failed:
            failed.add(tuple(part))
            raise torch.OutOfMemoryError("no")
        done.extend(part)

    size = ChunkSize("rows", 4)
    in_chunks(range(11), size, work)
    assert done == list(range(11))
    assert size.size == 2


@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_pictures_do_not_depend_on_their_chunk(tiny: Prior, chunk: int) -> None:
    latents = rand(VIEWS, 4, 8, 8)
    whole = decode(tiny, latents, VIEWS)
    torch.testing.assert_close(decode(tiny, latents, chunk), whole, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(encode(tiny, whole, chunk), encode(tiny, whole, VIEWS), atol=1e-5, rtol=1e-4)


def test_a_picture_that_does_not_fit_is_cut_into_tiles(tiny: Prior) -> None:
    latents = rand(2, 4, 32, 32)
    sizes: list[int] = []

    def check(_: Any, given: tuple[Tensor, ...]) -> None:
        sizes.append(given[0].shape[-1])
        if given[0].shape[-1] > 16:
            raise torch.OutOfMemoryError("no")

    handle = tiny.vae.decoder.register_forward_pre_hook(check)
    size = ChunkSize("pictures decoded together", 2, tile=64)
    try:
        made = decode(tiny, latents, size)
    finally:
        handle.remove()
    assert made.shape == (2, 3, 128, 128)
    assert size.tile == 64
    assert min(sizes) <= 16 < max(sizes)
    assert not tiny.vae.use_tiling
    # The middle of a tile sees nearly what it sees in the whole picture.
    assert (made - decode(tiny, latents))[..., 16:32, 16:32].abs().mean() < 0.05


@pytest.mark.parametrize("mode", ["auto", "low", "offload"])
def test_every_mode_makes_the_same(tiny: Prior, mode: VramMode) -> None:
    expected, _ = paint(tiny, VIEWS)
    with resident(tiny, mode):
        made, _ = paint(tiny, VIEWS)
        pictures = decode(tiny, made)
    assert torch.equal(made, expected)
    assert torch.equal(pictures, decode(tiny, expected))


class Card:
    """A stand-in for a graphics card: what is sent to it are copies, and it says how many bytes it holds."""

    def __init__(self, prior: Prior) -> None:
        self.prior = prior
        self.home = {id(t): t.data_ptr() for t in self.tensors()}

    def tensors(self) -> list[Tensor]:
        modules = [m for part in parts_of(self.prior).values() for m in part]
        return [t for m in modules for t in (*m.parameters(), *m.buffers())]

    def held(self) -> int:
        return sum(t.numel() * t.element_size() for t in self.tensors() if t.data_ptr() != self.home[id(t)])


def test_offloaded_networks_are_there_one_at_a_time(tiny: Prior) -> None:
    card, parts = Card(tiny), parts_of(tiny)
    largest = max(weight_bytes(*modules) for modules in parts.values())
    expected, _ = paint(tiny, VIEWS)
    held: list[tuple[str | None, int]] = []
    residence = Residence(parts, tiny.device, send=torch.clone)
    handles = [
        module.register_forward_hook(lambda *_: held.append((residence.present, card.held())))
        for modules in parts.values()
        for module in modules
    ]
    made, _ = paint(tiny, VIEWS)
    pictures = decode(tiny, made)
    residence.leave()
    for handle in handles:
        handle.remove()
    assert torch.equal(made, expected)
    assert torch.equal(pictures, decode(tiny, expected))
    assert {name for name, _ in held} == {"text", "unet", "controlnet depth", "controlnet normal"}
    assert all(0 < size <= largest for _, size in held)
    assert card.held() == 0
    paint(tiny, VIEWS)
    assert card.held() == 0, "a network came although nobody asked for it any more"


def test_plan_is_even_and_small_where_it_is_asked_to_be(tiny: Prior) -> None:
    assert [evenly(16, 8), evenly(16, 7), evenly(5, 4), evenly(3, 8)] == [8, 6, 3, 3]
    for mode in ("low", "offload"):
        plan = plan_memory(tiny, mode, 16, 32, 32)
        assert (plan.views, plan.pictures) == (1, 1)
    assert plan_memory(tiny, "auto", 16, 32, 32, chunk=3).views == 3
    with pytest.raises(UserError, match="unknown"):
        plan_memory(tiny, "none", 16, 32, 32)  # pyright: ignore[reportArgumentType]


def test_on_a_card_the_plan_is_what_fits(tiny: Prior, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for three views' bytes, three; the counting runs on shapes, so any device will do."""
    from vitruvian.diffusion import memory

    ghost = replace(on_meta(tiny), hash="ghost")
    view, picture = memory._bytes_each(memory.PriorKey(ghost), 32, 32)
    assert view > 0
    for views in (1, 3):
        monkeypatch.setattr(memory, "room_for_work", lambda prior, v=views: 1.25 * (v * view + 1))
        plan = plan_memory(ghost, "auto", 16, 32, 32)
        assert plan.views == evenly(16, views)
        assert plan.tiled == (picture > views * view + 1)


def test_counted_operations_are_those_of_the_layers(tiny: Prior) -> None:
    """A convolution of the UNet's input by hand, and sums that have to hold."""
    cost = count(tiny)
    assert set(cost.controlnets) == {"depth", "normal"}
    assert cost.step.operations == pytest.approx(
        2 * (cost.unet.operations + sum(c.operations for c in cost.controlnets.values()))
    )
    assert cost.guided(cancel_round_trip=True) == cost.decode.operations + 2 * cost.encode.operations
    larger = count(tiny, 64, 64)
    assert larger.decode.operations == pytest.approx(4 * cost.decode.operations)
    first = tiny.vae.encoder.conv_in
    by_hand = 2 * first.weight.numel() * 32 * 32
    assert cost.encode.operations > by_hand
    assert cost.decode.bytes >= 4 * 8 * 32 * 32  # the widest layer at full size, float32


def test_attention_is_counted_without_its_matrix() -> None:
    """As on a card, where no kernel holds the products of all pairs of tokens."""
    from torch.nn.functional import scaled_dot_product_attention

    query, key = (torch.zeros(1, 2, n, 8, device="meta") for n in (4096, 1024))
    cost = cost_of(lambda: scaled_dot_product_attention(query, key, key))
    assert cost.bytes == 4 * query.numel()
    assert cost.operations == 2 * 2 * 2 * 4096 * 1024 * 8


def test_ghosts_have_no_weights(tiny: Prior) -> None:
    ghost = on_meta(tiny)
    tensors = [t for part in parts_of(ghost).values() for m in part for t in m.parameters()]
    assert tensors
    assert all(t.is_meta for t in tensors)
    assert not next(tiny.unet.parameters()).is_meta


@pytest.mark.parametrize(
    ("guided", "expected"),
    [(0.2, 1), (0.4, 2), (0.5, 3), (1.73, 10), (2.2, 15), (3.7, 30), (99.0, 30)],
)
def test_guidance_stays_under_its_share(guided: float, expected: int) -> None:
    """Thirty steps of one operation each leave 7.5 for guidance, two of them for the last step's passes."""
    settings = ConsistencySettings()
    every_n = every_n_within(settings, 30, 1.0, guided)
    assert every_n == expected
    if guided < 3.75:
        levels = [NoiseLevel(0.0, 1.0, 0.0, i, 30) for i in range(30)]
        assert sum(replace(settings, every_n=every_n).passes(level) for level in levels) * guided <= 7.5


def test_a_small_autoencoder_may_guide_every_step(tiny: Prior) -> None:
    cost = count(tiny)
    share = cost.guided(cancel_round_trip=True) / cost.step.operations
    every_n = affordable_every_n(tiny, ConsistencySettings(cancel_round_trip=True), 20, 2)
    assert every_n == every_n_within(ConsistencySettings(), 20, 1.0, share)


def test_view_chunks_and_sizes_go_together(tiny: Prior) -> None:
    """The reference view is painted by itself whatever fits."""
    seen: list[int] = []
    text = encode_prompts(tiny, ["red"] * VIEWS)

    def denoise(x_t: Tensor, level: NoiseLevel, text: Any, views: Sequence[int]) -> Tensor:
        seen.append(len(views))
        return x_t[None].expand(len(text), *x_t.shape)

    chunks = view_chunks(VIEWS, 4, [2])
    with_guidance(denoise, text, text, 3.0, chunks, size=ChunkSize("views", 3))(rand(VIEWS, 4, 8, 8), LEVEL)
    assert seen == [1, 3, 1]


def test_an_autoencoder_that_overflows_half_precision_takes_bfloat16(tiny: Prior) -> None:
    """SDXL's between steps; finished pictures are in single precision, whatever the family."""
    seen: list[torch.dtype] = []
    handle = tiny.vae.decoder.conv_in.register_forward_hook(lambda *call: seen.append(call[2].dtype))
    latents = rand(1, 4, 8, 8)
    half = replace(tiny, dtype=torch.float16)
    try:
        for prior in (half, replace(half, text_encoder_2=tiny.text_encoder)):
            decode(prior, latents, quick=True)
            decode(prior, latents)
    finally:
        handle.remove()
    assert seen == [torch.float16, torch.float32, torch.bfloat16, torch.float32]
