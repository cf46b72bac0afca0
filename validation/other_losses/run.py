"""The U-curve and the alignment with three losses, on the same data and networks: criterion.md."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

import overalign as oa
from overalign.inference import Estimate, bootstrap, mean, paired_difference
from overalign.optimum import lowest_points
from overalign.plots.style import BLUE, GREEN, VERMILION
from overalign.problem import Loss
from overalign.ucurve import UCurve, UCurveRun, problem_of
from validation import common
from validation.common import Criterion, FloatArray

GRID: dict[str, Any] = {"alpha_min": 1e-3, "alpha_max": 1.5, "alphas": 11}
POPULATIONS = {
    "A": UCurve(data="mixture:n=12,dimension=20,kappa=1.5", width=64, eta=0.05, **GRID),
    "B": UCurve(data="mixture:n=16,dimension=30,kappa=2", width=100, eta=0.02, **GRID),
    "C": UCurve(data="mixture:n=8,dimension=10,kappa=1.2", width=48, eta=0.1, **GRID),
}
LOSSES: Mapping[str, Loss] = {
    "logistic": oa.LogisticLoss(),
    "exponential": oa.ExponentialLoss(),
    "square": oa.SquareLoss(),
}
OTHERS = ("exponential", "square")
KINDS = ("independent", "paired")
CLASSES = {"positive": 1, "negative": -1}
LESS = "less that of the logistic loss"
PHASE_1_LOG_ALPHA, PHASE_1_TOLERANCE = math.log(1e-4), 1e-6
LOOKS = {"logistic": BLUE, "exponential": VERMILION, "square": GREEN}


class Scope(NamedTuple):
    """How large the study is."""

    populations: tuple[str, ...]
    seed: int
    sets: int
    alphas: int
    fewest: int


FULL = Scope(("A", "B", "C"), 7310, 20, 11, 18)
QUICK = Scope(("C",), 7399, 3, 6, 3)


# -------------------------------------------------------------------------------------- measured


def stop_of(sample: oa.Sample, loss: Loss, eta: float) -> oa.Stop:
    """At the part of the risk at f = 0 that is left at a logistic risk of eta."""
    at_zero = loss.risk(np.zeros(sample.n), sample.y)
    return oa.stop_at_risk(eta / math.log(2.0) * at_zero)


def ends(name: str, run: UCurveRun) -> list[dict[str, Any]]:
    """Error and alignment at the stop of one data set, by initialisation, loss and scale."""
    settings = run.settings
    split, networks = problem_of(run)
    assert split.mixture is not None
    rows = []
    for kind, network in networks.items():
        for label, loss in LOSSES.items():
            stop = stop_of(split.train, loss, settings.eta)
            for log_alpha in map(float, settings.log_alphas):
                end = oa.solve(
                    split.train, network, log_alpha, stop, loss, tolerance=settings.tolerance
                )
                row = {"population": name, "initialisation": kind, "loss": label, "set": run.index}
                row |= {"alpha": math.exp(log_alpha), "reached": int(end.is_successful)}
                error = oa.network_error(
                    end.final,
                    split.mixture,
                    relative_error=settings.error_accuracy,
                    seed=(settings.seed << 32) + run.index,  # the same for all losses and scales
                )
                aligned = oa.alignment_of(end.final, split.train)
                Psi = float(np.mean([aligned.positive.Psi, aligned.negative.Psi]))
                margin = float((end.final.outputs * split.train.y).mean())
                known = {"error": error.value, "Psi": Psi, "margin": margin}
                rows.append(row | (known if end.is_successful else dict.fromkeys(known, math.nan)))
    return rows


def beginnings(name: str, run: UCurveRun) -> list[dict[str, Any]]:
    """Alignment in phase 1 of one data set at a small scale, by loss and class.

    At T_+ and T_-, times of phase 1, and at the onset of fitting that a loss itself defines.
    """
    settings, rows = run.settings, []
    split, networks = problem_of(run)
    sample, network = split.train, networks["independent"]
    norms = {each: float(np.linalg.norm(sample.class_sum(y))) for each, y in CLASSES.items()}
    for label, loss in LOSSES.items():
        stop = stop_of(sample, loss, settings.eta)
        whole = oa.solve(
            sample, network, PHASE_1_LOG_ALPHA, stop, loss, tolerance=PHASE_1_TOLERANCE
        )
        times = oa.phase_times(whole)
        looks = {"positive": times.T_plus, "negative": times.T_minus}
        states = {each: oa.alignment_of(whole.at(when), sample) for each, when in looks.items()}
        onset = oa.alignment_of(whole.at(times.onset), sample)
        for each in CLASSES:
            rows.append(
                {
                    **{"population": name, "loss": label, "set": run.index, "class": each},
                    "has_larger_sum": int(norms[each] == max(norms.values())),
                    "Psi_at_T": float(getattr(states[each], each).Psi),
                    "Psi_at_onset": float(getattr(onset, each).Psi),
                    # in the time of R, in which residuals at f = 0 are 1
                    "onset": times.onset * loss.time_factor(sample.n),
                }
            )
    return rows


# ---------------------------------------------------------------------------------------- judged


def chosen_rows(rows: Sequence[Mapping[str, Any]], **key: Any) -> list[Mapping[str, Any]]:
    """The rows with these values."""
    return [row for row in rows if all(row[name] == value for name, value in key.items())]


def curves(rows: Sequence[Mapping[str, Any]], column: str, **key: Any) -> FloatArray:
    """[set, alpha] of one population, initialisation and loss."""
    mine = chosen_rows(rows, **key)
    sets = len({row["set"] for row in mine})
    return np.array([row[column] for row in mine]).reshape(sets, -1)


def log_alphas_of(rows: Sequence[Mapping[str, Any]]) -> FloatArray:
    """The grid of the table, increasing."""
    return np.log(sorted({row["alpha"] for row in rows}))


def shift(errors: Sequence[FloatArray], log_alphas: FloatArray) -> Estimate:
    """log2 of the best scale of one loss over that of the logistic loss, on the same data sets."""
    return bootstrap(_difference_in(log_alphas, errors), *errors, seed=0)


def shift_at_equal_outputs(
    errors: Sequence[FloatArray], margins: Sequence[FloatArray], log_alphas: FloatArray
) -> Estimate:
    """The same of alpha over the root of the mean margin at the stop: f_0 goes like alpha^2."""
    difference = _difference_in(log_alphas, errors)

    def statistic(first: FloatArray, second: FloatArray, one: FloatArray, two: FloatArray) -> float:
        return difference(first, second) - 0.5 * math.log2(one.mean() / two.mean())

    return bootstrap(statistic, *errors, *margins, seed=0)


def _difference_in(
    log_alphas: FloatArray, errors: Sequence[FloatArray]
) -> Callable[[FloatArray, FloatArray], float]:
    """Between the lowest points of two mean curves, over the scales that all runs know, in log2."""
    known = np.isfinite(errors).all(axis=(0, 1))
    grid = log_alphas[known] / math.log(2.0)

    def difference(first: FloatArray, second: FloatArray) -> float:
        means = np.array([first[:, known].mean(axis=0), second[:, known].mean(axis=0)])
        best = lowest_points(means, grid)
        return float(best[0] - best[1])

    return difference


def statistics(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, Estimate]:
    """What the lines about the ends are about, for one population."""
    found, log_alphas = {}, log_alphas_of(rows)
    for kind in KINDS:
        key = {"population": name, "initialisation": kind}
        errors = {loss: curves(rows, "error", **key, loss=loss) for loss in LOSSES}
        for loss, table in errors.items():
            optimum = oa.find_optimum(table, log_alphas)
            found[f"{kind}, {loss}: small-alpha rise"] = Estimate(*optimum.rise_small)
            found[f"{kind}, {loss}: large-alpha rise"] = Estimate(*optimum.rise_large)
            places = np.array([optimum.log_alpha, optimum.low, optimum.high]) / math.log(2.0)
            found[f"{kind}, {loss}: log2 alpha at the optimum"] = Estimate(*places.tolist())
            found[f"{kind}, {loss}: error at the optimum"] = mean(
                table[:, int(np.nanargmin(table.mean(axis=0)))]
            )
        smallest = {
            name: {loss: curves(rows, name, **key, loss=loss)[:, 0] for loss in LOSSES}
            for name in ("Psi", "margin")
        }
        Psi, margin = smallest["Psi"], smallest["margin"]
        for loss in LOSSES:
            found[f"{kind}, {loss}: Psi at small alpha"] = mean(Psi[loss])
            found[f"{kind}, {loss}: mean margin at small alpha"] = mean(margin[loss])
        for loss in OTHERS:
            change = paired_difference(Psi[loss], Psi["logistic"])
            found[f"{kind}, {loss}: Psi at small alpha {LESS}"] = change
            if kind == "independent":  # with paired initialisation there is no right side
                pair = errors[loss], errors["logistic"]
                margins = margin[loss], margin["logistic"]
                moved = shift_at_equal_outputs(pair, margins, log_alphas)
                found[f"{kind}, {loss}: log2 alpha* {LESS}"] = shift(pair, log_alphas)
                found[f"{kind}, {loss}: log2 alpha*/sqrt(margin) {LESS}"] = moved
    return found


def phase_1_gaps(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    """Largest difference to the logistic loss: at T of both classes, at the onset of the larger."""
    mine, found = chosen_rows(rows, population=name), {}
    larger = chosen_rows(mine, has_larger_sum=1)
    for column, some in (("Psi_at_T", mine), ("Psi_at_onset", larger)):
        reference = np.array([row[column] for row in chosen_rows(some, loss="logistic")])
        for loss in OTHERS:
            gaps = [row[column] for row in chosen_rows(some, loss=loss)] - reference
            found[f"{loss}: {column.replace('_', ' ')}"] = float(np.abs(gaps).max())
    return found


def judge(
    rows: Sequence[Mapping[str, Any]], begun: Sequence[Mapping[str, Any]], scope: Scope
) -> list[Criterion]:
    """The lines of criterion.md."""
    lines: list[Criterion] = []
    for name in scope.populations:
        found = statistics(rows, name)
        for number, by, key, threshold in compared():
            value, low, high = found[key]
            lines.append(by(number, f"{name}, {key}", value, threshold, (low, high)))
        for statement, gap in phase_1_gaps(begun, name).items():
            lines.append(common.at_most("C6", f"{name}, largest gap of {statement}", gap, 1e-3))
    return [*lines, *size_lines(rows, scope)]


def compared() -> Iterator[tuple[str, Callable[..., Criterion], str, float]]:
    """Line, way of comparing, statistic and threshold of what is judged by an interval."""
    for loss in LOSSES:
        for kind in KINDS:
            yield "C1", common.at_least, f"{kind}, {loss}: small-alpha rise", 0.0
        yield "C2", common.at_least, f"independent, {loss}: large-alpha rise", 0.0
        yield "C3", common.at_most, f"paired, {loss}: large-alpha rise", 0.01
    for loss in OTHERS:
        for number, quantity, margin in (
            ("C4", "log2 alpha*", 1.0),
            ("C5", "log2 alpha*/sqrt(margin)", 0.5),
            ("C7", "Psi at small alpha", 0.02),
        ):
            key = f"independent, {loss}: {quantity} {LESS}"
            yield number, common.at_least, key, -margin
            yield number, common.at_most, key, margin


def size_lines(rows: Sequence[Mapping[str, Any]], scope: Scope) -> list[Criterion]:
    """C8."""
    sets = len({(row["population"], row["set"]) for row in rows}) // len(scope.populations)
    lines = [common.enough("C8", "data sets of each population", sets, scope.fewest)]
    for loss in LOSSES:
        share = float(np.mean([row["reached"] for row in chosen_rows(rows, loss=loss)]))
        lines.append(common.enough("C8", f"{loss}: share that reaches the stop", share, 0.95))
    return lines


# ----------------------------------------------------------------------------------------- drawn


def draw(results: Path) -> Any:
    """Test error against alpha by loss and initialisation, and the alignment at the stop."""
    rows = common.read_rows(results / "ends.csv")
    names = list(dict.fromkeys(row["population"] for row in rows))
    figure, axes = common.new_figure(2, len(names), width=6.75 / len(names), height=2.4)
    alphas = np.exp(log_alphas_of(rows))
    for column, name in zip(axes.T, names, strict=True):
        for (kind, dashes), (loss, colour) in (
            (shape, look)
            for shape in zip(KINDS, ("-", (0, (4, 1.5))), strict=True)
            for look in LOOKS.items()
        ):
            key = {"population": name, "initialisation": kind, "loss": loss}
            label = f"{loss}, {kind}"
            for ax, quantity in zip(column, ("error", "Psi"), strict=True):
                each = [mean(v[np.isfinite(v)]) for v in curves(rows, quantity, **key).T]
                middle, low, high = np.array(each).T
                ax.fill_between(alphas, low, high, color=colour, alpha=0.12, linewidth=0)
                ax.plot(alphas, middle, color=colour, linestyle=dashes, label=label)
        column[0].set(title=f"population {name}", ylim=(0.0, 0.45))
        column[1].set_xlabel(r"scale of the initialisation $\alpha$")
        for ax in column:
            ax.set_xscale("log")
    axes[0, 0].set_ylabel("test error")
    axes[1, 0].set_ylabel(r"$\Psi$ at the stop")
    axes[0, 0].legend(loc="upper left", fontsize="x-small")
    return figure


FIGURES: common.Figures = {"figure.png": draw}


def reported(
    rows: Sequence[Mapping[str, Any]], begun: Sequence[Mapping[str, Any]], scope: Scope
) -> dict[str, Any]:
    """Statistics, and the onset of fitting in the time of R, relative to the logistic loss."""
    measured: dict[str, Any] = {name: statistics(rows, name) for name in scope.populations}
    onsets = {
        loss: np.array([row["onset"] for row in chosen_rows(begun, loss=loss)]) for loss in LOSSES
    }
    ratios = {loss: mean(onsets[loss] / onsets["logistic"]) for loss in OTHERS}
    return measured | {"onset_over_that_of_the_logistic_loss": ratios}


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    measures = {"ends": ends, "beginnings": beginnings}
    tables: dict[str, list[dict[str, Any]]] = {table: [] for table in measures}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name in scope.populations:
            settings = msgspec.structs.replace(
                POPULATIONS[name], sets=scope.sets, seed=scope.seed, alphas=scope.alphas
            )
            names = [name] * scope.sets
            for table, measure in measures.items():
                for rows_of_set in pool.map(measure, names, settings.runs):
                    tables[table] += rows_of_set
            common.note(f"population {name}")
    for table, found in tables.items():
        common.save_rows(chosen.output / f"{table}.csv", found)
    # judged with the digits that are recorded: vertices of parabolas feel them
    rows, begun = (common.read_rows(chosen.output / f"{table}.csv") for table in tables)
    common.save_figures(chosen.output, FIGURES)
    described = {name: msgspec.to_builtins(each) for name, each in POPULATIONS.items()}
    described |= scope._asdict()
    measured, criteria = reported(rows, begun, scope), judge(rows, begun, scope)
    common.record(chosen, "other_losses", described, measured, criteria)


if __name__ == "__main__":
    main()
