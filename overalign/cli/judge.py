"""``overalign judge``: verdicts on training runs of anyone's, from a CSV file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ..errors import ProblemError
from .shared import REACHED

if TYPE_CHECKING:
    import xarray as xr
    from rich.table import Table

    from ..judge import Size

__all__ = ["JudgeOptions", "run_judge"]


@dataclass(frozen=True)
class JudgeOptions:
    """Judge training runs of your own: is there a U-curve in c, and where is its best c?

    Prints the accuracies at each c and verdicts with their evidence: whether the best c is inside
    the grid, whether accuracy dips at small and at large c, and, with several n or widths, how the
    best c depends on them, and what the two-layer theory, calibrated on one, predicts of the
    others. Exit code 0: judged, whatever the verdicts; 2: the file cannot be read.

    Parameters
    ----------
    runs : path
        CSV file with the columns c (the output multiplier), learning_rate, seed and test_accuracy,
        and as far as they are known n (training samples), width, and outcome (REACHED the training
        target, BUDGET, STUCK or DIVERGED). Plan for the same 14 seeds or more at every c.
    unit : {"auto", "fraction", "percent"}
        Of the accuracies; percent if one is above 1, unless given.
    seed : int
        Of the bootstrap.
    calibrate_on : str, optional
        The size where the two free numbers of the theory are fitted, as "n=1000,width=64"; the
        smallest unless given.

    Examples
    --------
    >>> JudgeOptions(Path("runs.csv")).unit
    'auto'
    """

    runs: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUNS.CSV")]
    unit: Literal["auto", "fraction", "percent"] = "auto"
    seed: int = 0
    calibrate_on: str | None = None


def run_judge(options: JudgeOptions) -> int:
    """What ``overalign judge`` does: read, tabulate, judge.

    Parameters
    ----------
    options : JudgeOptions

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    OveralignError
        The file cannot be read, or has no runs of the size to calibrate on.
    """
    from rich.console import Console

    from ..judge import Size, judge, read_runs

    console = Console(highlight=False, soft_wrap=True)
    named = None if options.calibrate_on is None else Size.from_text(options.calibrate_on)
    runs = read_runs(options.runs, options.unit)
    for note in runs.notes:
        console.print(note, markup=False)
    for size, table in runs.tables.items():
        for shown in _curve(size, table):
            console.print(shown)
    console.print(str(judge(runs, seed=options.seed, calibrate_on=named)), markup=False)
    return REACHED


def _curve(size: Size, table: xr.Dataset) -> Iterator[Table]:
    """Mean accuracies over the seeds, if there are seeds to be compared."""
    from rich.table import Table

    from ..deepnet.statistics import at_best_rates, trained
    from ..inference import mean

    try:
        chosen = at_best_rates(table)
    except ProblemError:  # the verdicts say why
        return
    shown = Table(title=str(size), box=None, header_style="bold", title_justify="left")
    for heading in ("c", "learning rate", "test accuracy", "trained"):
        shown.add_column(heading, justify="right", no_wrap=True)
    is_trained = trained(chosen)
    accuracies = chosen["test_accuracy"].where(is_trained)
    for place, log2_c in enumerate(chosen["log2_output_multiplier"].values):
        rate = float(chosen["learning_rate"].values[place])
        at = accuracies.isel(output_multiplier=place).dropna("seed")
        value, low, high = mean(at)
        text = f"{value:.4f} ± {0.5 * (high - low):.4f}" if at.size > 1 else f"{value:.4f}"
        share = f"{at.size}/{chosen.sizes['seed']}"
        shown.add_row(f"2^{log2_c:g}", f"{rate:g}", text if at.size else "-", share)
    yield shown
