"""``overalign flow``: one network on one sample, to a trajectory and a figure."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import OutputError, ProblemError
from ..records import require_writable, write_dataset
from .shared import (
    NOT_REACHED,
    REACHED,
    MaybeFloat,
    MaybeInt,
    MaybeText,
    interrupt_ends,
    made_folder,
)

if TYPE_CHECKING:
    import xarray as xr

    from ..flow import Stop, Trajectory
    from ..problem import Loss, Network, Sample

__all__ = ["FlowOptions", "run_flow"]

_ENDINGS = (".nc", ".png")
_DEFAULT_ETA = 0.05


@dataclass(frozen=True)
class FlowOptions:
    """Integrate the gradient flow of one two-layer ReLU network and draw it.

    Writes the trajectory (NetCDF) and a figure (PNG). Exit code 0: the stop was reached; 1: it was
    not, and the status says why; 2: the request cannot be met.

    Parameters
    ----------
    data : str
        "mixture[:key=value,...]" with keys dimension, n, kappa, sigma, separability;
        "digits:3,8[,centred]"; "FILE.npz" with arrays x and y; or "FILE.csv", label last.
    n : int, optional
        Number of samples: 12 for the mixture, 60 digits, all rows of a file.
    seed : int
        Decides the data and the network, from separate random streams.
    width : int
        Number of neurons.
    alpha : float, optional
        Scale of the initialisation (default 0.001).
    log_alpha : float, optional
        Its natural logarithm instead; -5000 is an ordinary number here.
    row_law : {"sphere", "gaussian"}
        Rows of W uniform on the unit sphere, or N(0, I/d).
    signs : {"alternating", "random"}
        Signs of the output weights.
    paired : bool
        Every row once with either sign, so that the initial function is zero.
    eta : float, optional
        Stop when the risk falls to this (default 0.05).
    margin : float, optional
        Stop when the smallest margin reaches this instead.
    norm : float, optional
        Stop when the largest norm of a neuron reaches this instead.
    time : float, optional
        Stop at this time instead.
    over : {"all", "positive", "negative"}
        Samples that count for eta or margin.
    loss : {"logistic", "exponential", "square"}
    factor : float
        Factor in front of the loss.
    reduction : {"mean", "sum"}
        Over the samples.
    tolerance : float
        On the stopping time (relative), log-norms and directions that are reported.
    output : path
        Folder to write to; made if missing.
    name : str, optional
        Name of the files, without ending; made from the data unless given.

    Examples
    --------
    >>> FlowOptions(data="digits:3,8", log_alpha=-230.0).width
    64
    """

    data: str = "mixture"
    n: MaybeInt = None
    seed: int = 0
    width: int = 64
    alpha: MaybeFloat = None
    log_alpha: MaybeFloat = None
    row_law: Literal["sphere", "gaussian"] = "sphere"
    signs: Literal["alternating", "random"] = "alternating"
    paired: bool = False
    eta: MaybeFloat = None
    margin: MaybeFloat = None
    norm: MaybeFloat = None
    time: MaybeFloat = None
    over: Literal["all", "positive", "negative"] = "all"
    loss: Literal["logistic", "exponential", "square"] = "logistic"
    factor: float = 1.0
    reduction: Literal["mean", "sum"] = "mean"
    tolerance: float = 1e-8
    output: Path = Path()
    name: MaybeText = None


# ---------------------------------------------------------------- flow


def run_flow(options: FlowOptions) -> int:
    """What ``overalign flow`` does: read, solve, report, write.

    Parameters
    ----------
    options : FlowOptions

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    OveralignError
        The request cannot be met.

    Examples
    --------
    >>> import tempfile
    >>> options = FlowOptions(width=4, eta=0.3, output=Path(tempfile.mkdtemp()))
    >>> run_flow(options)
    mixture: ...
    0
    """
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    log_alpha, stop, loss = _log_alpha(options), _stop(options), _loss(options)
    stem = _place(options)
    sample, network = _problem(options)
    console.print(_describe_data(options, sample), markup=False)
    run = _solve(sample, network, log_alpha, stop, loss, options.tolerance)
    console.print(_describe_problem(options, run), markup=False)
    console.print(_summary(run))
    with Console(stderr=True).status("writing the trajectory and the figure"):
        written = _write(run, options, stem)
    for path in written:
        console.print(f"wrote {path}", markup=False)
    return REACHED if run.is_successful else NOT_REACHED


def _log_alpha(options: FlowOptions) -> float:
    if options.log_alpha is not None:
        if options.alpha is not None:
            raise ProblemError("--alpha and --log-alpha are both given; give one")
        return options.log_alpha
    alpha = 1e-3 if options.alpha is None else options.alpha
    if not 0.0 < alpha < math.inf:
        raise ProblemError(
            f"--alpha is {alpha:g}, expected a positive number; scales below 1e-300 are given by "
            "--log-alpha"
        )
    return math.log(alpha)


def _stop(options: FlowOptions) -> Stop:
    from .. import flow

    asked = {
        name: value
        for name in ("eta", "margin", "norm", "time")
        if (value := getattr(options, name)) is not None
    }
    if len(asked) > 1:
        raise ProblemError(f"give one of --{', --'.join(asked)}: a run has one stop")
    if options.over != "all" and ("norm" in asked or "time" in asked):
        raise ProblemError("--over goes with --eta or --margin; leave it out")
    if "margin" in asked:
        return flow.stop_at_margin(asked["margin"], options.over)
    if "norm" in asked:
        return flow.stop_at_norm(asked["norm"])
    if "time" in asked:
        return flow.stop_at_time(asked["time"])
    return flow.stop_at_risk(asked.get("eta", _DEFAULT_ETA), options.over)


def _loss(options: FlowOptions) -> Loss:
    from .. import problem

    losses: dict[str, Callable[..., Loss]] = {
        "logistic": problem.LogisticLoss,
        "exponential": problem.ExponentialLoss,
        "square": problem.SquareLoss,
    }
    return losses[options.loss](factor=options.factor, reduction=options.reduction)


def _place(options: FlowOptions) -> Path:
    """Folder and stem of the files; found out before the work, not after it."""
    readable = re.sub(r"[^A-Za-z0-9.=-]+", "_", Path(options.data).name.removesuffix(".npz"))
    name = options.name or f"flow_{readable.removesuffix('.csv').strip('_')}"
    if Path(name).name != name or "\0" in name:
        raise OutputError(f"--name {name!r} is not the name of a file; the folder goes to --output")
    made_folder(options.output)
    for ending in _ENDINGS:
        require_writable(options.output / (name + ending))
    return options.output / name


def _problem(options: FlowOptions) -> tuple[Sample, Network]:
    from ..data import read_sample
    from ..problem import Network

    sample = read_sample(options.data, options.seed, options.n)
    network = Network.random(
        options.width,
        sample.dimension,
        options.seed,
        row_law=options.row_law,
        signs=options.signs,
        paired=options.paired,
    )
    return sample, network


# ---------------------------------------------------------------- what is printed


def _describe_data(options: FlowOptions, sample: Sample) -> str:
    text = f"{options.data}: n = {sample.n}, d = {sample.dimension}"
    if not sample.is_classification:
        return f"{text}, real targets"
    text += f", {sample.positives.size} positive and {sample.negatives.size} negative labels"
    if sample.n < 2:
        return text
    value, share = sample.separability, sample.violating_pairs
    text += f"\nseparability lambda = {value:.4g}, {100 * share:.1f} % of the pairs violate it: "
    if not sample.has_both_classes:
        return text + "one class only"
    if value > 0:
        return text + "orthogonally separable"
    if share == 0:
        return text + "on the boundary of orthogonal separability"
    return text + "not orthogonally separable, so neurons can slide along kinks"


def _describe_problem(options: FlowOptions, run: Trajectory) -> str:
    exponent = run.log_alpha / math.log(10.0)
    over = "" if run.stop.over == "all" else f" over the {run.stop.over} samples"
    return (
        f"{options.width} neurons, alpha = 10^{exponent:.6g}, {run.loss}, "
        f"stop at {run.stop.quantity} {run.stop.target:g}{over}"
    )


def _summary(run: Trajectory) -> str:
    """The result, a line per value, as rich markup."""
    values = {
        "time": f"{run.time:.12g}",
        "risk": f"{run.risk:.6g}",
        "kinks": f"{run.kinks.time.size}",
        "slides": f"{run.slides.neuron.size}",
        "steps": f"{run.steps}",
        "frozen flows": f"{run.frozen_flows}",
        "error estimate": f"{run.error_estimate:.1e} (tolerance {run.tolerance:.1e})",
    }
    lines = [f"{name:<15} {value}" for name, value in values.items()]
    return "\n".join([f"[bold]{run.status}[/bold]", *lines])


# ---------------------------------------------------------------- solving and writing


def _solve(
    sample: Sample,
    network: Network,
    log_alpha: float,
    stop: Stop,
    loss: Loss,
    tolerance: float,
) -> Trajectory:
    """Solve, with the progress on stderr and an interrupt that ends the process at once."""
    from rich.console import Console

    from ..flow import solve

    console = Console(stderr=True)
    with (
        interrupt_ends(console, "nothing was written"),
        console.status("loading the solver") as status,
    ):
        progress = _Progress(status.update)
        return solve(sample, network, log_alpha, stop, loss, tolerance, progress=progress)


class _Progress:
    """Turns what the solver reports into a line."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._began = time.monotonic()
        self._previous = 0.0
        self._solutions = 1

    def __call__(self, reached: float, distance: float) -> None:
        elapsed = time.monotonic() - self._began
        if reached < self._previous:
            self._solutions += 1
        self._previous = reached
        if reached == 0.0 and self._solutions == 1:
            slow = "compiling the solver, once per machine" if elapsed > 4 else "loading the solver"
            self._show(f"{slow} ({elapsed:.0f} s)")
        else:
            again = ", again for the error estimate" if self._solutions > 1 else ""
            where = f"time {reached:.6g}, distance to the stop {distance:.3g}"
            self._show(f"solving: {where}{again} ({elapsed:.0f} s)")


def _write(run: Trajectory, options: FlowOptions, stem: Path) -> list[Path]:
    from ..plots import plot_flow, save_figure
    from ..tables import flow_dataset

    dataset: xr.Dataset = flow_dataset(run)
    dataset.attrs |= {"data": options.data, "seed": options.seed}
    numbers, picture = (stem.with_name(stem.name + ending) for ending in _ENDINGS)
    written = [write_dataset(dataset, numbers)]
    if run.time > 0.0:
        written.append(save_figure(plot_flow(dataset)[0, 0].figure, picture))
    return written
