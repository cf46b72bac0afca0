"""Figures of sweeps draw the numbers of the table."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from sweep_tables import GRID, MECHANISM, full_table, planted_u, sweep_table

import overalign as oa
from overalign.deepnet.statistics import Gain, at_best_rates, dispersion, u_curve
from overalign.plots import (
    plot_accuracy,
    plot_alignment,
    plot_dispersion,
    plot_gain,
    plot_heat_map,
    plot_learning_curves,
    save_figure,
)
from overalign.plots.style import BLUE, GREEN, VERMILION

RATES = (0.0025, 0.01, 0.04, 0.16)
GAINS = [Gain(0.03, 0.01, 0.05, -4.0, 0.0, 8), Gain(0.01, -0.01, 0.03, -2.0, 0.0, 8)]


@pytest.fixture(scope="module")
def table() -> xr.Dataset:
    return full_table(seeds=16)


def draw_gain(_: xr.Dataset, figure: Figure | None = None) -> Any:
    return plot_gain([64, 32], GAINS, figure)


PLOTS: list[Callable[..., Any]] = [
    *(plot_accuracy, plot_alignment, plot_heat_map, plot_learning_curves),
    *(plot_dispersion, draw_gain),
]


def figure_of(axes: Any) -> Figure:
    figure: Figure = np.atleast_1d(axes).flat[0].figure
    return figure


def curves(ax: Any) -> list[np.ndarray]:
    """What the lines through all c show."""
    return [line.get_ydata() for line in ax.lines if len(line.get_xdata()) == GRID.size]


# ------------------------------------------------------------------------------ every one


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize(
    "table",
    [
        full_table(),
        full_table(rates=RATES, validation=False),
        full_table(seeds=1),
        full_table().isel(task=[1]).assign_coords(task=["given"]),
        full_table().isel(output_multiplier=[3]),
    ],
    ids=["both tasks", "several rates", "one seed", "one task", "one c"],
)
def test_any_table_is_drawn(plot: Callable[..., Any], table: xr.Dataset) -> None:
    figure_of(plot(table)).canvas.draw()  # what is wrong with ticks and labels shows here


@pytest.mark.parametrize("plot", PLOTS)
def test_a_figure_of_the_caller_is_used_and_settings_are_left_alone(
    plot: Callable[..., Any], table: xr.Dataset
) -> None:
    before, figure = dict(matplotlib.rcParams), Figure(figsize=(7, 5))
    assert figure_of(plot(table, figure)) is figure
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("plot", [plot_accuracy, plot_heat_map, plot_learning_curves])
def test_a_stored_table_draws_the_same(
    plot: Callable[..., Any], table: xr.Dataset, tmp_path: Path
) -> None:
    stored = oa.read_dataset(oa.write_dataset(table, tmp_path / "table.nc"))
    pictures = [
        save_figure(figure_of(plot(each)), tmp_path / name).read_bytes()
        for each, name in ((table, "a.png"), (stored, "b.png"))
    ]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("plot", [plot_accuracy, plot_alignment, plot_learning_curves])
def test_failed_runs_are_no_obstacle(plot: Callable[..., Any], table: xr.Dataset) -> None:
    holes = table.copy(deep=True)
    holes.outcome[:, 3] = "FAILED"
    for name, values in holes.data_vars.items():
        if values.dtype.kind in "iuf":
            holes[name] = values.astype(float).where(holes.seed != 3)
    figure_of(plot(holes)).canvas.draw()


def test_a_control_without_complete_seeds_is_left_out(table: xr.Dataset) -> None:
    holes = table.copy(deep=True)
    holes.outcome[1, :, 0, 0] = "FAILED"
    assert plot_accuracy(holes).shape == (2, 1)
    labels = [text.get_text() for text in plot_dispersion(holes).get_legend().get_texts()]
    assert labels == ["given labels"]
    holes.outcome[0, :, 0, 0] = "FAILED"
    for plot in (plot_accuracy, plot_dispersion):
        with pytest.raises(oa.ProblemError, match="labels given: runs of every seed are missing"):
            plot(holes)


def test_what_was_not_measured_is_not_drawn(table: xr.Dataset) -> None:
    with pytest.raises(oa.ProblemError, match="mechanism = true"):
        plot_alignment(table.drop_vars(MECHANISM))


def test_a_sweep_that_trained_nothing_is_drawn(table: xr.Dataset) -> None:
    nothing = table.copy(deep=True)
    nothing["outcome"] = xr.full_like(nothing.outcome, "STUCK")
    for plot in (plot_accuracy, plot_heat_map, plot_dispersion):
        figure_of(plot(nothing)).canvas.draw()
    nothing["test_accuracy"] = nothing.test_accuracy * math.nan
    with pytest.raises(oa.ProblemError, match="nothing to draw"):
        plot_heat_map(nothing)


def test_multipliers_are_powers_of_two(table: xr.Dataset) -> None:
    ax = plot_dispersion(table)
    ax.figure.canvas.draw()
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert labels == [f"$2^{{{k}}}$" for k in range(-12, 6, 2)]
    np.testing.assert_array_equal(ax.get_xticks(), GRID)


def test_names_with_dollar_signs_are_shown_as_they_are(table: xr.Dataset) -> None:
    odd = table.copy()
    odd.attrs["settings"] = json.dumps({"task": {"data": "npz:a$b_$.npz", "n": None}})
    figure = figure_of(plot_accuracy(odd))
    figure.canvas.draw()
    assert figure.get_suptitle() == r"npz:a\$b_\$.npz, 16 seeds"


# ---------------------------------------------------------------------------- the U-curve


def test_accuracies_drawn_are_means_of_the_table(table: xr.Dataset) -> None:
    axes = plot_accuracy(table)
    assert axes.shape == (2, 2)
    for (above, _), task in zip(axes.T, ("given", "linear_teacher"), strict=True):
        names = ("test_accuracy", "test_accuracy_peak", "validation_risk_stop_test_accuracy")
        for drawn, name in zip(curves(above), names, strict=True):
            expected = table[name].sel(task=task).mean("seed").values[0]
            np.testing.assert_allclose(drawn, expected, rtol=1e-12)
        (best,) = (line for line in above.lines if line.get_label() == "best $c$")
        assert best.get_xdata() == [u_curve(table, task=task).log2_best]


def test_differences_drawn_are_those_that_are_tested() -> None:
    table = sweep_table(planted_u(depth=0.04), noise=0.002)
    axes, found = plot_accuracy(table), u_curve(table)
    drawn = curves(axes[1, 0])[0]
    assert drawn[4] == 0.0
    assert -drawn[[0, -1]] == pytest.approx(
        [100 * found.left.difference, 100 * found.right.difference], rel=1e-9
    )
    (bars,) = (c for c in axes[1, 0].collections if len(c.get_segments()) == GRID.size)
    low, high = bars.get_segments()[0][:, 1]
    assert (-high, -low) == pytest.approx((100 * found.left.low, 100 * found.left.high), rel=1e-9)
    assert "dip at small $c$ holds,\nat large $c$ holds" in axes[0, 0].get_title()


def test_cells_with_untrained_runs_are_hollow(table: xr.Dataset) -> None:
    above = plot_accuracy(table)[0, 0]
    hollow = [line.get_xdata() for line in above.lines if line.get_markerfacecolor() == "white"]
    for places in hollow:
        np.testing.assert_array_equal(places, [-12.0, -10.0, 4.0])


# ------------------------------------------------------------------------------- alignment


def test_every_quantity_of_the_mechanism_is_drawn_once(table: xr.Dataset) -> None:
    drawn = [line for ax in plot_alignment(table).flat for line in curves(ax)]
    assert len(drawn) == len(MECHANISM)
    for values, name in zip(drawn, MECHANISM, strict=True):
        expected = table[name].sel(task="given").mean("seed").values[0]
        np.testing.assert_allclose(values, expected, rtol=1e-12, err_msg=name)


def test_targets_have_colours_of_their_own(table: xr.Dataset) -> None:
    for ax in plot_alignment(table)[0]:
        colours = [to_hex(line.get_color()) for line in ax.lines if "cosine" in ax.get_ylabel()]
        for colour in (BLUE, GREEN, VERMILION):
            assert colour.lower() in colours


def test_the_names_are_those_of_the_mechanism() -> None:
    from overalign.deepnet import mechanism

    assert MECHANISM == mechanism.MECHANISM


# -------------------------------------------------------------------------------- heat map


def test_cells_stand_at_their_step_sizes() -> None:
    table = full_table(rates=RATES)
    ax = plot_heat_map(table)
    meshes = [c for c in ax.collections if hasattr(c, "get_coordinates")]
    assert len(meshes) == GRID.size
    expected = table.test_accuracy.sel(task="given").mean("seed")
    for k, mesh in enumerate(meshes):
        np.testing.assert_allclose(mesh.get_array()[:, 0], expected.values[:, k], rtol=1e-12)
        corners = mesh.get_coordinates()
        middle = 0.5 * (corners[:-1, 0] + corners[1:, 1])
        np.testing.assert_allclose(middle[:, 0], GRID[k])
        np.testing.assert_allclose(middle[:, 1], np.log2(RATES) - GRID[k])


@pytest.mark.parametrize(
    ("training", "power", "label"),
    [
        ({}, 1.0, r"step size $\mathrm{lr}\,/\,c$"),
        ({"homogeneous_degree": 4.0}, 0.5, r"step size $\mathrm{lr}\,c^{-2/4}$"),
        ({"optimiser": "adam"}, 0.0, r"step size $\mathrm{lr}$"),
    ],
)
def test_step_sizes_are_those_of_the_training(
    training: dict[str, Any], power: float, label: str
) -> None:
    table = full_table(rates=RATES)
    settings = json.loads(table.attrs["settings"])
    settings["training"] |= training
    table.attrs["settings"] = json.dumps(settings)
    ax = plot_heat_map(table)
    corners = [c.get_coordinates() for c in ax.collections if hasattr(c, "get_coordinates")]
    lowest = [0.5 * (mesh[0, 0, 1] + mesh[1, 0, 1]) for mesh in corners]
    np.testing.assert_allclose(lowest, np.log2(RATES[0]) - power * GRID)
    assert ax.get_ylabel() == label
    ax.figure.canvas.draw()  # a formula that cannot be typeset is an error
    legend = ax.get_legend()
    assert legend is not None
    assert not legend.get_window_extent().overlaps(ax.get_window_extent()), "it covers cells"


def test_the_worst_outcome_of_a_cell_is_marked() -> None:
    table = full_table(rates=RATES)
    table.outcome[0, 0, 0, 0] = "DIVERGED"  # where others are stuck
    marks = {line.get_label(): line.get_xydata() for line in plot_heat_map(table).lines}
    small, large = np.log2(RATES[0]), np.log2(RATES[-1])
    np.testing.assert_allclose(marks["diverged"], [[-12.0, small + 12.0], [4.0, large - 4.0]])
    np.testing.assert_allclose(marks["target missed"], [[-10.0, small + 10.0]])
    assert "stuck" not in marks


# ------------------------------------------------------------------------- learning curves


def test_histories_are_averaged_and_held() -> None:
    table = full_table(seeds=2)
    table.epochs[0, 1, 0, 0] = 10
    history = table.test_accuracy_history
    history[0, 1, 0, 0, 11:] = math.nan
    _, ax = plot_learning_curves(table)
    line = ax.lines[0]
    assert len(line.get_xdata()) == 21
    values = history.values[0, :, 0, 0]
    np.testing.assert_allclose(line.get_ydata()[:11], values[:, :11].mean(axis=0))
    np.testing.assert_allclose(line.get_ydata()[11:], (values[0, 11:] + values[1, 10]) / 2.0)


def test_time_is_the_rate_times_the_steps() -> None:
    table = full_table()
    epochs, times = (plot_learning_curves(table, against=name)[0] for name in ("epoch", "time"))
    for by_epoch, by_time in zip(epochs.lines, times.lines, strict=True):
        np.testing.assert_allclose(by_time.get_xdata(), 0.01 * 32 * by_epoch.get_xdata())
        np.testing.assert_array_equal(by_time.get_ydata(), by_epoch.get_ydata())
    with pytest.raises(oa.ProblemError, match="expected 'epoch' or 'time'"):
        plot_learning_curves(table, against="steps")


def test_steps_of_adam_are_no_time() -> None:
    table = full_table()
    settings = json.loads(table.attrs["settings"])
    settings["training"]["optimiser"] = "adam"
    table.attrs["settings"] = json.dumps(settings)
    with pytest.raises(oa.ProblemError, match="steps of 'adam' have one size whatever"):
        plot_learning_curves(table, against="time")
    assert len(plot_learning_curves(table)) == 2


# ------------------------------------------------------------------------ gain, dispersion


def test_gains_stand_in_order_of_dimension() -> None:
    ax = plot_gain([64, 32], GAINS)
    line = next(line for line in ax.lines if line.get_marker() == "o")
    np.testing.assert_allclose(line.get_xdata(), [5.0, 6.0])
    np.testing.assert_allclose(line.get_ydata(), [1.0, 3.0])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["32", "64"]


def test_spread_drawn_is_that_of_the_statistics(table: xr.Dataset) -> None:
    ax = plot_dispersion(table)
    expected = [
        100.0 * np.sqrt(dispersion(table, task=t).variance) for t in ("given", "linear_teacher")
    ]
    np.testing.assert_allclose(curves(ax), expected, rtol=1e-12)


def test_networks_drawn_are_at_the_best_learning_rate() -> None:
    table = full_table(rates=RATES, validation=False)
    chosen = at_best_rates(table)
    drawn = curves(plot_accuracy(table)[0, 0])[0]
    np.testing.assert_allclose(drawn, chosen.test_accuracy.mean("seed").values, rtol=1e-12)
