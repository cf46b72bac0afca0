"""Directions of neurons against the classes, and a trajectory as a Dataset.

Angles are computed from the component orthogonal to the reference, so that an angle of 1e-12 has
its digits; the cosine of such an angle is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ProblemError
from .flow import Trajectory, describe_problem
from .records import versions

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["angle", "dead_neurons", "fitting_onset", "flow_dataset", "flow_times"]

FloatArray: TypeAlias = NDArray[np.float64]

ONSET = 0.05  # relative change of a residual; |f| = 0.1 for the logistic loss
_INACTIVE = 1e-12  # cosine with a sample on whose kink the neuron lies, up to rounding


# ---------------------------------------------------------------- angles and neurons


def angle(direction: ArrayLike, reference: ArrayLike) -> FloatArray:
    """Angle between directions and a reference, accurate when it is tiny.

    Parameters
    ----------
    direction : array [..., d]
        Vectors of any positive length.
    reference : array [d]
        A vector of any positive length.

    Returns
    -------
    array [...]
        Radians in [0, pi]: atan2(||u - <u, e> e||, <u, e>) with unit vectors u and e.

    Raises
    ------
    ProblemError
        A vector is zero or not finite, or the dimensions differ.

    Examples
    --------
    >>> float(angle([1.0, 1e-12], [1.0, 0.0]))
    1e-12
    >>> angle([[0.0, 2.0], [-1.0, 0.0]], [1.0, 0.0])
    array([1.57079633, 3.14159265])
    """
    e = _unit("reference", np.asarray(reference, dtype=np.float64))
    u = np.asarray(direction, dtype=np.float64)
    if e.ndim != 1 or u.ndim == 0 or u.shape[-1] != e.size:
        raise ProblemError(
            f"direction has shape {u.shape} and reference {e.shape}; expected [..., d] and [d]"
        )
    u = _unit("direction", u)
    along = u @ e
    across = u - along[..., None] * e
    return np.asarray(np.arctan2(np.linalg.norm(across, axis=-1), along))


def _unit(what: str, vectors: FloatArray) -> FloatArray:
    largest = np.max(np.abs(vectors), axis=-1, keepdims=True, initial=0.0)
    if not np.all((largest > 0) & np.isfinite(largest)):
        raise ProblemError(f"{what}: a vector is zero or not finite, so it has no direction")
    scaled = vectors / largest
    return np.asarray(scaled / np.linalg.norm(scaled, axis=-1, keepdims=True))


def dead_neurons(run: Trajectory) -> NDArray[np.bool_]:
    """Which neurons are inactive on every training sample at the end, and so no longer move.

    Returns
    -------
    array [h] of bool

    Notes
    -----
    theory.md 3.1: effective predictors leave them out.

    Examples
    --------
    >>> from overalign import Network, Sample, solve, stop_at_risk
    >>> sample = Sample([[1.0, 0.0], [0.0, 1.0]], [1, 1])
    >>> network = Network.balanced(weights=[[1.0, 1.0], [-1.0, -1.0]], sign=[1, 1])
    >>> dead_neurons(solve(sample, network, -5.0, stop_at_risk(0.1)))
    array([False,  True])
    """
    cosines = run.final.direction @ (run.sample.x / run.sample.norms[:, None]).T
    return np.asarray(np.max(cosines, axis=1) <= _INACTIVE)


# ---------------------------------------------------------------- phases and times


def fitting_onset(run: Trajectory) -> float:
    """When fitting begins: the network's outputs start to change the residuals.

    The first time at which the residual of some sample differs from its value at f = 0 by 5 % of
    the largest residual at f = 0. For the logistic loss that is max |f(x_i)| = 0.1. Until then
    neurons turn and grow as if they were alone (phase 1); afterwards they fit (phase 2).

    Returns
    -------
    float
        In the units of the loss; 0 if the start is past it, nan if the end is before it.

    Notes
    -----
    The onset of theory.md 2.5 (c). The change is followed on the dense output, to about 1e-10 of a
    step.

    Examples
    --------
    >>> from overalign import Network, Sample, solve, stop_at_risk
    >>> sample = Sample([[1.0, 0.0], [0.0, 1.0]], [1, -1])
    >>> run = solve(sample, Network.random(4, 2, seed=1), -20.0, stop_at_risk(0.1))
    >>> round(float(abs(run.at(fitting_onset(run)).outputs).max()), 6)
    0.1
    """
    times = run.step_times
    for _ in range(4):
        change = _residual_change(run, times)
        past = np.flatnonzero(change >= ONSET)
        if not past.size:
            return float("nan")
        if past[0] == 0:
            return float(times[0])
        before, after = past[0] - 1, past[0]
        times = np.linspace(times[before], times[after], 65)
    share = (ONSET - change[before]) / (change[after] - change[before])
    return float(times[0] + share * (times[-1] - times[0]))


def _residual_change(run: Trajectory, times: FloatArray) -> FloatArray:
    """Largest change of a residual since f = 0, relative to the largest residual there; [t]."""
    y = run.sample.y
    start = run.loss.residuals(np.zeros_like(y), y)
    largest = max(float(np.max(np.abs(start))), 1e-300)
    outputs = run.at(times).outputs
    return np.array([np.max(np.abs(run.loss.residuals(f, y) - start)) for f in outputs]) / largest


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


# ---------------------------------------------------------------- the Dataset


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

    onset = fitting_onset(run)
    asked = flow_times(run, onset) if times is None else np.atleast_1d(np.asarray(times, float))
    variables = _along_time(run, asked) | _per_neuron(run) | _kinks(run) | _slides(run)
    described = {
        name: (dims, values, {"long_name": text, "units": units})
        for name, (dims, values, text, units) in variables.items()
    }
    time = ("time", asked, {"long_name": "time", "units": "time of the loss"})
    return xr.Dataset(described, coords={"time": time}, attrs=_attributes(run, onset))


_Variable: TypeAlias = tuple[tuple[str, ...], Any, str, str]  # dimensions, values, name, units


def _along_time(run: Trajectory, times: FloatArray) -> dict[str, _Variable]:
    state, y = run.at(times), run.sample.y
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
