"""General solvers on the plain weights (w, v), which step across the kinks; and the references.

Each takes a `Plain` problem and returns an `Answer`.  The libraries other than scipy are optional.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

import overalign as oa
from validation.common import BENCHMARK_ETA, FloatArray

MOST_EVALUATIONS = 1_000_000
END = 1e6  # of the integration, if the stop is never met


class Answer(NamedTuple):
    """Where a solver stopped; evaluations are right-hand sides."""

    theta: FloatArray
    time: float
    evaluations: float
    reached: bool


@dataclass(frozen=True)
class Plain:
    """Logistic loss, mean, stopped at risk eta, started at alpha (W, V)."""

    sample: oa.Sample
    network: oa.Network
    alpha: float
    eta: float = BENCHMARK_ETA

    @property
    def start(self) -> FloatArray:
        """(w, v) at time 0 in one row."""
        shape = np.concatenate([self.network.weights.ravel(), self.network.output])
        return np.asarray(self.alpha * shape)

    def split(self, theta: Any) -> tuple[Any, Any]:
        """(w [h, d], v [h]) of a row."""
        h, d = self.network.weights.shape
        return theta[: h * d].reshape(h, d), theta[h * d :]

    @cached_property
    def columns(self) -> FloatArray:
        """Samples as columns, contiguous."""
        return np.ascontiguousarray(self.sample.x.T)

    def velocity(self, _: float, theta: FloatArray) -> FloatArray:
        """Right-hand side."""
        from scipy.special import expit

        w, v = self.split(theta)
        products = w @ self.columns
        live = np.maximum(products, 0.0)
        y = self.sample.y
        pull = y * expit(-y * (v @ live)) / self.sample.n
        drive = ((products > 0.0) * pull) @ self.sample.x
        return np.concatenate([(v[:, None] * drive).ravel(), live @ pull])

    def distance(self, _: float, theta: FloatArray) -> float:
        """Risk minus eta."""
        w, v = self.split(theta)
        margins = self.sample.y * (v @ np.maximum(w @ self.columns, 0.0))
        return float(np.logaddexp(0.0, -margins).mean() - self.eta)


# ------------------------------------------------------------------------------------- reference


def kink_splitting(problem: Plain, tolerance: float = 1e-12) -> Answer:
    """The reference integrator of tests/oracles, DOP853 between kinks."""
    from oracles import kink_flow

    sample, network = problem.sample, problem.network
    stop = ("risk", problem.eta)
    end = kink_flow(
        sample.x,
        sample.y,
        network.weights,
        network.output,
        math.log(problem.alpha),
        "logistic",
        1.0 / sample.n,
        stop,
        tolerance=tolerance,
    )
    w, v = end.parameters
    return Answer(np.concatenate([w.ravel(), v]), end.time, float(end.evaluations), True)


# ----------------------------------------------------------------------------------------- scipy


class _TooLong(RuntimeError):
    pass


def dop853(problem: Plain, rtol: float, atol: float) -> Answer:
    """scipy's DOP853 stepping across the kinks."""
    from scipy.integrate import solve_ivp

    evaluations = 0

    def velocity(time: float, theta: FloatArray) -> FloatArray:
        nonlocal evaluations
        evaluations += 1
        if evaluations > MOST_EVALUATIONS:
            raise _TooLong
        return problem.velocity(time, theta)

    def stop(time: float, theta: FloatArray) -> float:
        return problem.distance(time, theta)

    stop.terminal = True  # type: ignore[attr-defined]
    try:
        found = solve_ivp(
            velocity, (0.0, END), problem.start, "DOP853", events=stop, rtol=rtol, atol=atol
        )
    except _TooLong:
        return Answer(np.full(problem.start.size, np.nan), math.nan, evaluations, False)
    return Answer(found.y[:, -1], float(found.t[-1]), evaluations, found.status == 1)


# --------------------------------------------------------------------------------------- diffrax

STAGES = {"Tsit5": 6, "Dopri8": 13}  # right-hand sides per step after the first


class Diffrax:
    """diffrax with a PID controller, float64, stopped by an event; compiled on the first call."""

    def __init__(self, problem: Plain, method: str, batched: bool = False) -> None:
        import jax

        jax.config.update("jax_enable_x64", True)
        self.method = method
        solve = _diffrax_solve(problem, method)
        self._solve = jax.jit(jax.vmap(solve) if batched else solve)

    def __call__(self, problem: Plain, rtol: float, atol: float) -> Answer:
        """Solve one problem on the samples that this was made for."""
        w, v = problem.split(problem.start)
        time, w, v, steps, reached = self.raw(w, v, np.float64(rtol), np.float64(atol))
        theta = np.concatenate([np.ravel(w), np.ravel(v)])
        return Answer(theta, float(time), float(steps) * STAGES[self.method], bool(reached))

    def raw(self, *values: Any) -> Any:
        """(time, w, v, steps, reached) at (w, v, rtol, atol); arrays of them when batched."""
        import jax

        return jax.block_until_ready(self._solve(*values))


def _diffrax_solve(problem: Plain, method: str) -> Callable[..., Any]:
    import diffrax
    import jax
    import jax.numpy as jnp
    import optimistix

    x, label, eta = jnp.asarray(problem.sample.x), jnp.asarray(problem.sample.y), problem.eta

    def velocity(t: Any, y: Any, args: Any) -> Any:
        w, v = y
        products = w @ x.T
        live = jnp.maximum(products, 0.0)
        pull = label * jax.nn.sigmoid(-label * (v @ live)) / label.size
        return v[:, None] * (((products > 0.0) * pull) @ x), live @ pull

    def distance(t: Any, y: Any, args: Any, **_: Any) -> Any:
        w, v = y
        return jnp.mean(jax.nn.softplus(-label * (v @ jnp.maximum(w @ x.T, 0.0)))) - eta

    root = optimistix.Bisection(rtol=1e-13, atol=1e-13)

    def solve(w: Any, v: Any, rtol: Any, atol: Any) -> Any:
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(velocity),
            getattr(diffrax, method)(),
            0.0,
            END,
            None,
            (w, v),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
            event=diffrax.Event(distance, root),
            max_steps=MOST_EVALUATIONS // STAGES[method],
            throw=False,
        )
        w, v = found.ys[0][-1], found.ys[1][-1]
        reached = found.result == diffrax.RESULTS.event_occurred
        return found.ts[-1], w, v, found.stats["num_steps"], reached

    return solve


# ------------------------------------------------------------------------------------ torchdiffeq


def torch_dopri5(problem: Plain, rtol: float, atol: float) -> Answer:
    """torchdiffeq's dopri5 with odeint_event, float64."""
    import torch
    from torchdiffeq import odeint_event

    x, y = (torch.tensor(array) for array in (problem.sample.x, problem.sample.y))
    evaluations = 0

    def velocity(_: Any, theta: Any) -> Any:
        nonlocal evaluations
        evaluations += 1
        if evaluations > MOST_EVALUATIONS:
            raise _TooLong
        w, v = problem.split(theta)
        products = w @ x.T
        live = products.clamp(min=0.0)
        pull = y * torch.sigmoid(-y * (v @ live)) / y.numel()
        drive = ((products > 0.0) * pull) @ x
        return torch.cat([(v[:, None] * drive).ravel(), live @ pull])

    def distance(_: Any, theta: Any) -> Any:
        w, v = problem.split(theta)
        return (
            torch.nn.functional.softplus(-y * (v @ (w @ x.T).clamp(min=0.0))).mean() - problem.eta
        )

    zero = torch.zeros((), dtype=torch.float64)
    start = torch.tensor(problem.start)
    try:
        with torch.no_grad():
            time, path = odeint_event(
                velocity, start, zero, event_fn=distance, rtol=rtol, atol=atol, method="dopri5"
            )
    except (_TooLong, AssertionError):  # its "underflow in dt" is an assertion
        return Answer(np.full(problem.start.size, np.nan), math.nan, evaluations, False)
    return Answer(path[-1].numpy(), float(time), evaluations, True)


def available(*modules: str) -> bool:
    """Whether optional libraries are installed."""
    return all(find_spec(module) is not None for module in modules)
