"""The figure of `overalign ucurve` draws the numbers of its Dataset."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from overalign.optimum import find_optimum, over_sets
from overalign.plots import plot_ucurve
from overalign.ucurve import UCurve, run_ucurve

SMALL: dict[str, Any] = {"width": 8, "alphas": 4, "eta": 0.3, "alpha_min": 1e-8}


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    return run_ucurve(UCurve(data="mixture:n=6", sets=3, **SMALL))


def drawn(dataset: xr.Dataset, figure: Figure | None = None) -> np.ndarray:
    axes = plot_ucurve(dataset, figure)
    axes[0, 0].figure.canvas.draw()  # what is wrong with ticks and labels shows here
    return axes


def curve(axes: Any, label: str) -> np.ndarray:
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return np.asarray(line.get_ydata())


def test_curves_are_means_over_the_data_sets(dataset: xr.Dataset) -> None:
    axes = drawn(dataset)
    assert axes.shape == (4, 2)
    for column, kind in zip(axes.T, dataset.initialisation.values, strict=True):
        part = dataset.sel(initialisation=kind)
        np.testing.assert_array_equal(curve(column[0], "network"), part.network_error.mean("set"))
        np.testing.assert_array_equal(
            curve(column[2], "over-alignment OA"), part.over_alignment.mean("set")
        )
        assert kind in column[0].get_title()
        band = next(c for c in column[0].collections if isinstance(c, PolyCollection))
        _, low, high = over_sets(part.network_error).values
        heights = band.get_paths()[0].vertices[:, 1]
        assert {heights.min(), heights.max()} == {low.min(), high.max()}


def test_the_optimum_and_its_interval_are_marked(dataset: xr.Dataset) -> None:
    top = drawn(dataset)[0, 0]
    part = dataset.sel(initialisation="independent")
    optimum = find_optimum(part.network_error, part.log_alpha)
    (mark,) = [line for line in top.lines if line.get_label() == "optimum"]
    assert mark.get_xdata()[0] == pytest.approx(optimum.log_alpha / np.log(10.0))
    bars = [np.asarray(line.get_xdata()) for line in top.lines if len(line.get_xdata()) == 2]
    ends = np.array([optimum.low, optimum.high]) / np.log(10.0)
    assert any(np.allclose(bar, ends) for bar in bars)


def test_c_stands_above_alpha_as_its_square(dataset: xr.Dataset) -> None:
    axes = drawn(dataset)
    (above,) = axes[0, 0].child_axes
    below = [label.get_text() for label in axes[-1, 0].get_xticklabels()]
    exponents = [int(text.partition("{")[2].partition("}")[0]) for text in below]
    assert exponents[:2] == [-8, -6]
    assert [label.get_text() for label in above.get_xticklabels()] == [
        f"$10^{{{2 * exponent}}}$" for exponent in exponents
    ]


def test_where_zeta_is_negative_is_shaded(dataset: xr.Dataset) -> None:
    edges = dataset.log_alpha_where_zeta_vanishes.values / np.log(10.0)
    shaded = sorted(patch.get_x() for patch in drawn(dataset)[0, 0].patches)
    np.testing.assert_allclose(shaded, np.quantile(edges, [0.0, 0.5, 1.0]))


def test_scales_beyond_float64_are_drawn() -> None:
    small = SMALL | {"alpha_min": 1e-300, "initialisation": "paired"}
    axes = drawn(run_ucurve(UCurve(data="mixture:n=6", sets=1, **small)))
    assert axes.shape == (4, 1)
    (above,) = axes[0, 0].child_axes
    assert above.get_xticklabels()[0].get_text() == "$10^{-600}$"


def test_held_out_errors_have_no_panel_of_excess_errors() -> None:
    axes = drawn(run_ucurve(UCurve(data="digits:3,8", n=20, sets=2, **SMALL)))
    assert axes.shape == (3, 2)
    labels = {line.get_label() for ax in axes.flat for line in ax.lines}
    assert "network" in labels
    assert not any("E(" in label or "Bayes" in label for label in labels)


def test_trainings_that_missed_the_stop_leave_gaps(dataset: xr.Dataset) -> None:
    gaps = dataset.copy(deep=True)
    gaps.network_error[:, :, 0] = np.nan
    assert np.isnan(curve(drawn(gaps)[0, 0], "network")[0])
    gaps.network_error[...] = np.nan
    assert not [line for line in drawn(gaps)[0, 0].lines if line.get_label() == "optimum"]


def test_a_figure_of_the_caller_is_used_and_pyplot_left_alone(dataset: xr.Dataset) -> None:
    import matplotlib.pyplot as plt

    figure = Figure()
    assert drawn(dataset, figure)[0, 0].figure is figure
    assert plt.get_fignums() == []
