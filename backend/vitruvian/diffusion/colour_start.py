"""A start for autoencoders that already passes colours through, eight pixels at a time.

Trained from random weights, a small autoencoder learns brightness long before hue, and what is trained on
top of it comes out brown. Here every colour starts as a pair of channels (x, -x): SiLU(x) - SiLU(-x) = x,
and a pair has no mean for GroupNorm to take away, so residual blocks that start at zero, averaging
downsamplers and copying upsamplers carry it to the latents and back. Training then adds the detail.
"""

from __future__ import annotations

from typing import Any

import torch

# Pairs of red, green, blue and grey: four channels a group, two pairs in each.
_FROM_RGB = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1 / 3, 1 / 3, 1 / 3))
CARRIED = 2 * len(_FROM_RGB)
_NOT_CARRIED = 0.2
"""Share of its usual random start that an output layer keeps for the channels which carry no colour."""
_LOG_VARIANCE = -6.0


@torch.no_grad()
def start_from_colours(vae: Any) -> None:
    """Set the weights of `vae`, an `AutoencoderKL`; channels that carry no colour keep their random start.

    Needs at least `CARRIED` channels at every level and 4 latent channels. The first three latents start
    as the colour of each cell, in units that GroupNorm chooses.
    """
    for module in (vae.encoder, vae.decoder):
        for block in module.modules():
            if hasattr(block, "conv2") and hasattr(block, "conv_shortcut"):
                _zero(block.conv2)
                if block.conv_shortcut is not None:
                    _copy_carried(block.conv_shortcut)
    for block in vae.encoder.down_blocks:
        for down in block.downsamplers or ():
            _copy_carried(down.conv, taps=((0, 0), (0, 1), (1, 0), (1, 1)))
    for block in vae.decoder.up_blocks:
        for up in block.upsamplers or ():
            _copy_carried(up.conv)
    _split(vae.encoder.conv_in, torch.tensor(_FROM_RGB))
    _join(vae.encoder.conv_out)
    latents = vae.decoder.conv_in.in_channels
    vae.encoder.conv_out.weight[latents:] = 0.0
    vae.encoder.conv_out.bias[latents:] = _LOG_VARIANCE
    for linear in (vae.quant_conv, vae.post_quant_conv):
        linear.weight.copy_(torch.eye(linear.in_channels)[:, :, None, None])
        linear.bias.zero_()
    _split(vae.decoder.conv_in, torch.eye(latents)[[0, 1, 2]], grey=torch.ones(3) / 3)
    _join(vae.decoder.conv_out)


def _zero(layer: Any) -> None:
    layer.weight.zero_()
    layer.bias.zero_()


def _copy_carried(layer: Any, taps: tuple[tuple[int, int], ...] | None = None) -> None:
    """Each carried channel becomes the mean of itself over `taps` (the middle one without)."""
    middle = layer.weight.shape[-1] // 2
    taps = taps or ((middle, middle),)
    layer.weight[:CARRIED] = 0.0
    layer.bias[:CARRIED] = 0.0
    for channel in range(CARRIED):
        for y, x in taps:
            layer.weight[channel, channel, y, x] = 1.0 / len(taps)


def _split(layer: Any, rows: torch.Tensor, grey: torch.Tensor | None = None) -> None:
    """The carried outputs become pairs (x, -x) of linear combinations of the inputs."""
    if grey is not None:
        rows = torch.cat([rows, (grey @ rows)[None]])
    middle = layer.weight.shape[-1] // 2
    layer.weight[:CARRIED] = 0.0
    layer.bias[:CARRIED] = 0.0
    for pair, row in enumerate(rows):
        layer.weight[2 * pair, :, middle, middle] = row
        layer.weight[2 * pair + 1, :, middle, middle] = -row


def _join(layer: Any) -> None:
    """The first three outputs become the differences of the colour pairs."""
    middle = layer.weight.shape[-1] // 2
    layer.weight.mul_(_NOT_CARRIED)
    layer.weight[:3] = 0.0
    layer.bias[:3] = 0.0
    for colour in range(3):
        layer.weight[colour, 2 * colour, middle, middle] = 1.0
        layer.weight[colour, 2 * colour + 1, middle, middle] = -1.0
