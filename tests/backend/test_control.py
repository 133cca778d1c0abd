"""ControlNets with their pictures embedded beforehand, against the plain forward of the same network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import Tensor

from vitruvian.diffusion.control import EmbeddedControl, reads_no_text
from vitruvian.diffusion.denoiser import NoiseLevel, make_denoiser
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.rows import rows_of
from vitruvian.diffusion.text_states import TextStates
from vitruvian.diffusion.weights import ControlWeight

VIEWS = 4
LEVEL = NoiseLevel(600.0, 0.6, 0.8, 2, 10)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def controlnet(text: bool, order: str = "rgb") -> Any:
    """A small ControlNet with random weights everywhere, the zero convolutions included."""
    torch.manual_seed(3)
    kinds = ("DownBlock2D", "CrossAttnDownBlock2D" if text else "DownBlock2D")
    net = ControlNetModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=kinds,
        mid_block_type="UNetMidBlock2DCrossAttn" if text else "UNetMidBlock2D",
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
        conditioning_embedding_out_channels=(4, 8, 8),
        controlnet_conditioning_channel_order=order,
    )
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("views", [[0, 1, 2, 3], [3, 1]])
def test_residuals_are_those_of_the_plain_forward(text: bool, order: str, views: list[int]) -> None:
    net = controlnet(text, order)
    images = rand(VIEWS, 3, 32, 32, seed=1).sigmoid()
    # Both halves of guidance see the same noisy latents, with different words.
    sample = rand(len(views), 4, 8, 8).repeat(2, 1, 1, 1)
    tokens, time = rand(2 * len(views), 5, 16, seed=2), torch.full((2 * len(views),), 600.0)
    down, mid = EmbeddedControl(net, images, chunk=3)(sample, time, tokens, views, [0.7])
    expected_down, expected_mid = net(
        sample, time, tokens, images[views].repeat(2, 1, 1, 1), conditioning_scale=0.7, return_dict=False
    )
    assert reads_no_text(net) is not text
    assert expected_mid.std() > 1e-3
    torch.testing.assert_close([*down, mid], [*expected_down, expected_mid], atol=1e-5, rtol=1e-4)


def test_pictures_are_embedded_once_and_the_network_is_left_alone(tiny: Prior) -> None:
    calls: list[int] = []
    net = tiny.controlnets["depth"]
    handle = net.controlnet_cond_embedding.register_forward_hook(lambda *call: calls.append(len(call[1][0])))
    try:
        denoise = make_denoiser(tiny, {"depth": rand(VIEWS, 3, 32, 32).sigmoid()}, {})
        text = TextStates(rand(2, VIEWS, 77, 16))
        for _ in range(3):
            denoise(rand(VIEWS, 4, 8, 8), LEVEL, text, range(VIEWS))
    finally:
        handle.remove()
    assert calls == [VIEWS]
    assert isinstance(net, ControlNetModel)
    assert type(net.controlnet_cond_embedding).__name__ == "ControlNetConditioningEmbedding"


def test_a_condition_of_no_weight_is_not_evaluated(tiny: Prior) -> None:
    images = {"depth": rand(VIEWS, 3, 32, 32).sigmoid()}
    text = TextStates(rand(2, VIEWS, 77, 16))
    x_t = rand(VIEWS, 4, 8, 8)
    calls: list[str] = []
    handle = tiny.controlnets["depth"].mid_block.register_forward_hook(lambda *_: calls.append("depth"))
    try:
        off = make_denoiser(tiny, images, {"depth": ControlWeight(0.0, 0.0)})(x_t, LEVEL, text, range(VIEWS))
    finally:
        handle.remove()
    assert calls == []
    assert torch.equal(off, make_denoiser(tiny, {}, {})(x_t, LEVEL, text, range(VIEWS)))


@pytest.mark.parametrize("views", [[0], [2, 3, 4], [4, 1], [1, 0], [0, 2]])
def test_rows_are_those_of_a_list(views: list[int]) -> None:
    values = rand(5, 2)
    index = rows_of(views, values.device)
    assert torch.equal(values[index], values[views])
    assert isinstance(index, slice) == (views == list(range(views[0], views[0] + len(views))))
