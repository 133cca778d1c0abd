"""Rasterising, against the bare ray caster."""

from __future__ import annotations

import statistics

from vitruvian.body.anny_body import anny_body
from vitruvian.evaluate.bench.timing import alternate
from vitruvian.evaluate.protocol import Target
from vitruvian.render.raster_embree import box_rays, build_scene, projected_boxes, rasterize
from vitruvian.render.rigs import default_rig


def bench_render(size: int = 256, repeats: int = 9) -> list[Target]:
    """G-buffers of 16 views against embreex casting the very same rays and returning the very same fields.

    The two alternate, so that a machine that slows down slows both.
    """
    mesh = anny_body().mesh
    rig = default_rig(mesh, size)
    scene = build_scene(mesh)
    rays = [box_rays(rig, view, *box) for view, box in enumerate(projected_boxes(mesh, rig).tolist())]
    count = sum(len(origins) for origins, _ in rays)

    def bare() -> None:
        for origins, directions in rays:
            scene.run(origins, directions, query="INTERSECT", output=True)

    ours, alone = alternate(lambda: rasterize(mesh, rig), bare, repeats)
    ratio = statistics.median(b / a for a, b in zip(ours.seconds, alone.seconds, strict=True))
    return [
        Target("embreex alone, the same rays", count / alone.median / 1e6, "", None, "Mrays/s"),
        Target("G-buffer, scene build included", count / ours.median / 1e6, "", None, "Mrays/s"),
        Target("G-buffer rate / embreex alone", 100 * ratio, ">= 50", ratio >= 0.5, "%"),
    ]
