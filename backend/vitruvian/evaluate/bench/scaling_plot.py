"""The scaling curves as a picture, on logarithmic axes with a straight line for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitruvian.core.errors import UserError

if TYPE_CHECKING:
    from vitruvian.evaluate.bench.scaling import Curve

COLOURS = {"conditions": "tab:green", "sampling": "tab:blue", "fusion": "tab:orange"}
MARKERS = {"views": "o", "pixels": "s", "texture": "^"}
PANELS = (
    ("seconds", False, "pixels of all views", "seconds"),
    ("memory_gb", False, "pixels of all views", "GB above the loaded model"),
    ("seconds", True, "texels", "seconds"),
    ("memory_gb", True, "texels", "GB above the loaded model"),
)


def load_matplotlib() -> Any:
    """Its figure class, which draws without a screen.

    Raises:
        UserError: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        remedy = 'Install it: pip install -e ".[plots]"'
        raise UserError("bench", "scaling", f"needs matplotlib for its picture ({error})", remedy) from None
    return Figure


def plot(curves: Sequence[Curve], path: Path) -> None:
    """Write the picture: time and memory, above against the pixels of all views, below against texels."""
    figure = load_matplotlib()(figsize=(9.5, 7.0), layout="constrained")
    for axes, (quantity, of_texture, x_name, y_name) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        chosen = [c for c in curves if c.quantity == quantity and (c.axis == "texture") is of_texture]
        for curve in chosen:
            label = f"{curve.stage}, more {curve.axis}: size^{curve.exponent:.2f}"
            style = {"color": COLOURS[curve.stage], "marker": MARKERS[curve.axis]}
            axes.plot(curve.sizes, curve.values, label=label, lw=1.2, ms=4, **style)
        if chosen:
            _linear(axes, chosen)
            axes.legend(fontsize=7)
        axes.set(xscale="log", yscale="log", xlabel=x_name, ylabel=y_name)
        axes.grid(alpha=0.3, which="both", lw=0.4)
    figure.savefig(path, dpi=100)


def _linear(axes: Any, curves: Sequence[Curve]) -> None:
    """A dashed line of exponent 1 through the top of the panel."""
    sizes = sorted({size for curve in curves for size in curve.sizes})
    top = max(value for curve in curves for value in curve.values)
    axes.plot(sizes, [top * size / sizes[-1] for size in sizes], "k--", lw=0.8, label="linear")
