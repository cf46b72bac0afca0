"""A trajectory as a Dataset: everything there is to store or draw."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .alignment import CLASS_NAMES, alignment_of, angle, dead_neurons
from .errors import ProblemError
from .flow import Snapshot, Trajectory, describe_problem
from .phases import fitting_onset, phase_times
from .records import versions

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["flow_dataset", "flow_times"]

FloatArray: TypeAlias = NDArray[np.float64]


def flow_times(run: Trajectory, onset: float, most: int = 400) -> FloatArray:
    """Times that resolve phase 1 on a logarithmic and phase 2 on either axis.

    Parameters
    ----------
    run : Trajectory
    onset : float
        From `fitting_onset`; may be nan.
    most : int
        No more times than this; at least 10.

    Returns
    -------
    array [t]
        Increasing: 0, a geometric grid from the scale of the first kink to the end, an even grid
        over phase 2, and steps of the solver.

    Examples
    --------
    >>> from overalign import Network, Sample, solve, stop_at_risk
    >>> sample = Sample([[1.0, 0.0], [0.0, 1.0]], [1, -1])
    >>> run = solve(sample, Network.random(4, 2, seed=1), -5.0, stop_at_risk(0.1))
    >>> times = flow_times(run, fitting_onset(run), most=50)
    >>> float(times[0]), float(times[-1]) == run.time, times.size <= 50
    (0.0, True, True)
    """
    if most < 10:
        raise ProblemError(f"most is {most}; a trajectory needs at least 10 times")
    if run.time == 0.0:
        return np.zeros(1)
    share = (most - 2) // 3
    steps = run.step_times
    return np.unique(
        np.concatenate(
            [
                [0.0, run.time],
                np.geomspace(_first_scale(run), run.time, share),
                np.linspace(0.0 if np.isnan(onset) else onset, run.time, share),
                steps[:: -(-steps.size // share)],
            ]
        ).clip(0.0, run.time)
    )


def _first_scale(run: Trajectory) -> float:
    """Half the time of the first kink after the start, within five decades of the end."""
    kinks = run.kinks.time
    first = kinks[kinks > 0]
    start = 0.5 * float(first[0]) if first.size else 1e-3 * run.time
    return float(np.clip(start, 1e-5 * run.time, 0.5 * run.time))


def flow_dataset(run: Trajectory, times: ArrayLike | None = None) -> xr.Dataset:
    """A trajectory with its kinks, slides, data and conventions, ready to store or draw.

    Parameters
    ----------
    run : Trajectory
    times : array [t], optional
        Between 0 and ``run.time``, in any order; by default `flow_times`.

    Returns
    -------
    xarray.Dataset
        Along ``time``: ``risk``; with ``neuron`` ``log_norm``, ``log_output``, ``angle_positive``
        and ``angle_negative`` (radians to the class sums x_+ and x_-; absent without labels -1 and
        +1, without one of the classes, or where the sum is zero); with ``sample`` ``output``.
        Per ``neuron``: ``sign``, ``dead``, ``initial_output`` and, with ``dimension``,
        ``initial_weights`` and ``final_direction``. Along ``kink`` and ``slide``: the columns of
        `Kinks` and `Slides`. The data ``x``, ``y``. Attributes: conventions, why it ended, error
        estimate, separability, onset, versions.

        With both classes and sums that are not zero also the columns of `Alignment`: ``psi``
        (with ``neuron``), ``Psi``, ``decoupling`` and, with ``_positive`` and ``_negative``,
        ``Psi``, ``predictor`` (with ``dimension``), ``log_predictor``, ``margin_spread`` and, for
        losses of labels, ``residual_spread``. If moreover |V_j| >= ||W_j||: per ``neuron``
        ``sorting_time``, and the other fields of `PhaseTimes` as attributes (nan where there is
        none).

    Raises
    ------
    ProblemError
        A time outside [0, ``run.time``].

    Examples
    --------
    >>> from overalign import GaussianMixture, Network, solve, stop_at_risk
    >>> sample = GaussianMixture(5, kappa=3.0, sigma=0.3).sample(6, seed=0)
    >>> run = solve(sample, Network.random(8, 5, seed=1), -9.0, stop_at_risk(0.1))
    >>> dataset = flow_dataset(run)
    >>> dataset.log_norm.dims, dataset.attrs["outcome"]
    (('time', 'neuron'), 'REACHED')
    >>> dataset.sizes["kink"] == run.kinks.time.size
    True
    """
    import xarray as xr

    phases = phase_times(run) if _has_phases(run) else None
    onset = fitting_onset(run) if phases is None else phases.onset
    asked = flow_times(run, onset) if times is None else np.atleast_1d(np.asarray(times, float))
    state = run.at(asked)
    variables = _along_time(run, state) | _per_neuron(run) | _kinks(run) | _slides(run)
    attributes = _attributes(run, onset)
    if run.sample.has_class_directions:
        variables |= _aligned_along_time(run, state)
    if phases is not None:
        attributes |= asdict(phases)
        first, text = attributes.pop("sorting_times"), "first time it is sorted or dead"
        variables["sorting_time"] = (("neuron",), first, text, "time of the loss")
    described = {
        name: (dims, values, {"long_name": text, "units": units})
        for name, (dims, values, text, units) in variables.items()
    }
    time = ("time", asked, {"long_name": "time", "units": "time of the loss"})
    return xr.Dataset(described, coords={"time": time}, attrs=attributes)


def _has_phases(run: Trajectory) -> bool:
    return run.sample.has_class_directions and run.network.keeps_signs


_Variable: TypeAlias = tuple[tuple[str, ...], Any, str, str]  # dimensions, values, name, units


def _along_time(run: Trajectory, state: Snapshot) -> dict[str, _Variable]:
    y = run.sample.y
    risk = np.array([run.loss.risk(outputs, y) for outputs in state.outputs])
    pair = ("time", "neuron")
    variables: dict[str, _Variable] = {
        "risk": (("time",), risk, "risk over all samples", "loss"),
        "log_norm": (pair, state.log_norm, "log ||w_j||", "1"),
        "log_output": (pair, state.log_output, "log |v_j|", "1"),
        "output": (("time", "sample"), state.outputs, "f(x_i)", "1"),
    }
    for name, label in (("positive", 1), ("negative", -1)):
        if run.sample.has_both_classes and np.any(run.sample.class_sum(label)):
            values = angle(state.direction, run.sample.class_sum(label))
            text = f"angle of w_j to the sum of the {name} inputs"
            variables[f"angle_{name}"] = (pair, values, text, "rad")
    return variables


def _aligned_along_time(run: Trajectory, state: Snapshot) -> dict[str, _Variable]:
    found, time = alignment_of(state, run.sample), ("time",)
    variables: dict[str, _Variable] = {
        "psi": (("time", "neuron"), found.psi, "cos of w_j to the sum of its own class", "1"),
        "Psi": (time, found.Psi, "cos of w_hat to the class sum, mean over classes", "1"),
        "decoupling": (time, found.decoupling, "max |f - y <w_hat, x>| / max |f|", "1"),
    }
    for part in (found.positive, found.negative):
        name = CLASS_NAMES[part.label]
        of = f"of the {name} class"
        variables |= {
            f"Psi_{name}": (time, part.Psi, f"cos of w_hat to the class sum, {of}", "1"),
            f"predictor_{name}": (
                ("time", "dimension"),
                part.predictor,
                f"w_hat / ||w_hat|| {of}",
                "1",
            ),
            f"log_predictor_{name}": (time, part.log_norm, f"log ||w_hat|| {of}", "1"),
            f"margin_spread_{name}": (time, part.margin_spread, f"margin spread {of}", "1"),
        }
        if run.loss.needs_labels:
            spread = part.residual_spread(run.loss)
            variables[f"residual_spread_{name}"] = (time, spread, f"residual spread rho {of}", "1")
    return variables


def _per_neuron(run: Trajectory) -> dict[str, _Variable]:
    network, sample, rows = run.network, run.sample, ("neuron", "dimension")
    return {
        "sign": (("neuron",), run.final.sign, "sign of v_j at the end", "1"),
        "dead": (("neuron",), dead_neurons(run).astype(np.int8), "1: inactive on all samples", "1"),
        "final_direction": (rows, run.final.direction, "w_j / ||w_j|| at the end", "1"),
        "initial_weights": (rows, network.weights, "W_j: w_j = alpha W_j at the start", "1"),
        "initial_output": (("neuron",), network.output, "V_j: v_j = alpha V_j at the start", "1"),
        "x": (("sample", "dimension"), sample.x, "inputs", "1"),
        "y": (("sample",), sample.y, "labels or targets", "1"),
    }


_SIDE = "+1 active, -1 inactive, 0 sliding"


def _kinks(run: Trajectory) -> dict[str, _Variable]:
    kinks, dims = run.kinks, ("kink",)
    return {
        "kink_time": (dims, kinks.time, "time of the kink", "time of the loss"),
        "kink_neuron": (dims, kinks.neuron, "neuron of the kink", "1"),
        "kink_sample": (dims, kinks.sample, "sample of the kink", "1"),
        "kink_before": (dims, kinks.before, f"side before: {_SIDE}", "1"),
        "kink_after": (dims, kinks.after, f"side after: {_SIDE}", "1"),
    }


def _slides(run: Trajectory) -> dict[str, _Variable]:
    slides, dims = run.slides, ("slide",)
    return {
        "slide_start": (dims, slides.start, "start of the slide", "time of the loss"),
        "slide_end": (dims, slides.end, "end of the slide", "time of the loss"),
        "slide_neuron": (dims, slides.neuron, "neuron that slides", "1"),
        "slide_sample": (dims, slides.sample, "sample on whose kink it slides", "1"),
        "slide_after": (dims, slides.after, f"side after: {_SIDE}", "1"),
    }


def _attributes(run: Trajectory, onset: float) -> dict[str, Any]:
    sample = run.sample
    pairs: dict[str, Any] = {}
    if sample.is_classification and sample.n > 1:
        pairs = {"separability": sample.separability, "violating_pairs": sample.violating_pairs}
    return {
        "title": "Gradient flow of a two-layer ReLU network",
        **describe_problem(run.stop, run.loss, run.tolerance),
        "time_factor": run.loss.time_factor(sample.n),
        "log_alpha": run.log_alpha,
        "balanced": int(run.network.is_balanced),
        "outcome": run.outcome.name,
        "status": run.status,
        "successful": int(run.is_successful),
        "end": run.time,
        "onset": onset,
        "error_estimate": run.error_estimate,
        "steps": run.steps,
        "frozen_flows": run.frozen_flows,
        **pairs,
        **versions(),
    }
