"""The best output multiplier at a size that was not used to fit its law; see criterion.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np

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
PAPER = next(iter(RIVALS))

Size = tuple[int, int]  # n, width


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


def settings_at(size: Size, scope: Scope) -> Sweep:
    """The sweep at a size."""
    return Sweep(
        task=Task(n=size[0]),
        architecture=Architecture(width=size[1], depth=2, bias=False),
        training=Training(homogeneous_degree=2.0, epochs=scope.epochs, evaluate_every=5),
        log2_output_multipliers=scope.log2_output_multipliers,
        seeds=scope.seeds,
        seed=SEED,
        control=False,
    )


def best_of(rows: u_curves.Rows, size: Size, scope: Scope) -> BestMultiplier | str:
    """c* at a size, or why there is none."""
    mine = [row for row in rows if (int(row["n"]), int(row["width"])) == size]
    table = u_curves.table_of(
        [{k: v for k, v in row.items() if k not in ("n", "width")} for row in mine],
        settings_at(size, scope),
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


def judge(best: Mapping[Size, BestMultiplier | str], scope: Scope) -> list[Criterion]:
    """The lines of criterion.md."""
    nan = float("nan")
    inside = sum(isinstance(each, BestMultiplier) for each in best.values())
    size_line = common.enough("C5", "sizes with c* inside the grid", inside, len(best))
    law, there = fitted(best, scope), best[scope.held_out]
    if law is None:
        missing = [
            Criterion(line, "no law could be fitted", nan, None, 0.0, "INCONCLUSIVE")
            for line in ("C1", "C2", "C3", "C4")
        ]
        return [*missing, size_line]
    what = f"|predicted - measured| log2 c* at n, h = {scope.held_out}"
    transfer = Criterion("C1", what, nan, None, 1.0, "INCONCLUSIVE")
    if isinstance(there, BestMultiplier):
        row = np.array([1.0, *np.log2(scope.held_out)])
        gaps = law.replicates @ row - there.replicates
        gap = float(row @ law.coefficients - there.log2_c)
        low, high = np.quantile(gaps, [0.025, 0.975])
        reach = (max(low, -high, 0.0), max(abs(low), abs(high)))
        verdict: common.Verdict = "INCONCLUSIVE" if abs(gap) > 1.0 else "HOLDS"
        verdict = "FAILS" if reach[0] > 1.0 else verdict
        transfer = Criterion("C1", what, abs(gap), reach, 1.0, verdict)
    rivals = law.compatible_rivals
    halves = np.diff(law.intervals[1:], axis=1).ravel() / 2.0
    return [
        transfer,
        common.at_least("C2", "the paper's exponents are in the region", PAPER in rivals, 1),
        common.at_least("C3", "rivals in the region", len(set(rivals) - {PAPER}), 1),
        Criterion(
            "C4", "half-width of the wider interval", float(halves.max()), None, 0.4,
            "HOLDS" if halves.max() <= 0.4 else "INCONCLUSIVE",
        ),
        size_line,
    ]  # fmt: skip


def draw(best: Mapping[Size, BestMultiplier | str], law: TransferLaw | None, scope: Scope) -> Any:
    """c* against n for each width, with the law."""
    figure, axes = common.new_figure(1, 1)
    ax = axes[0, 0]
    for k, width in enumerate([*scope.widths, scope.held_out[1]]):
        mine = {size[0]: each for size, each in best.items() if size[1] == width}
        found = {n: each for n, each in mine.items() if isinstance(each, BestMultiplier)}
        if not found:
            continue
        n = np.array(list(found))
        values = np.array([each.log2_c for each in found.values()])
        low, high = np.array(
            [np.quantile(each.replicates, [0.025, 0.975]) for each in found.values()]
        ).T
        is_held_out = width == scope.held_out[1]
        marker, colour = ("D" if is_held_out else "o"), f"C{k}"
        label = f"$h={width}$" + (", held out" if is_held_out else "")
        bars = np.maximum([values - low, high - values], 0.0)
        ax.errorbar(n, values, bars, fmt=marker, color=colour, capsize=2, label=label)
        if law is not None:
            grid = np.geomspace(min(scope.n), scope.held_out[0])
            curve = [law.predict(each, width).log2_c for each in grid]
            ax.plot(grid, curve, color=colour, linewidth=0.9)
    ax.set_xscale("log", base=2)
    ax.set_xlabel("training samples $n$")
    ax.set_ylabel(r"$\log_2 c^*$")
    ax.legend(frameon=False)
    return figure


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    sizes = [(n, width) for n in scope.n for width in scope.widths] + [scope.held_out]
    rows: list[dict[str, Any]] = []
    for size in sizes:
        table, _ = u_curves.swept(settings_at(size, scope), f"n = {size[0]}, h = {size[1]}")
        rows += [{"n": size[0], "width": size[1]} | row for row in u_curves.rows_of(table)]
    common.save_rows(chosen.output / "runs.csv", rows)
    best = {size: best_of(rows, size, scope) for size in sizes}
    law = fitted(best, scope)
    common.save_figure(chosen.output / "figure.png", draw(best, law, scope))
    measured = {
        "log2_best_c": {
            f"n={n}, h={width}": each if isinstance(each, str) else each.log2_c
            for (n, width), each in best.items()
        },
        "law": None if law is None else str(law),
        "coefficients": None if law is None else law.coefficients,
        "intervals": None if law is None else law.intervals,
        "residuals": None if law is None else law.residuals,
    }
    settings = {
        "scope": scope._asdict(),
        "sweep": msgspec.to_builtins(settings_at(sizes[0], scope)),
    }
    common.record(chosen, STUDY, settings, measured, judge(best, scope), ["torch", "xarray"])


if __name__ == "__main__":
    main()
