"""Where the autoencoder's training starts: it already passes a small colour picture through.

From random weights an autoencoder of this kind learns brightness first and may stay brown for hundreds of steps.
Every block of it is residual, though, so six channels can carry (r, -r, g, -g, b, -b) untouched: averaged down to
three latents, and interpolated up again. silu(x) - silu(-x) = x takes them through the last activations, and the
pairs have zero mean, so GroupNorm only scales them. All other channels start as usual and learn what is missing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

CARRIED = 6
"""Channels that carry colour."""
TYPICAL_SPREAD = 0.87
"""Root mean square of the wardrobe's pictures in [-1, 1], white background included; GroupNorm divides by it."""
START_LOG_VARIANCE = -6.0


@torch.no_grad()
def carry_colours(vae: Any) -> None:
    """Set the weights of an `AutoencoderKL` so that its first three latents are a small colour picture.

    Needs at least six channels at every level, and two spare rows in the last norm's second group.
    """
    encoder, decoder = vae.encoder, vae.decoder
    _spread(encoder.conv_in, _average(0))
    for block in encoder.down_blocks:
        _carry_through(block.resnets)
        for sampler in block.downsamplers or ():
            _pass(sampler.conv, torch.tensor([[0.25, 0.25, 0.0], [0.25, 0.25, 0.0], [0.0, 0.0, 0.0]]))
    _carry_through(encoder.mid_block.resnets)
    _gather(encoder.conv_out, 1.0)
    _identity(vae.quant_conv)
    vae.quant_conv.bias[vae.config.latent_channels :] = START_LOG_VARIANCE
    _identity(vae.post_quant_conv)
    _spread(decoder.conv_in, _average(0))
    _carry_through(decoder.mid_block.resnets)
    for block in decoder.up_blocks:
        _carry_through(block.resnets)
        for sampler in block.upsamplers or ():
            _pass(sampler.conv, torch.outer(torch.tensor([0.25, 0.5, 0.25]), torch.tensor([0.25, 0.5, 0.25])))
    decoder.conv_out.weight *= 0.1
    _gather(decoder.conv_out, TYPICAL_SPREAD)


def _average(radius: int) -> Tensor:
    """A 3x3 kernel that passes its middle."""
    kernel = torch.zeros(3, 3)
    kernel[1 - radius : 2 + radius, 1 - radius : 2 + radius] = 1.0 / (1 + 2 * radius) ** 2
    return kernel


def _spread(conv: nn.Conv2d, kernel: Tensor) -> None:
    """Inputs 0, 1, 2 become channels (0, -0, 1, -1, 2, -2)."""
    _silence(conv)
    for channel in range(CARRIED):
        conv.weight[channel, channel // 2] = kernel if channel % 2 == 0 else -kernel


def _gather(conv: nn.Conv2d, gain: float) -> None:
    """The inverse of `_spread`, behind a SiLU."""
    for colour in range(3):
        conv.weight[colour] = 0.0
        conv.weight[colour, 2 * colour, 1, 1] = gain
        conv.weight[colour, 2 * colour + 1, 1, 1] = -gain
        if conv.bias is not None:
            conv.bias[colour] = 0.0


def _pass(conv: nn.Conv2d, kernel: Tensor) -> None:
    """The carried channels go through `kernel`, each by itself."""
    _silence(conv)
    for channel in range(CARRIED):
        conv.weight[channel, channel] = kernel


def _carry_through(resnets: Any) -> None:
    """Residual blocks add nothing to the carried channels, and their shortcuts pass them on."""
    for block in resnets:
        _silence(block.conv2)
        if block.conv_shortcut is not None:
            _silence(block.conv_shortcut)
            for channel in range(CARRIED):
                block.conv_shortcut.weight[channel, channel] = 1.0


def _silence(conv: nn.Conv2d) -> None:
    conv.weight[:CARRIED] = 0.0
    if conv.bias is not None:
        conv.bias[:CARRIED] = 0.0


def _identity(conv: nn.Conv2d) -> None:
    conv.weight[:, :, 0, 0] = torch.eye(conv.out_channels)
    if conv.bias is not None:
        conv.bias.zero_()
