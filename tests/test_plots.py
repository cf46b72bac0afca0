"""Figures draw the numbers of a Dataset."""

import math
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image, ImageChops

import overalign as oa
from overalign.plots import plot_flow, save_figure, time_windows


def flow(
    log_alpha: float = -7.0,
    stop: oa.Stop | None = None,
    data: str = "mixture:n=6,kappa=3",
    loss: oa.SquareLoss | None = None,
) -> xr.Dataset:
    sample = oa.read_sample(data)
    network = oa.Network.random(8, sample.dimension, seed=11)
    run = oa.solve(sample, network, log_alpha, stop or oa.stop_at_risk(0.1), loss)
    return oa.flow_dataset(run)


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    return flow()


def drawn(dataset: xr.Dataset, figure: Figure | None = None) -> np.ndarray:
    axes = plot_flow(dataset, figure)
    axes[0, 0].figure.canvas.draw()  # what is wrong with ticks and labels shows here
    return axes


# ------------------------------------------------------------------------------- windows


def test_time_is_cut_at_the_onset(dataset: xr.Dataset) -> None:
    first, second = time_windows(dataset)
    onset, end = dataset.attrs["onset"], dataset.attrs["end"]
    assert (first.start, first.end, first.scale) == (0.0, onset, "symlog")
    assert (second.start, second.end, second.scale) == (onset, end, "linear")
    assert 1e-6 * onset <= first.linear_below <= 0.1 * onset


def test_a_long_second_phase_is_logarithmic() -> None:
    assert time_windows(flow(stop=oa.stop_at_risk(1e-4)))[1].scale == "log"


def test_a_single_phase_is_one_window() -> None:
    (early,) = time_windows(flow(stop=oa.stop_at_time(0.5)))
    (late,) = time_windows(flow(log_alpha=1.0))
    assert "phase 1" in early.title
    assert late.title == "fitting from the start"


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(oa.ProblemError, match="nothing to draw"):
        plot_flow(flow(stop=oa.stop_at_risk(0.7)))


# -------------------------------------------------------------------------------- panels


def test_panels_and_phases_stand_on_shared_axes(dataset: xr.Dataset) -> None:
    axes = drawn(dataset)
    assert axes.shape == (4, 2)
    for row in axes:
        assert row[0].get_ylim() == row[1].get_ylim()
    for column in axes.T:
        assert len({ax.get_xlim() for ax in column}) == 1
    assert axes[0, 0].get_xlim()[1] == axes[0, 1].get_xlim()[0] == dataset.attrs["onset"]


def test_the_risk_drawn_is_the_risk_stored(dataset: xr.Dataset) -> None:
    axes = plot_flow(dataset)
    lines = [ax.get_lines()[-1] for ax in axes[0]]
    times = np.concatenate([line.get_xdata() for line in lines])
    risks = np.concatenate([line.get_ydata() for line in lines])
    np.testing.assert_array_equal(np.unique(times), dataset.time)
    np.testing.assert_array_equal(np.unique(risks), np.unique(dataset.risk))
    assert axes[0, 0].get_lines()[0].get_ydata()[0] == 0.1  # the target


def test_every_neuron_has_a_line_of_its_own_class(dataset: xr.Dataset) -> None:
    axes = plot_flow(dataset)
    for row in (1, 2):
        (lines,) = (c for c in axes[row, 0].collections if isinstance(c, LineCollection))
        assert len(lines.get_segments()) == 8
    ends = sorted(segment[0, 1] for segment in lines.get_segments())
    own = np.where(dataset.sign > 0, dataset.angle_positive[0], dataset.angle_negative[0])
    np.testing.assert_allclose(ends, np.sort(np.degrees(own)), rtol=1e-12)


def test_every_kink_and_slide_is_drawn_once() -> None:
    dataset = flow(data="digits:3,8")
    assert dataset.sizes["slide"] > 0
    axes = plot_flow(dataset)
    marks = [s for ax in axes[-1] for c in ax.collections for s in c.get_segments()]
    ticks = [s for s in marks if s[0, 0] == s[1, 0]]
    crossings = (dataset.kink_before != 0) & (dataset.kink_after != 0)
    assert len(ticks) == int(crossings.sum())
    shown = sum(s[1, 0] - s[0, 0] for s in marks)
    assert shown == pytest.approx(float((dataset.slide_end - dataset.slide_start).sum()))


def test_real_targets_have_no_panel_of_angles(tmp_path: Path) -> None:
    np.savez(tmp_path / "real.npz", x=np.eye(3), y=[0.5, -0.2, 0.1])
    stop = oa.stop_at_time(3.0)
    axes = drawn(flow(stop=stop, data=str(tmp_path / "real.npz"), loss=oa.SquareLoss()))
    assert axes.shape[0] == 3


@pytest.mark.parametrize("log_alpha", [0.0, math.log(1e-100), -5000.0])
def test_any_alpha_is_drawn(log_alpha: float) -> None:
    axes = drawn(flow(log_alpha=log_alpha))
    floor = axes[2, 0].get_ylim()[0]
    assert np.isfinite(floor)
    assert floor >= 0


def test_dead_neurons_and_hidden_targets(dataset: xr.Dataset) -> None:
    dead = dataset.copy()
    dead["dead"] = xr.ones_like(dead.dead)
    dead.attrs |= {"stop_over": "positive", "data": "a $ sign_"}
    figure = drawn(dead)[0, 0].figure
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["dead neuron", "kink"]
    assert "a \\$ sign" in figure.legends[0].get_title().get_text()


def test_a_stored_dataset_draws_the_same(dataset: xr.Dataset, tmp_path: Path) -> None:
    stored = oa.read_dataset(oa.write_dataset(dataset, tmp_path / "flow.nc"))
    pictures = [
        save_figure(plot_flow(each)[0, 0].figure, tmp_path / name).read_bytes()
        for each, name in ((dataset, "a.png"), (stored, "b.png"))
    ]
    assert pictures[0] == pictures[1]


def test_a_figure_of_the_caller_is_used_and_settings_are_left_alone(dataset: xr.Dataset) -> None:
    before = dict(matplotlib.rcParams)
    figure = Figure(figsize=(4, 5))
    assert plot_flow(dataset, figure)[0, 0].figure is figure
    assert dict(matplotlib.rcParams) == before


# --------------------------------------------------------------------------------- files


def test_formats(dataset: xr.Dataset, tmp_path: Path) -> None:
    figure = plot_flow(dataset)[0, 0].figure
    for ending, magic in ((".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")):
        path = save_figure(figure, tmp_path / f"flow{ending}")
        assert path.read_bytes().startswith(magic)
    with pytest.raises(oa.ProblemError, match="ending"):
        save_figure(figure, tmp_path / "flow.xyz")
    with pytest.raises(oa.OutputError, match="does not exist"):
        save_figure(figure, tmp_path / "missing" / "flow.png")


def test_a_stamp_stands_below_the_figure_and_changes_nothing(tmp_path: Path) -> None:
    figure = Figure((4.0, 3.0), layout="constrained", dpi=100)
    ax = figure.subplots()
    ax.plot([1, 2], label="a curve")
    ax.set(title="a title", xlabel="a label")
    for side in ("upper", "lower"):
        figure.legend(loc=f"outside {side} center")
    plain, stamped, again = (tmp_path / f"{name}.png" for name in ("plain", "stamped", "again"))
    save_figure(figure, plain)
    save_figure(figure, stamped, stamp="what repeats it")
    save_figure(figure, again)
    assert again.read_bytes() == plain.read_bytes()
    with Image.open(plain) as without, Image.open(stamped) as image:
        width, height = without.size
        above = image.convert("RGB").crop((0, 0, width, height))
        below = image.convert("L").crop((0, height, *image.size))
        assert ImageChops.difference(above, without.convert("RGB")).getbbox() is None
        assert below.height > 10
        assert below.getextrema()[0] < 150


def test_pyplot_is_not_needed() -> None:
    # it would choose a backend and keep every figure alive
    import subprocess

    code = (
        "import sys, overalign as oa; from overalign.plots import plot_flow;"
        "s = oa.read_sample('mixture:n=4,kappa=3');"
        "r = oa.solve(s, oa.Network.random(4, 20, seed=1), -5.0, oa.stop_at_risk(0.3));"
        "plot_flow(oa.flow_dataset(r)); sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
