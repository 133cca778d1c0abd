"""Pictures of a result: contact sheet, turntable, coverage map, PNG files."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from torch import Tensor

from vitruvian.core.images import Texture, ViewSet
from vitruvian.core.mesh import Mesh
from vitruvian.core.report import Report, silent
from vitruvian.render.gbuffer import interpolate
from vitruvian.render.raster import rasterize
from vitruvian.render.rigs import turntable_rig
from vitruvian.render.texturing import render_texture

BACKDROP = 0.93
"""Grey behind a turntable; white clothes still stand out against it."""
_LABEL_HEIGHT = 18
_GRADIENT = np.array([[38, 12, 60], [150, 30, 90], [235, 110, 50], [250, 240, 180]], dtype=np.float64)
"""Badly seen (dark) to well seen (bright)."""


def to_image(rgb: Float[Tensor, "3 H W"]) -> Image.Image:
    """An sRGB-encoded tensor in [0, 1] as an 8-bit picture."""
    pixels = (rgb.detach().clamp(0.0, 1.0) * 255.0 + 0.5).to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def png_bytes(picture: Image.Image) -> bytes:
    """A PNG that says it is sRGB."""
    info = PngImagePlugin.PngInfo()
    info.add(b"sRGB", b"\0")
    stream = io.BytesIO()
    picture.save(stream, format="PNG", pnginfo=info)
    return stream.getvalue()


def contact_sheet(views: ViewSet, tile: int = 256) -> Image.Image:
    """All views side by side, each with its camera's name below; a ring of eight fills a row."""
    count = len(views.rig)
    columns = min(8, count) if count % 8 == 0 else math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = Image.new("RGB", (columns * tile, rows * (tile + _LABEL_HEIGHT)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for index in range(count):
        x, y = index % columns * tile, index // columns * (tile + _LABEL_HEIGHT)
        picture = to_image(views.images[index])
        picture.thumbnail((tile, tile), Image.Resampling.LANCZOS)
        sheet.paste(picture, (x + (tile - picture.width) // 2, y + (tile - picture.height) // 2))
        label = views.rig.names[index].replace("_", " ")
        draw.text((x + tile // 2, y + tile), label, fill=(70, 70, 70), font=font, anchor="ma")
    return sheet


def coverage_picture(texture: Texture) -> Image.Image:
    """The coverage map in colour: violet where filled in, bright where well seen, black outside islands."""
    value = texture.coverage.cpu().numpy().clip(0.0, 1.0) * (len(_GRADIENT) - 1)
    low = np.minimum(value.astype(int), len(_GRADIENT) - 2)
    part = (value - low)[..., None]
    colours = _GRADIENT[low] * (1.0 - part) + _GRADIENT[low + 1] * part
    colours[~texture.inside.cpu().numpy()] = 0.0
    return Image.fromarray((colours + 0.5).astype(np.uint8))


@torch.no_grad()
def turntable(
    mesh: Mesh, albedo: Float[Tensor, "3 S S"], frames: int = 36, size: int = 320, report: Report = silent
) -> list[Image.Image]:
    """The textured mesh once around, with a soft light from the camera so that its shape can be read."""
    supersampled = turntable_rig(mesh, frames, 2 * size)
    pictures = []
    for index in range(frames):
        report("turntable", index, frames)
        gbuffer = rasterize(mesh, supersampled.select([index]))
        towards = -supersampled.T_world_cam[index, :3, 2].to(mesh.vertices.device)
        facing = (interpolate(gbuffer, mesh.faces, mesh.vertex_normals) @ towards).clamp(0.0, 1.0)
        colour = render_texture(mesh, gbuffer, albedo, background=BACKDROP)
        shaded = torch.where(gbuffer.mask[:, None], colour * (0.72 + 0.28 * facing[:, None]), colour)
        pictures.append(to_image(torch.nn.functional.avg_pool2d(shaded, 2)[0]))
    report("turntable", frames, frames)
    return pictures


def gif_bytes(pictures: list[Image.Image], seconds: float = 4.0) -> bytes:
    """An endless animation of `seconds` a round; one palette for all frames, so that colours hold still."""
    strip = Image.new("RGB", (pictures[0].width, pictures[0].height * min(6, len(pictures))))
    for slot in range(min(6, len(pictures))):
        strip.paste(pictures[slot * len(pictures) // min(6, len(pictures))], (0, slot * pictures[0].height))
    palette = strip.quantize(255, method=Image.Quantize.MEDIANCUT)
    indexed = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    stream = io.BytesIO()
    indexed[0].save(
        stream,
        format="GIF",
        save_all=True,
        append_images=indexed[1:],
        duration=max(20, round(1000.0 * seconds / len(pictures))),
        loop=0,
    )
    return stream.getvalue()
