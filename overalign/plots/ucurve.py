"""Test error, its parts and the alignment against the scale of the initialisation."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import ProblemError
from ..optimum import above_lowest, find_optimum, over_sets
from .style import BLACK, BLUE, GREEN, GREY, PURPLE, VERMILION, Curve, plain_text, style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_ucurve"]

FloatArray: TypeAlias = NDArray[np.float64]


class _Panel(NamedTuple):
    """A row of panels: its axis label, its curves, and how its axis is scaled."""

    label: str
    curves: tuple[Curve, ...]
    scale: Callable[[NDArray[Any]], None]


_REFERENCES = {
    "error_class_max_margin": ("class max-margin", (0, (1, 1.5))),
    "error_class_mean": ("class mean", (0, (5, 2))),
    "error_max_margin": ("max-margin", (0, (3, 1.5, 1, 1.5))),
    "error_pooled_mean": ("pooled mean", (0, (2, 1))),
    "error_bayes": ("Bayes", "-"),
}
_TITLES = {
    "independent": "independent initialisation",
    "paired": "paired initialisation, $f_0=0$",
}
_LOG10 = math.log(10.0)
_RATIO_ON_LINEAR = 30.0  # errors that span more are drawn on a logarithmic axis
_AT_OPTIMUM = 0.035  # height of the mark of the optimum, in its panel


def plot_ucurve(dataset: xr.Dataset, figure: Figure | None = None) -> NDArray[Any]:
    """Test error, its parts and the alignment against the scale of the initialisation.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `overalign.ucurve.run_ucurve`.
    figure : matplotlib.figure.Figure, optional
        An empty figure to draw on. A new one, unknown to pyplot, unless given.

    Returns
    -------
    array [panels, initialisations] of matplotlib.axes.Axes
        The network's error and E(w_hat) beside reference errors; the network's error above its
        lowest value, paired over the data sets, its rise at large alpha cut off; OA and OF (absent
        without a mixture); cosines of the effective predictor. Bands are 95 % intervals over the
        data sets; the bar at the foot of the first panel is the interval of the optimum. Shaded:
        where zeta < 0, so that the alignment theorem says nothing.

    Examples
    --------
    >>> from overalign.ucurve import UCurve, run_ucurve
    >>> settings = UCurve(data="mixture:n=6", sets=2, width=8, alphas=3, eta=0.3)
    >>> plot_ucurve(run_ucurve(settings)).shape
    (4, 2)
    """
    from matplotlib.figure import Figure

    shown = dataset.assign(
        above_lowest=dataset["network_error"].groupby("initialisation").map(above_lowest)
    )
    panels = [panel for panel in _PANELS if panel.curves[0].name in shown]
    kinds = [str(kind) for kind in dataset["initialisation"].values]
    with style():
        if figure is None:
            figure = Figure(figsize=(1.6 + 2.9 * len(kinds), 1.2 + 1.6 * len(panels)))
        figure.set_layout_engine("constrained", wspace=0.02, w_pad=0.03, h_pad=0.03)
        grid: dict[str, Any] = {"squeeze": False, "sharex": True, "sharey": "row"}
        grid["height_ratios"] = [1.5, *[1.0] * (len(panels) - 1)]
        axes = np.asarray(figure.subplots(len(panels), len(kinds), **grid))
        for column, kind in zip(axes.T, kinds, strict=True):
            _draw_ucurve(column, shown.sel(initialisation=kind), panels)
            column[0].set_title(_TITLES[kind])
        for row, panel in zip(axes, panels, strict=True):
            row[0].set_ylabel(panel.label)
            panel.scale(row)
        _dress_scales(axes, dataset)
        _place_legends(axes)
        axes[0, 0].figure.suptitle(_headline(dataset), fontsize=9, x=0.01, ha="left")
    return axes


# ---------------------------------------------------------------- what is drawn


def _draw_ucurve(column: NDArray[Any], dataset: xr.Dataset, panels: Sequence[_Panel]) -> None:
    x = dataset["log_alpha"].values / _LOG10
    for ax, panel in zip(column, panels, strict=True):
        _shade_zeta(ax, dataset, x)
        for curve in panel.curves:
            if curve.name in dataset:
                _draw_curve(ax, x, dataset[curve.name], curve)
    _draw_references(column[0], dataset)
    _draw_optimum(column[0], dataset)
    column[1].axhline(0.0, color=GREY, linewidth=0.6, zorder=1)


def _draw_curve(ax: Axes, x: FloatArray, values: xr.DataArray, curve: Curve) -> None:
    mean, low, high = over_sets(values).values
    ax.fill_between(x, low, high, color=curve.colour, alpha=0.16, linewidth=0)
    line: dict[str, Any] = {"linestyle": curve.linestyle, "linewidth": 1.3, "label": curve.label}
    ax.plot(x, mean, color=curve.colour, marker="o", markersize=2.0, **line)


def _shade_zeta(ax: Axes, dataset: xr.Dataset, x: FloatArray) -> None:
    """In three steps, at the first, the median and the last of the data sets."""
    edges = dataset["log_alpha_where_zeta_vanishes"].values / _LOG10
    for edge in np.quantile(edges, [0.0, 0.5, 1.0]):
        if edge < x[-1]:
            ax.axvspan(max(float(edge), x[0]), x[-1], color=GREY, alpha=0.07, linewidth=0)


def _draw_references(ax: Axes, dataset: xr.Dataset) -> None:
    for name, (label, dashes) in _REFERENCES.items():
        if name in dataset:
            level = float(dataset[name].mean())
            ax.axhline(level, color=GREY, linewidth=0.9, linestyle=dashes, label=label, zorder=1)


def _draw_optimum(ax: Axes, dataset: xr.Dataset) -> None:
    try:
        optimum = find_optimum(dataset["network_error"], dataset["log_alpha"])
    except ProblemError:  # too few alphas were reached to speak of one
        return
    at, low, high = (value / _LOG10 for value in (optimum.log_alpha, optimum.low, optimum.high))
    mark: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "color": BLACK}
    if math.isfinite(low):
        bar: dict[str, Any] = {"linewidth": 2.5, "alpha": 0.45, "solid_capstyle": "butt"}
        ax.plot([low, high], [_AT_OPTIMUM, _AT_OPTIMUM], **mark, **bar)
    ax.plot([at], [_AT_OPTIMUM], marker="D", markersize=4, linestyle="", label="optimum", **mark)


# ---------------------------------------------------------------- axes


def _values(row: NDArray[Any]) -> FloatArray:
    """What the curves of a row show, single points and horizontal lines left out."""
    lines = [np.asarray(line.get_ydata(), dtype=float) for ax in row for line in ax.lines]
    values = np.concatenate([line for line in lines if line.size > 2])
    return np.asarray(values[np.isfinite(values)])


def _scale_error(row: NDArray[Any]) -> None:
    """Logarithmic where errors span decades, else from zero."""
    values = _values(row)
    positive = values[values > 0.0]
    if positive.size and positive.max() > _RATIO_ON_LINEAR * positive.min():
        row[0].set_yscale("log")
    elif values.size:
        row[0].set_ylim(0.0, None)


def _scale_rise(row: NDArray[Any]) -> None:
    """So that the rise towards the smallest alpha is seen; the other may leave the panel."""
    starts = [float(line.get_ydata()[0]) for ax in row for line in ax.lines if _is_curve(line)]
    top = max([start for start in starts if start > 0.0], default=0.01)
    row[0].set_ylim(-0.3 * top, 2.2 * top)


def _is_curve(line: Any) -> bool:
    return len(line.get_xdata()) > 2


def _scale_parts(row: NDArray[Any]) -> None:
    """Logarithmic over at most four decades: OA is exactly zero where the cone is wide."""
    values = _values(row)
    positive = values[values > 0.0]
    if positive.size:
        row[0].set_yscale("log", nonpositive="clip")
        largest = float(positive.max())
        row[0].set_ylim(max(0.5 * float(positive.min()), 1e-4 * largest), 1.6 * largest)


def _scale_cosines(row: NDArray[Any]) -> None:
    row[0].set_ylim(None, 1.04)


def _dress_scales(axes: NDArray[Any], dataset: xr.Dataset) -> None:
    """alpha below and c = alpha^2 above, as powers of ten: both may leave float64."""
    x = dataset["log_alpha"].values / _LOG10
    step = max(1, math.ceil((x[-1] - x[0]) / 7.0))
    ticks = np.arange(math.ceil(x[0] - 1e-9), x[-1] + 1e-9, step)
    for ax in axes.flat:
        ax.set_xlim(x[0], x[-1])
    for ax in axes[-1]:
        ax.set_xticks(ticks, [_power(tick) for tick in ticks])
        ax.set_xlabel(r"scale of the initialisation $\alpha$")
    for ax in axes[0]:
        top = ax.secondary_xaxis("top")
        top.set_xticks(ticks, [_power(2.0 * tick) for tick in ticks])
        top.set_xlabel(r"output multiplier $c=\alpha^2$")


def _power(exponent: float) -> str:
    return f"$10^{{{exponent:.0f}}}$"


def _place_legends(axes: NDArray[Any]) -> None:
    for row in axes:
        handles, labels = row[0].get_legend_handles_labels()
        row[-1].legend(handles, labels, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _headline(dataset: xr.Dataset) -> str:
    settings = json.loads(dataset.attrs["settings"])
    sets = "data sets" if "error_bayes" in dataset else "random splits"
    return (
        rf"{plain_text(str(dataset.attrs['data']))}, {dataset.sizes['set']} {sets}, "
        rf"$h={settings['width']}$, trained to risk {settings['eta']:g}; shaded: $\zeta<0$"
    )


_PANELS = (
    _Panel(
        "test error",
        (
            Curve("network_error", "network", BLACK),
            Curve("predictor_error", r"effective predictor $E(\hat w)$", VERMILION),
        ),
        _scale_error,
    ),
    _Panel(
        "network error\nabove its lowest",
        (Curve("above_lowest", "mean of the differences\nwithin data sets", BLACK),),
        _scale_rise,
    ),
    _Panel(
        "excess error",
        (
            Curve("over_alignment", "over-alignment OA", BLUE),
            Curve("over_fitting", "over-fitting OF", PURPLE),
        ),
        _scale_parts,
    ),
    _Panel(
        "cosine",
        (
            Curve("Psi", r"$\hat w$ to class mean, $\Psi$", GREEN),
            Curve("cosine_to_pooled_mean", r"$\hat w$ to pooled mean", GREEN, (0, (4, 1.5))),
        ),
        _scale_cosines,
    ),
)
