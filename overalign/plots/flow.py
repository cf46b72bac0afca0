"""The trajectory of one network, over both phases."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import ProblemError
from .style import BLACK, BLUE, GREY, VERMILION, plain_text, power_of_ten, style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Window", "plot_flow", "time_windows"]

FloatArray: TypeAlias = NDArray[np.float64]

_COLOURS = {1: BLUE, -1: VERMILION, 0: GREY}  # sign of v_j; 0 for a dead neuron
_TARGET: dict[str, Any] = {"color": GREY, "linewidth": 0.9, "linestyle": (0, (4, 2))}
_DEGREES_ON_LOG = 3.0  # smallest angle above which a linear axis shows all there is
_FEW = 0.05  # share of the kinks that may lie where the time axis is linear
_MINOR = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)
_LONG = 10.0  # an end this many onsets away needs a logarithmic second part


# ---------------------------------------------------------------- time axis


class Window(NamedTuple):
    """A part of the time axis.

    Attributes
    ----------
    start, end : float
    scale : {"linear", "log", "symlog"}
    linear_below : float
        Where a symlog axis turns linear, so that time zero is on it; 0 for the other scales.
    title : str

    Examples
    --------
    >>> Window(5.0, 11.0, "linear", 0.0, "phase 2: fitting").end
    11.0
    """

    start: float
    end: float
    scale: Literal["linear", "log", "symlog"]
    linear_below: float
    title: str


def time_windows(dataset: xr.Dataset) -> list[Window]:
    """How to lay out the time axis so that both phases are seen.

    Phase 1 spreads over decades of time and phase 2 is often a sliver at its end, so the axis is
    cut at the onset of fitting. Before it the axis is logarithmic, and linear below the time of
    the first few kinks so that it begins at zero; after it linear, or logarithmic when the end is
    more than ten onsets away.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `overalign.tables.flow_dataset`.

    Returns
    -------
    list of Window
        One if only one of the phases was met, else two.

    Raises
    ------
    ProblemError
        The dataset holds no time after zero.

    Examples
    --------
    >>> import xarray as xr
    >>> times = xr.Dataset(
    ...     {"kink_time": ("kink", [0.3, 2.0])},
    ...     coords={"time": [0.0, 0.1, 8.0, 11.0]},
    ...     attrs={"onset": 8.0},
    ... )
    >>> [(window.start, window.end, window.scale) for window in time_windows(times)]
    [(0.0, 8.0, 'symlog'), (8.0, 11.0, 'linear')]
    """
    end = float(dataset["time"].values.max(initial=0.0))
    if end <= 0.0:
        raise ProblemError("the trajectory holds no time after its start; there is nothing to draw")
    onset = float(dataset.attrs["onset"])
    if onset <= 0.0:
        return [_one_window(dataset, end, "fitting from the start")]
    if math.isnan(onset) or onset >= end:
        return [_one_window(dataset, end, "phase 1: alignment")]
    late: Literal["linear", "log"] = "log" if end > _LONG * onset else "linear"
    return [
        Window(0.0, onset, "symlog", _linear_below(dataset, onset), "phase 1: alignment"),
        Window(onset, end, late, 0.0, "phase 2: fitting"),
    ]


def _one_window(dataset: xr.Dataset, end: float, title: str) -> Window:
    """Linear unless most kinks would crowd at its start."""
    kinks = dataset["kink_time"].values
    if kinks.size and np.median(kinks) < 0.1 * end:
        return Window(0.0, end, "symlog", _linear_below(dataset, end), title)
    return Window(0.0, end, "linear", 0.0, title)


def _linear_below(dataset: xr.Dataset, end: float) -> float:
    """A power of ten below which few of the kinks lie, one to six decades before the end."""
    kinks = dataset["kink_time"].values
    early = float(np.quantile(kinks, _FEW)) if kinks.size else 0.0
    decade = math.log10(min(max(early, 1e-6 * end), 0.1 * end))
    return float(10.0 ** math.floor(decade))


# ---------------------------------------------------------------- the flow


def plot_flow(dataset: xr.Dataset, figure: Figure | None = None) -> NDArray[Any]:
    """Risk, norms, angles, kinks and slides of one trajectory, over both phases.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `overalign.tables.flow_dataset`.
    figure : matplotlib.figure.Figure, optional
        An empty figure to draw on; in a notebook ``matplotlib.pyplot.figure()``. A new one, unknown
        to pyplot, unless given: take it from ``axes[0, 0].figure``.

    Returns
    -------
    array [panels, windows] of matplotlib.axes.Axes
        Columns are the windows of `time_windows`.  The angles are those to the sum of the own
        class (v > 0 to x_+, v < 0 to x_-); that panel is absent where the dataset has none.

    Raises
    ------
    ProblemError
        The dataset holds no time after zero.

    Examples
    --------
    >>> from overalign import GaussianMixture, Network, solve, stop_at_risk
    >>> from overalign import flow_dataset
    >>> sample = GaussianMixture(5, kappa=3.0, sigma=0.3).sample(6, seed=0)
    >>> run = solve(sample, Network.random(8, 5, seed=1), -9.0, stop_at_risk(0.1))
    >>> plot_flow(flow_dataset(run)).shape
    (4, 2)
    """
    windows = time_windows(dataset)
    with style():
        axes = _grid(dataset, windows, figure)
        for column, window in zip(axes.T, windows, strict=True):
            for ax, panel in zip(column, _panels(dataset), strict=True):
                panel(ax, dataset, window)
        _dress(axes, windows, dataset)
    return axes


def _grid(dataset: xr.Dataset, windows: list[Window], figure: Figure | None) -> NDArray[Any]:
    from matplotlib.figure import Figure

    if figure is None:
        figure = Figure()
    figure.set_layout_engine("constrained", wspace=0.0, w_pad=0.02, h_pad=0.03)
    heights = [1.0, 1.35, 1.35, 1.35] if "angle_positive" in dataset else [1.0, 1.35, 1.35]
    axes = figure.subplots(
        len(heights),
        len(windows),
        squeeze=False,
        sharex="col",
        sharey="row",
        height_ratios=heights,
        width_ratios=[1.25, 1.0][: len(windows)],
    )
    return np.asarray(axes)


def _inside(dataset: xr.Dataset, window: Window) -> NDArray[np.bool_]:
    """Times of a window: a line that ran past its end would show at its edge."""
    times = dataset["time"].values
    return np.asarray((times >= window.start) & (times <= window.end))


_Panel: TypeAlias = Callable[["Axes", "xr.Dataset", Window], None]


def _panels(dataset: xr.Dataset) -> list[_Panel]:
    angles: list[_Panel] = [_draw_angles] if "angle_positive" in dataset else []
    return [_draw_risk, _draw_norms, *angles, _draw_events]


def _draw_risk(ax: Axes, dataset: xr.Dataset, window: Window) -> None:
    if _draws_target(dataset):
        ax.axhline(dataset.attrs["stop_target"], **_TARGET)
    inside, risk = _inside(dataset, window), dataset["risk"].values
    ax.plot(dataset["time"].values[inside], risk[inside], color=BLACK, linewidth=1.3)
    ax.set_yscale("log")
    ax.set_ylim(0.85 * float(risk.min()), 1.15 * float(risk.max()))


def _draws_target(dataset: xr.Dataset) -> bool:
    """Whether the stop is a value of the risk that is drawn, the one over all samples."""
    return bool(dataset.attrs["stop"] == "risk" and dataset.attrs["stop_over"] == "all")


def _draw_norms(ax: Axes, dataset: xr.Dataset, window: Window) -> None:
    norms = dataset["log_norm"].values / math.log(10.0)
    _draw_lines(ax, dataset, window, norms)
    margin = 0.05 * max(float(np.ptp(norms)), 1e-3)
    ax.set_ylim(norms.min() - margin, norms.max() + margin)


def _draw_angles(ax: Axes, dataset: xr.Dataset, window: Window) -> None:
    degrees = np.degrees(_own_angle(dataset))
    low, high = float(degrees.min()), float(degrees.max())
    if low < _DEGREES_ON_LOG:
        # nothing is claimed about angles below the error of the directions
        floor = math.degrees(max(float(dataset.attrs["error_estimate"]), 1e-15))
        ax.set_yscale("log")
        ax.set_ylim(max(low / 1.4, min(floor, 1.0)), 1.5 * high)
    else:
        ax.set_ylim(max(0.0, low - 0.07 * (high - low) - 1.0), high + 0.07 * (high - low) + 1.0)
    _draw_lines(ax, dataset, window, np.maximum(degrees, 1e-30))


def _own_angle(dataset: xr.Dataset) -> FloatArray:
    """Angle of a neuron to the sum of the class it can fit, [time, neuron]."""
    positive = dataset["sign"].values > 0
    own = np.where(positive, dataset["angle_positive"].values, dataset["angle_negative"].values)
    return np.asarray(own)


def _draw_lines(ax: Axes, dataset: xr.Dataset, window: Window, values: FloatArray) -> None:
    """One line per neuron, dead neurons beneath; signs interleaved so that neither hides."""
    from matplotlib.collections import LineCollection

    inside, kind = _inside(dataset, window), _kinds(dataset)
    times = dataset["time"].values[inside]
    order = np.argsort(kind != 0, kind="stable")
    lines = LineCollection(
        [np.column_stack([times, values[inside, j]]) for j in order],
        colors=[_COLOURS[int(kind[j])] for j in order],
        linewidths=0.7,
        alpha=float(np.clip(5.0 / math.sqrt(kind.size), 0.15, 0.9)),
    )
    ax.add_collection(lines, autolim=False)


def _kinds(dataset: xr.Dataset) -> NDArray[np.int64]:
    """Sign of v_j, and 0 for a dead neuron; [h]."""
    return np.where(dataset["dead"].values == 1, 0, np.sign(dataset["sign"].values)).astype(int)


def _draw_events(ax: Axes, dataset: xr.Dataset, window: Window) -> None:
    """A row per neuron: a bar while it slides, a tick where it crosses a kink."""
    kind, row = _kinds(dataset), _rows(dataset)
    slide, kink = dataset["slide_neuron"].values, dataset["kink_neuron"].values
    start, end = dataset["slide_start"].values, dataset["slide_end"].values
    crossed = (dataset["kink_before"].values != 0) & (dataset["kink_after"].values != 0)
    time, shown = dataset["kink_time"].values, (window.start, window.end)
    crossed &= (time >= shown[0]) & (time <= shown[1])
    start, end = np.clip(start, *shown), np.clip(end, *shown)
    thickness = float(np.clip(64.0 / kind.size, 0.2, 3.0))
    for which, colour in _COLOURS.items():
        here = (kind[slide] == which) & (end > start)
        y, width = row[slide[here]], 1.2 * thickness
        ax.hlines(y, start[here], end[here], colour, linewidth=width, alpha=0.35)
        here = crossed & (kind[kink] == which)
        y = row[kink[here]]
        ax.vlines(time[here], y - 0.5, y + 0.5, colour, linewidth=0.6)
    ax.set_ylim(-1.0, kind.size)


def _rows(dataset: xr.Dataset) -> NDArray[np.int64]:
    """Place of each neuron: v > 0 above v < 0, the largest at the end on top; [h]."""
    order = np.lexsort((dataset["log_norm"].values[-1], dataset["sign"].values))
    rows = np.empty(order.size, dtype=np.int64)
    rows[order] = np.arange(order.size)
    return rows


# ---------------------------------------------------------------- axes, legend, title


def _dress(axes: NDArray[Any], windows: list[Window], dataset: xr.Dataset) -> None:
    for column, window in zip(axes.T, windows, strict=True):
        _dress_times(column, window)
    for ax in axes[:, 1:].flat:
        ax.spines["left"].set(linestyle=(0, (1, 2)))
        ax.tick_params(axis="y", which="both", left=False)
    dress = [_dress_risk, _dress_norms, _dress_angles, _dress_events]
    if len(axes) < len(dress):
        del dress[2]
    for ax, function in zip(axes[:, 0], dress, strict=True):
        function(ax, dataset)
    figure = axes[0, 0].figure
    figure.supxlabel("time (in units of the loss)", fontsize=9)
    figure.align_ylabels(axes[:, 0])
    figure.legend(
        handles=_handles(dataset),
        title=_headline(dataset),
        title_fontsize=9,
        alignment="left",
        loc="outside upper left",
        borderaxespad=0.2,
        ncols=6,
    )


def _dress_times(column: NDArray[Any], window: Window) -> None:
    from matplotlib.ticker import MaxNLocator, NullFormatter, SymmetricalLogLocator

    column[0].set_title(window.title)
    for ax in column:
        if window.scale == "symlog":
            ax.set_xscale("symlog", linthresh=window.linear_below, linscale=0.4)
        else:
            ax.set_xscale(window.scale)
        ax.set_xlim(window.start, window.end)
    axis = column[-1].xaxis
    axis.set_minor_formatter(NullFormatter())
    if window.scale == "log":
        axis.set_major_formatter(lambda value, _: _decade(value))
    if window.scale == "linear":
        axis.set_major_locator(MaxNLocator(5, prune="lower" if window.start else None))
        axis.get_major_formatter().set_useOffset(False)
    if window.scale == "symlog":
        minor = SymmetricalLogLocator(base=10.0, linthresh=window.linear_below, subs=_MINOR)
        axis.set_minor_locator(minor)
        decades = math.floor(math.log10(window.end / window.linear_below))
        powers = math.log10(window.linear_below) + np.arange(0, decades + 1, 1 + decades // 5)
        # a tick at the very end would run into the next window's labels
        ticks = [t for t in 10.0**powers if t < 0.8 * window.end]
        axis.set_ticks([0.0, *ticks], labels=["0", *map(_decade, ticks)])


def _decade(value: float) -> str:
    """A number to label a tick on a logarithmic axis."""
    if 0.01 <= value <= 1000:
        return f"{value:g}"
    return f"$10^{{{round(math.log10(value))}}}$"


def _dress_risk(ax: Axes, dataset: xr.Dataset) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = ax.get_ylim()
    subs = (1.0, 2.0, 5.0) if high < 50.0 * low else (1.0,)
    ax.set_ylabel("risk")
    ax.yaxis.set_major_locator(LogLocator(subs=subs, numticks=6))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}" if subs[1:] else _decade(value))


def _dress_norms(ax: Axes, dataset: xr.Dataset) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_ylabel(r"$\log_{10}\,\|w_j\|$")
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _dress_angles(ax: Axes, dataset: xr.Dataset) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    ax.set_ylabel("angle to own\nclass sum (°)")
    if ax.get_yscale() == "linear":
        ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 1.5, 2, 3, 4.5, 6, 10]))
        return
    lowest = math.ceil(math.log10(ax.get_ylim()[0]))
    powers = np.arange(1, lowest - 1, -1 - (1 - lowest) // 5)
    ticks = [90.0, *10.0**powers]
    ax.set_yticks(ticks, labels=[_decade(tick) for tick in ticks])
    ax.yaxis.set_minor_locator(LogLocator(subs=_MINOR, numticks=12))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _dress_events(ax: Axes, dataset: xr.Dataset) -> None:
    """Name the groups of rows that `_rows` makes."""
    signs, names = np.sort(dataset["sign"].values), {-1: "$v_j<0$", 0: "$v_j=0$", 1: "$v_j>0$"}
    present = [which for which in names if np.any(signs == which)]
    places = [float(np.flatnonzero(signs == which).mean()) for which in present]
    ax.set_ylabel("neuron")
    ax.set_yticks(places, [names[which] for which in present], rotation=90, va="center")
    ax.tick_params(axis="y", length=0)


def _handles(dataset: xr.Dataset) -> list[Any]:
    from matplotlib.lines import Line2D

    kind = _kinds(dataset)
    names = {1: "$v_j>0$", -1: "$v_j<0$", 0: "dead neuron"}
    handles = [Line2D([], [], color=_COLOURS[k], label=names[k]) for k in names if k in kind]
    if _draws_target(dataset):
        target = f"target risk {dataset.attrs['stop_target']:g}"
        handles.append(Line2D([], [], label=target, **_TARGET))
    if dataset.sizes["kink"]:
        tick: dict[str, Any] = {"marker": "|", "markersize": 6, "linestyle": "none"}
        handles.append(Line2D([], [], color=BLACK, label="kink", **tick))
    if dataset.sizes["slide"]:
        handles.append(Line2D([], [], color=BLACK, alpha=0.35, linewidth=2.5, label="slide"))
    return handles


def _headline(dataset: xr.Dataset) -> str:
    attrs, sizes = dataset.attrs, dataset.sizes
    parts = [plain_text(str(attrs["data"]))] if "data" in attrs else []
    parts.append(rf"$n={sizes['sample']}$, $d={sizes['dimension']}$, $h={sizes['neuron']}$")
    parts.append(rf"$\alpha={power_of_ten(attrs['log_alpha'])}$")
    if "separability" in attrs:
        parts.append(rf"$\lambda={attrs['separability']:.2f}$")
    return "   ".join(parts)
