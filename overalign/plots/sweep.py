"""Pictures of a sweep of deep networks; the numbers are the table's and `deepnet.statistics`'s."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..deepnet.ledger import OUTCOMES
from ..deepnet.settings import Training
from ..deepnet.statistics import (
    Gain,
    UCurveTest,
    at_best_rates,
    dispersion,
    trained,
    u_curve,
)
from ..errors import ProblemError
from ..optimum import over_sets
from ..records import config_from
from .style import BLACK, BLUE, GREEN, GREY, PURPLE, VERMILION, Curve, plain_text, style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "plot_accuracy",
    "plot_alignment",
    "plot_dispersion",
    "plot_gain",
    "plot_heat_map",
    "plot_learning_curves",
]

FloatArray: TypeAlias = NDArray[np.float64]

_TITLES = {"given": "given labels", "linear_teacher": "control: labels of a linear teacher"}
_OUTPUT_MULTIPLIER = r"output multiplier $c$"
_AT_BEST = 0.04  # height of the mark of the best c, in its panel
_MOST_TICKS = 9
_COLOURS = "viridis"


class _Panel(NamedTuple):
    label: str
    curves: tuple[Curve, ...]


# ---------------------------------------------------------------- the U-curve


_ACCURACIES = (
    Curve("test_accuracy", "at the stop", BLACK),
    Curve("test_accuracy_peak", "at its peak", BLUE, (0, (4, 1.5))),
    Curve(
        "validation_risk_stop_test_accuracy", "at the least\nvalidation risk", GREEN, (0, (1, 1))
    ),
)


def plot_accuracy(table: xr.Dataset, figure: Figure | None = None) -> NDArray[Any]:
    """Test accuracy against the output multiplier: the U-curve, upside down, and what is tested.

    Parameters
    ----------
    table : xarray.Dataset
        Of a sweep.
    figure : matplotlib.figure.Figure, optional
        An empty figure to draw on. A new one, unknown to pyplot, unless given.

    Returns
    -------
    array [2, tasks] of matplotlib.axes.Axes
        Above: means over the seeds, at the learning rates of `u_curve`; band: 95 % interval of that
        at the stop. Hollow: not every run reached its training target. Diamond: c*, chosen on one
        half of the seeds. Below: accuracy at the stop less that at c* within the seeds of the other
        half, which chose nothing, with 95 % intervals; runs that missed their target left out.
        One task is left out if every seed of it lacks a run.

    Examples
    --------
    >>> import xarray as xr
    >>> accuracy = np.broadcast_to([0.7, 0.8, 0.6], (1, 2, 1, 3))
    >>> dims = ("task", "seed", "learning_rate", "output_multiplier")
    >>> table = xr.Dataset(
    ...     {
    ...         "test_accuracy": (dims, accuracy),
    ...         "outcome": (dims, np.full(accuracy.shape, "REACHED")),
    ...     },
    ...     coords={
    ...         "task": ["given"],
    ...         "learning_rate": [0.01],
    ...         "log2_output_multiplier": ("output_multiplier", [-4.0, -2.0, 0.0]),
    ...     },
    ... )
    >>> plot_accuracy(table).shape
    (2, 1)
    """
    tasks = _complete_tasks(table)
    with style():
        figure = _figure(figure, (1.8 + 2.5 * len(tasks), 4.6))
        grid: dict[str, Any] = {"squeeze": False, "sharex": True, "height_ratios": [1.5, 1.0]}
        axes = np.asarray(figure.subplots(2, len(tasks), **grid))
        for (above, below), task in zip(axes.T, tasks, strict=True):
            chosen, found = at_best_rates(table, task=task), u_curve(table, task=task)
            for curve in _ACCURACIES:
                if curve.name in chosen:
                    _draw_curve(above, chosen, curve, band=curve is _ACCURACIES[0])
            _draw_best(above, found.log2_best)
            _draw_differences(below, chosen, found.log2_best)
            above.set_title(f"{_TITLES[task]}\n{_findings(found)}")
            for ax in (above, below):
                _dress_multipliers(ax, table, most=6)
            above.set_xlabel("")
        axes[0, 0].set_ylabel("test accuracy")
        axes[1, 0].set_ylabel("points above that\nat the best $c$")
        _legend_outside(axes[0, -1])
        figure.suptitle(_headline(table), fontsize=9, x=0.01, ha="left")
    return axes


def _findings(found: UCurveTest) -> str:
    sides = {"small": found.left, "large": found.right}
    said = [f"at {name} $c$ {side.judgement.value}" for name, side in sides.items()]
    return "dip " + ",\n".join(said)


def _draw_differences(ax: Axes, chosen: xr.Dataset, log2_best: float) -> None:
    """Within the seeds of the testing half, accuracy at each c less that at the best one."""
    ax.axhline(0.0, color=GREY, linewidth=0.6, zorder=1)
    if not math.isfinite(log2_best):
        return
    tested = chosen.isel(seed=~chosen["chooses"].values)
    x = tested["log2_output_multiplier"].values
    values = 100.0 * tested["test_accuracy"].where(trained(tested))
    differences = values - values.isel(output_multiplier=int(np.flatnonzero(x == log2_best)[0]))
    mean, low, high = over_sets(differences.rename(seed="set")).values
    ax.errorbar(x, mean, [mean - low, high - mean], fmt="o-", color=BLACK, markersize=3, capsize=2)


def _draw_best(ax: Axes, log2_best: float) -> None:
    if math.isfinite(log2_best):
        mark: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "color": BLACK}
        ax.plot([log2_best], [_AT_BEST], "D", markersize=4, label="best $c$", clip_on=False, **mark)


def _draw_curve(ax: Axes, chosen: xr.Dataset, curve: Curve, *, band: bool = True) -> None:
    """Mean over the seeds with its interval; hollow where a run missed its target."""
    x = chosen["log2_output_multiplier"].values
    values = chosen[curve.name].transpose("seed", "output_multiplier")
    mean, low, high = over_sets(values.rename(seed="set")).values
    if band:
        ax.fill_between(x, low, high, color=curve.colour, alpha=0.16, linewidth=0)
    line: dict[str, Any] = {"color": curve.colour, "linestyle": curve.linestyle}
    ax.plot(x, mean, marker="o", markersize=3.0, label=curve.label, **line)
    hollow = ~trained(chosen).all("seed").values
    ax.plot(
        x[hollow], mean[hollow], "o", markersize=3.0, color=curve.colour, markerfacecolor="white"
    )


# ---------------------------------------------------------------- alignment


_TARGETS = (("empirical", BLUE, "-"), ("population", GREEN, "-"), ("difference", VERMILION, "-"))


def _cosines(name: str) -> tuple[Curve, ...]:
    return tuple(
        Curve(f"{name}_cosine_{target}", target, colour, dashes)
        for target, colour, dashes in _TARGETS
    )


_ALIGNMENTS = (
    _Panel("cosine of the predictor\nto class means", _cosines("predictor")),
    _Panel("cosine of the predictor's\nchange to class means", _cosines("predictor_change")),
    _Panel("cosine of the readout\nto class features", _cosines("readout")),
    _Panel(
        "cosine of class features,\ntraining to held out",
        (Curve("feature_cosine", "features", BLACK),),
    ),
    _Panel(
        "alignment of kernels\nwith initialisation",
        (
            Curve("tangent_kernel_alignment", "tangent", PURPLE),
            Curve("conjugate_kernel_alignment", "conjugate", PURPLE, (0, (4, 1.5))),
        ),
    ),
    _Panel(
        "relative displacement\nof the weights",
        (Curve("weight_displacement", "displacement", BLACK),),
    ),
)


def plot_alignment(
    table: xr.Dataset, figure: Figure | None = None, *, task: str = "given"
) -> NDArray[Any]:
    """What networks have aligned with, and how far they moved, against the output multiplier.

    Parameters
    ----------
    table : xarray.Dataset
        Of a sweep, with what `overalign.deepnet.mechanism.Mechanism` measures.
    figure : matplotlib.figure.Figure, optional
        As in `plot_accuracy`.
    task : {"given", "linear_teacher"}

    Returns
    -------
    array [2, 3] of matplotlib.axes.Axes
        Cosines of the predictor, its change and the readout to the empirical class means, those of
        the population, and their difference; cosine between class features; alignment of the
        kernels with those at initialisation; displacement of the weights.

    Raises
    ------
    ProblemError
        Nothing of this was measured (``mechanism`` of the training is false).
    """
    if "weight_displacement" not in table:
        raise ProblemError(
            "the table has no alignment to be drawn; sweep with mechanism = true in [training]"
        )
    chosen = at_best_rates(table, task=task)
    with style():
        figure = _figure(figure, (7.4, 4.4))
        axes = np.asarray(figure.subplots(2, 3, sharex=True))
        for ax, panel in zip(axes.flat, _ALIGNMENTS, strict=True):
            for curve in panel.curves:
                _draw_curve(ax, chosen, curve)
            ax.set_ylabel(panel.label)
            _dress_multipliers(ax, table, most=6)
        for ax in axes[0]:
            ax.set_xlabel("")
            ax.axhline(0.0, color=GREY, linewidth=0.6, zorder=1)
        axes[1, 2].set_yscale("log")
        _legend_outside(axes[0, 2], title="class means")
        _legend_outside(axes[1, 2], of=axes[1, 1], title="kernels")
        figure.suptitle(f"{_headline(table)}, {_TITLES[task]}", fontsize=9, x=0.01, ha="left")
    return axes


# ---------------------------------------------------------------- heat map


_MARKS = {
    "DIVERGED": ("X", "diverged"),
    "STUCK": ("s", "stuck"),
    "BUDGET": ("v", "target missed"),
}
_TO_MATHTEXT = str.maketrans({" ": r"\,", "(": "{", ")": "}"})


def plot_heat_map(
    table: xr.Dataset,
    figure: Figure | None = None,
    *,
    quantity: str = "test_accuracy",
    task: str = "given",
) -> Axes:
    """An accuracy over output multiplier and step size.

    Parameters
    ----------
    table : xarray.Dataset
        Of a sweep with several learning rates.
    figure : matplotlib.figure.Figure, optional
        As in `plot_accuracy`.
    quantity : str
        An accuracy.
    task : {"given", "linear_teacher"}

    Returns
    -------
    matplotlib.axes.Axes
        Colour: mean over the seeds, grey where there is none. Step sizes are those of the steps,
        by `Training.step_rule`. Marked: cells in which a run diverged, was stuck, or missed its
        target, the worst of them.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    cells = table.sel(task=task).transpose("seed", "learning_rate", "output_multiplier", ...)
    mean = over_sets(cells[quantity].rename(seed="set")).sel(statistic="mean").values
    if not np.isfinite(mean).any():
        raise ProblemError(f"no run of the table has a number for {quantity}; nothing to draw")
    x = table["log2_output_multiplier"].values.astype(float)
    rates = np.log2(table["learning_rate"].values.astype(float))
    power, step_size = _training(table).step_rule()
    steps = rates[:, None] - power * x
    scale = Normalize(float(np.nanmin(mean)), float(np.nanmax(mean)))
    with style():
        figure = _figure(figure, (5.2, 4.4))
        ax = figure.subplots()
        edges, heights = _edges(x), _edges(rates)
        for k, column in enumerate(mean.T):
            corners = heights + (steps[0, k] - rates[0])
            shown = np.ma.masked_invalid(column[:, None])
            mesh: dict[str, Any] = {"cmap": _COLOURS, "norm": scale, "edgecolors": "white"}
            ax.pcolormesh(edges[k : k + 2], corners, shown, linewidth=0.4, **mesh)
        ax.set_facecolor("#e6e6e6")
        _mark_outcomes(ax, cells["outcome"].values, np.broadcast_to(x, steps.shape), steps)
        _dress_multipliers(ax, table)
        _powers_of_two(ax.yaxis, float(steps.min()), float(steps.max()))
        ax.set_xlim(edges[0], edges[-1])
        ax.set_ylabel(f"step size {_typeset(step_size)}")
        figure.colorbar(ScalarMappable(scale, _COLOURS), ax=ax, label=quantity.replace("_", " "))
        figure.suptitle(f"{_headline(table)}, {_TITLES[task]}", fontsize=9, x=0.01, ha="left")
    return ax


def _mark_outcomes(ax: Axes, outcomes: NDArray[Any], x: FloatArray, y: FloatArray) -> None:
    left = np.full(x.shape, True)
    look: dict[str, Any] = {"linestyle": "", "markersize": 6, "color": "white"}
    for name, (marker, label) in _MARKS.items():
        marked = (outcomes == name).any(axis=0) & left
        left &= ~marked
        if marked.any():
            edge: dict[str, Any] = {"markeredgecolor": BLACK, "markeredgewidth": 0.8}
            ax.plot(x[marked], y[marked], marker=marker, label=label, **look, **edge)
    if not left.all():
        above: dict[str, Any] = {
            "loc": "lower left",
            "bbox_to_anchor": (0.0, 1.0),
            "borderaxespad": 0.2,
        }
        ax.legend(ncols=len(_MARKS), handletextpad=0.3, **above)


def _edges(centres: FloatArray) -> FloatArray:
    """Borders half-way between centres; of a single one, a factor of 2 to either side."""
    if centres.size == 1:
        return np.array([centres[0] - 1.0, centres[0] + 1.0])
    middle = 0.5 * (centres[1:] + centres[:-1])
    first, last = 1.5 * centres[0] - 0.5 * centres[1], 1.5 * centres[-1] - 0.5 * centres[-2]
    return np.concatenate([[first], middle, [last]])


def _typeset(step_size: str) -> str:
    """A formula of words such as "lr c^(-2/3)"."""
    return f"${step_size}$".translate(_TO_MATHTEXT).replace("lr", r"\mathrm{lr}")


# ---------------------------------------------------------------- learning curves


def plot_learning_curves(
    table: xr.Dataset,
    figure: Figure | None = None,
    *,
    task: str = "given",
    against: str = "epoch",
) -> NDArray[Any]:
    """Accuracy on the training and the test set while networks are trained.

    Parameters
    ----------
    table : xarray.Dataset
        Of a sweep, with the histories.
    figure : matplotlib.figure.Figure, optional
        As in `plot_accuracy`.
    task : {"given", "linear_teacher"}
    against : {"epoch", "time"}
        Epochs, or lr times the number of steps of "sgd", the time of a gradient flow (momentum
        makes it pass 1 / (1 - momentum) times as fast).

    Returns
    -------
    array [2] of matplotlib.axes.Axes
        Means over the seeds, coloured by c, up to the last stop of a seed; a network that has
        stopped keeps its accuracy. Logarithmic beyond the first evaluation.

    Raises
    ------
    ProblemError
        Time was asked for of "adam", whose steps are those of no gradient flow.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    if against not in ("epoch", "time"):
        raise ProblemError(f"against is {against!r}, expected 'epoch' or 'time'")
    if against == "time" and _training(table).optimiser == "adam":
        raise ProblemError(
            "against='time' is lr times steps, which is the time of a gradient flow for 'sgd'; the "
            "steps of 'adam' have one size whatever the gradient; draw against='epoch'"
        )
    chosen = at_best_rates(table, task=task)
    x = chosen["log2_output_multiplier"].values.astype(float)
    scale = Normalize(x[0], x[-1] if x.size > 1 else x[0] + 1.0)
    with style():
        figure = _figure(figure, (6.75, 2.9))
        axes = np.asarray(figure.subplots(1, 2, sharex=True, sharey=True))
        colours = ScalarMappable(scale, _COLOURS)
        for ax, name in zip(axes, ("train", "test"), strict=True):
            for k, log2_c in enumerate(x):
                one = chosen.isel(output_multiplier=k)
                times, values = _mean_history(one, f"{name}_accuracy_history", against)
                ax.plot(times, values, color=colours.to_rgba(log2_c))
                ax.plot(times[-1:], values[-1:], "o", markersize=3, color=colours.to_rgba(log2_c))
            ax.set_title(f"{'training' if name == 'train' else name} set")
            ax.set_xlabel("epoch" if against == "epoch" else r"lr $\times$ steps")
        later = [line.get_xdata()[1] for line in axes[0].lines if len(line.get_xdata()) > 1]
        axes[0].set_xscale("symlog", linthresh=float(min(later, default=1.0)), linscale=0.4)
        axes[0].set_xlim(0.0, None)
        axes[0].set_ylabel("accuracy")
        bar = figure.colorbar(colours, ax=axes, label=_OUTPUT_MULTIPLIER)
        _powers_of_two(bar.ax.yaxis, x[0], x[-1])
        figure.suptitle(f"{_headline(table)}, {_TITLES[task]}", fontsize=9, x=0.01, ha="left")
    return axes


def _mean_history(one: xr.Dataset, name: str, against: str) -> tuple[FloatArray, FloatArray]:
    """Times and means over the seeds of one cell; what has stopped keeps its last value."""
    history = one[name].transpose("seed", "epoch").values.astype(float)
    seen = np.isfinite(history)
    last = np.where(seen, np.arange(history.shape[1]), 0)
    held = np.take_along_axis(history, np.maximum.accumulate(last, axis=1), axis=1)
    there = np.flatnonzero(seen.any(axis=0))
    times = one["epoch"].values.astype(float)
    if against == "time":
        per_epoch = float((one["steps"] / one["epochs"].where(one["epochs"] > 0)).mean())
        times = times * per_epoch * float(one["learning_rate"])
    return times[there], np.nanmean(held[:, there], axis=0)


# ---------------------------------------------------------------- gain, dispersion


def plot_gain(
    effective_dimensions: Iterable[float], gains: Sequence[Gain], figure: Figure | None = None
) -> Axes:
    """What the best c gains over c = 1, against the effective dimension of the data.

    Parameters
    ----------
    effective_dimensions : iterable of float
        Of the data of each sweep.
    gains : sequence of Gain
        From `overalign.deepnet.statistics.gain`.
    figure : matplotlib.figure.Figure, optional
        As in `plot_accuracy`.

    Returns
    -------
    matplotlib.axes.Axes
        In points of accuracy, with 95 % intervals.

    Examples
    --------
    >>> gains = [Gain(0.01, 0.0, 0.02, -4.0, 0.0, 8), Gain(0.03, 0.01, 0.05, -4.0, 0.0, 8)]
    >>> plot_gain([32, 64], gains).get_ylabel()
    'gain over $c=1$, points'
    """
    order = sorted(zip(effective_dimensions, gains, strict=True), key=lambda pair: pair[0])
    x = np.log2([dimension for dimension, _ in order])
    value, low, high = 100.0 * np.array([(each.value, each.low, each.high) for _, each in order]).T
    with style():
        figure = _figure(figure, (3.4, 2.7))
        ax = figure.subplots()
        ax.axhline(0.0, color=GREY, linewidth=0.6, zorder=1)
        bars: dict[str, Any] = {"color": BLACK, "marker": "o", "markersize": 4, "capsize": 2}
        ax.errorbar(x, value, [value - low, high - value], elinewidth=0.8, **bars)
        ax.set_xticks(x, [f"{2.0**each:.4g}" for each in x])
        ax.set_xlabel("effective dimension of the data")
        ax.set_ylabel("gain over $c=1$, points")
    return ax


def plot_dispersion(table: xr.Dataset, figure: Figure | None = None) -> Axes:
    """Spread of the test accuracy over the seeds, against the output multiplier.

    Parameters
    ----------
    table : xarray.Dataset
        Of a sweep.
    figure : matplotlib.figure.Figure, optional
        As in `plot_accuracy`.

    Returns
    -------
    matplotlib.axes.Axes
        Standard deviation in points with 95 % intervals, of the runs that reached their target,
        for each task; dotted: the best c of each. One task is left out if every seed of it lacks a
        run.
    """
    colours = {"given": BLACK, "linear_teacher": BLUE}
    with style():
        figure = _figure(figure, (4.6, 2.7))
        ax = figure.subplots()
        for task in _complete_tasks(table):
            found, colour = dispersion(table, task=task), colours[task]
            value, low, high = (
                100.0 * np.sqrt(each) for each in (found.variance, found.low, found.high)
            )
            ax.fill_between(found.log2_c, low, high, color=colour, alpha=0.14, linewidth=0)
            ax.plot(found.log2_c, value, "o-", markersize=3, color=colour, label=_TITLES[task])
            if math.isfinite(found.log2_best):
                ax.axvline(found.log2_best, color=colour, linewidth=0.8, linestyle=":")
        _dress_multipliers(ax, table)
        ax.set_ylim(0.0, None)
        ax.set_ylabel("standard deviation\nover seeds, points")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax


# ---------------------------------------------------------------- what they share


def _complete_tasks(table: xr.Dataset) -> list[str]:
    """Tasks of which a seed has all its runs; all if there is none, for the error that says so."""
    cells = ["learning_rate", "output_multiplier"]
    complete = table["outcome"].isin(OUTCOMES).all(cells).any("seed").values
    tasks = table["task"].values
    return [str(task) for task in (tasks[complete] if complete.any() else tasks)]


def _figure(figure: Figure | None, size: tuple[float, float]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size) if figure is None else figure
    figure.set_layout_engine("constrained", wspace=0.03, w_pad=0.04, h_pad=0.04)
    return figure


def _dress_multipliers(ax: Axes, table: xr.Dataset, most: int = _MOST_TICKS) -> None:
    x = table["log2_output_multiplier"].values.astype(float)
    room = 0.03 * (x[-1] - x[0]) or 1.0
    ax.set_xlim(x[0] - room, x[-1] + room)
    _powers_of_two(ax.xaxis, x[0], x[-1], most)
    ax.set_xlabel(_OUTPUT_MULTIPLIER)


def _powers_of_two(axis: Any, low: float, high: float, most: int = _MOST_TICKS) -> None:
    """Ticks at whole, even if need be, powers of two."""
    step = 1
    while (high - low) / step >= most:
        step *= 2
    first = step * math.ceil(low / step - 1e-9)
    ticks = np.arange(first, high + 1e-9, step)
    axis.set_ticks(ticks, labels=[f"$2^{{{tick:.0f}}}$" for tick in ticks])


def _legend_outside(ax: Axes, of: Axes | None = None, title: str | None = None) -> None:
    handles, labels = (of or ax).get_legend_handles_labels()
    place: dict[str, Any] = {
        "loc": "center left",
        "bbox_to_anchor": (1.01, 0.5),
        "handlelength": 2.6,
    }
    ax.legend(handles, labels, title=title, alignment="left", title_fontsize=8, **place)


def _settings(table: xr.Dataset) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(table.attrs.get("settings", "{}"))
    return settings


def _training(table: xr.Dataset) -> Training:
    return config_from(Training, _settings(table).get("training", {}), "settings of the table")


def _headline(table: xr.Dataset) -> str:
    settings = _settings(table)
    task, architecture = settings.get("task", {}), settings.get("architecture", {})
    words = [plain_text(str(task["data"]))] if "data" in task else []
    if task.get("n"):
        words.append(f"$n={task['n']}$")
    if architecture:
        words.append(f"{architecture['model']} of width {architecture['width']}")
    seeds = table.sizes["seed"]
    return ", ".join([*words, "1 seed" if seeds == 1 else f"{seeds} seeds"])
