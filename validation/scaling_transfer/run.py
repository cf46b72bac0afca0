"""The best output multiplier at a size that was not used to fit its law; see criterion.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from overalign.deepnet.settings import Architecture, Sweep, Task, Training
from overalign.deepnet.statistics import trained
from overalign.deepnet.transfer import (
    RIVALS,
    BestMultiplier,
    TransferLaw,
    best_multiplier,
    fit_transfer,
)
from overalign.errors import ProblemError
from validation import common, u_curves
from validation.common import Criterion

STUDY = "scaling_transfer"
SEED = 2602
KEYS = ("network", "n", "width")
PAPER = next(iter(RIVALS))
CLOSE = 1.0  # log2
NARROW = 0.4

Size = tuple[int, int]  # n, width

NETWORKS = {
    "two layers": (Architecture(depth=2, bias=False), 2.0),  # with the degree of homogeneity
    "three layers": (Architecture(), None),  # the default of the sweep
}


class Scope(NamedTuple):
    """How large the study is."""

    n: tuple[int, ...]
    widths: tuple[int, ...]
    held_out: Size
    seeds: int
    log2_output_multipliers: tuple[float, ...]
    epochs: int


FULL = Scope((250, 500, 1000), (16, 64, 256), (2000, 512), 8, Sweep().log2_output_multipliers, 1500)
QUICK = Scope((100, 200), (16, 32), (300, 64), 3, (-8.0, -4.0, 0.0, 4.0), 100)


def sizes_of(scope: Scope) -> list[Size]:
    """Every size, the one that is held out last."""
    return [(n, width) for n in scope.n for width in scope.widths] + [scope.held_out]


def settings_at(network: str, size: Size, scope: Scope) -> Sweep:
    """The sweep at a size."""
    architecture, degree = NETWORKS[network]
    return Sweep(
        task=Task(n=size[0]),
        architecture=replace(architecture, width=size[1]),
        training=Training(homogeneous_degree=degree, epochs=scope.epochs, evaluate_every=5),
        log2_output_multipliers=scope.log2_output_multipliers,
        seeds=scope.seeds,
        seed=SEED,
        control=False,
    )


def best_of(rows: u_curves.Rows, network: str, size: Size, scope: Scope) -> BestMultiplier | str:
    """c* at a size, or why there is none."""
    place = (network, *map(str, size))
    mine = [row for row in rows if tuple(str(row[key]) for key in KEYS) == place]
    table = u_curves.table_of(
        [{k: v for k, v in row.items() if k not in KEYS} for row in mine],
        settings_at(network, size, scope),
    )
    given = table.sel(task="given").isel(learning_rate=0)
    accuracy = given["test_accuracy"].where(trained(given))
    try:
        return best_multiplier(
            accuracy.transpose("seed", "output_multiplier").values.astype(float),
            given["log2_output_multiplier"].values,
        )
    except ProblemError as error:
        return str(error)


def fitted(best: Mapping[Size, BestMultiplier | str], scope: Scope) -> TransferLaw | None:
    """The law, from the sizes that have a c* and are not held out."""
    found = {
        size: each
        for size, each in best.items()
        if size != scope.held_out and isinstance(each, BestMultiplier)
    }
    try:
        return fit_transfer(*zip(*found, strict=True), list(found.values()))
    except (ProblemError, TypeError):  # too few sizes
        return None


def judge(network: str, best: Mapping[Size, BestMultiplier | str], scope: Scope) -> list[Criterion]:
    """The lines of criterion.md for one network."""
    nan = float("nan")
    inside = sum(isinstance(each, BestMultiplier) for each in best.values())
    what = f"{network}: sizes with c* inside the grid"
    size_line = common.enough("C5", what, inside, len(best))
    law, there = fitted(best, scope), best[scope.held_out]
    if law is None:
        missing = [
            Criterion(line, f"{network}: no law could be fitted", nan, None, 0.0, "INCONCLUSIVE")
            for line in ("C1", "C2", "C3", "C4")
        ]
        return [*missing, size_line]
    rivals = law.compatible_rivals
    half = float(np.diff(law.intervals[1:], axis=1).max()) / 2.0
    narrow: common.Verdict = "HOLDS" if half <= NARROW else "INCONCLUSIVE"
    return [
        transferred(network, law, there, scope),
        common.at_least("C2", f"{network}: the paper's exponents are in the region",
                        PAPER in rivals, 1),
        common.at_least("C3", f"{network}: rivals in the region", len(set(rivals) - {PAPER}), 1),
        Criterion("C4", f"{network}: half-width of the wider interval", half, None, NARROW, narrow),
        size_line,
    ]  # fmt: skip


def transferred(
    network: str, law: TransferLaw, there: BestMultiplier | str, scope: Scope
) -> Criterion:
    """Line C1: the law's prediction against what was measured."""
    what = f"{network}: |predicted - measured| log2 c* at n, h = {scope.held_out}"
    if isinstance(there, str):
        return Criterion("C1", what, float("nan"), None, CLOSE, "INCONCLUSIVE")
    row = np.array([1.0, *np.log2(scope.held_out)])
    gap = float(row @ law.coefficients - there.log2_c)
    low, high = np.quantile(law.replicates @ row - there.replicates, [0.025, 0.975])
    nearest, farthest = max(low, -high, 0.0), max(abs(low), abs(high))
    verdict: common.Verdict = "HOLDS" if abs(gap) <= CLOSE else "INCONCLUSIVE"
    verdict = "FAILS" if nearest > CLOSE else verdict
    return Criterion("C1", what, abs(gap), (nearest, farthest), CLOSE, verdict)


def draw_figure(results: Path) -> Any:
    """c* against n for each width, with the law, for both networks."""
    scope = QUICK if common.read_summary(results)["quick"] else FULL
    rows = common.read_rows(results / "runs.csv")
    figure, axes = common.new_figure(1, len(NETWORKS))
    for ax, network in zip(axes[0], NETWORKS, strict=True):
        best = {size: best_of(rows, network, size, scope) for size in sizes_of(scope)}
        ax.set_title(network)
        draw(ax, best, fitted(best, scope), scope)
    return figure


FIGURES: common.Figures = {"figure.png": draw_figure}


def draw(
    ax: Any, best: Mapping[Size, BestMultiplier | str], law: TransferLaw | None, scope: Scope
) -> None:
    """c* against n for each width, with the law."""
    for k, width in enumerate([*scope.widths, scope.held_out[1]]):
        found = {
            size[0]: each
            for size, each in best.items()
            if size[1] == width and isinstance(each, BestMultiplier)
        }
        if not found:
            continue
        label = f"$h={width}$" + (", held out" if width == scope.held_out[1] else "")
        marker, colour = ("D" if width == scope.held_out[1] else "o^sv"[k]), f"C{k}"
        values = np.array([each.log2_c for each in found.values()])
        ends = [np.quantile(each.replicates, [0.025, 0.975]) for each in found.values()]
        bars = np.maximum([values - np.array(ends)[:, 0], np.array(ends)[:, 1] - values], 0.0)
        n = np.array(list(found)) * 1.02 ** (k - 1.5)  # beside each other
        ax.errorbar(n, values, bars, fmt=marker, color=colour, capsize=2, label=label)
        if law is not None:
            grid = np.geomspace(min(scope.n), scope.held_out[0])
            curve = [law.predict(each, width).log2_c for each in grid]
            ax.plot(grid, curve, color=colour, linewidth=0.9)
    ax.set_xscale("log", base=2)
    ax.set_xlabel("training samples $n$")
    ax.set_ylabel(r"$\log_2 c^*$")
    ax.legend(frameon=False)


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    sizes = sizes_of(scope)
    rows: list[dict[str, Any]] = []
    measured, criteria = {}, []
    for network in NETWORKS:
        for size in sizes:
            name = f"{network}, n = {size[0]}, h = {size[1]}"
            table, _ = u_curves.swept(settings_at(network, size, scope), name, small=chosen.quick)
            keys = dict(zip(KEYS, (network, *size), strict=True))
            rows += [keys | row for row in u_curves.rows_of(table)]
        best = {size: best_of(rows, network, size, scope) for size in sizes}
        law = fitted(best, scope)
        criteria += judge(network, best, scope)
        measured[network] = {
            "log2_best_c": {
                f"n={n}, h={width}": each if isinstance(each, str) else each.log2_c
                for (n, width), each in best.items()
            },
            "law": None if law is None else str(law),
            "intervals": None if law is None else law.intervals,
            "residuals": None if law is None else law.residuals,
        }
    common.save_rows(chosen.output / "runs.csv", rows)
    common.record(
        chosen,
        STUDY,
        {"scope": scope._asdict(), "networks": list(NETWORKS)},
        measured,
        sorted(criteria, key=lambda each: each.line),
        ["torch", "xarray"],
    )
    common.save_figures(chosen.output, FIGURES)


if __name__ == "__main__":
    main()
