"""Where the alignment of a class ends as the scale of the initialisation goes to zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .alignment import CLASS_NAMES, Cone, angle, require_label_loss, single_cone
from .errors import ProblemError
from .problem import LogisticLoss, Loss, Sample

__all__ = ["LimitAlignment", "limit_alignment"]

FloatArray: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LimitAlignment:
    """The effective predictor of a class at a stop over that class, as alpha -> 0.

    Attributes
    ----------
    label : int
    class_direction : array [d]
        xbar.
    eta : array [..]
        Risk over the class at the stop.
    predictor : array [.., d]
        u, the common direction of the class's live neurons and of w_hat.
    log_norm : array [..]
        log S = log ||w_hat||.
    cone_angle : array [..]
        theta_0(eta), the angle of u to xbar, radians.

    Examples
    --------
    >>> from overalign import Sample
    >>> sample = Sample([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0]], [1, 1, -1])
    >>> limit = limit_alignment(sample, [0.3, 0.01])
    >>> limit.Psi.shape, limit.predictor.shape
    ((2,), (2, 2))
    """

    label: int
    class_direction: FloatArray
    eta: FloatArray
    predictor: FloatArray
    log_norm: FloatArray
    cone_angle: FloatArray

    @property
    def Psi(self) -> FloatArray:
        """Psi_0(eta) = <u, xbar>, [..]."""
        return np.asarray(np.cos(self.cone_angle))

    @property
    def cone(self) -> Cone:
        """The cone that H(alpha) tends to (ProblemError for several eta)."""
        return single_cone(self.class_direction, self.cone_angle, self.label)


def limit_alignment(
    sample: Sample, eta: ArrayLike, label: int = 1, loss: Loss | None = None
) -> LimitAlignment:
    """Psi_0(eta): the alignment of one class at a stop over that class, in the limit alpha -> 0.

    Parameters
    ----------
    sample : Sample
        Only the inputs of class ``label`` count.
    eta : float or array [..]
        Risk over the class, in the loss's own units: its factor and its reduction applied to the
        samples of the class, as in ``stop_at_risk(eta, over="positive")``.
    label : {1, -1}
    loss : LogisticLoss or ExponentialLoss
        Default ``LogisticLoss(factor=1, reduction="mean")``.

    Returns
    -------
    LimitAlignment
        Arrays of the shape of ``eta``.

    Raises
    ------
    ProblemError
        eta is not between zero and the risk at f = 0; eta is below what a linear function through
        the origin reaches on the class; the class sums to zero; another loss.

    Notes
    -----
    theory.md 3.5. When all live neurons of the class are sorted and share the direction u, with
    S = ||w_hat|| and r = sum of g_i x_i over the class,

        u' = (I - u u^T) r,   (log S)' = 2 <u, r>,   g_i = g(S <u, x_i>),

    from u = xbar at S = 0. Time is replaced by the length of the integral of r, so that only ratios
    of residuals count: du = (I - u u^T) r / ||r||, d log S = 2 <u, r> / ||r||. It starts where the
    largest S ||x_i|| is exp(-30): there u differs from xbar by no more, and what is lost decays
    like 1 / sqrt(S), to 3e-20 at S = 1. The limit needs no alpha, width or weights, but live
    neurons of the class that all end up sorted, as under orthogonal separability.

    A stop over all samples is another matter. The class with the larger ||x|| fits first and goes
    on turning while the other still grows, for a time proportional to log(1 / alpha): its Psi falls
    towards that of its max-margin direction, but only logarithmically. On one sample with
    ||x_+|| = 18.5 and ||x_-|| = 16.7 it is 0.9967, 0.9935 and 0.9903 at log alpha = -20, -200 and
    -2000, eta = 0.05 (max-margin: 0.9528). The slower class is left with all of the risk: its Psi
    tends to Psi_0(eta n / n_class), here 0.996472, and is 0.99543, 0.99638 and 0.996466.

    Examples
    --------
    >>> from overalign import GaussianMixture, Network, alignment_of, solve, stop_at_risk
    >>> sample = GaussianMixture(20, kappa=1.5, sigma=1.0).sample(12, seed=0, separability=0.0)
    >>> limit = limit_alignment(sample, 0.05)
    >>> network = Network.random(width=16, dimension=20, seed=0)
    >>> run = solve(sample, network, math.log(1e-5), stop_at_risk(0.05, over="positive"))
    >>> abs(float(alignment_of(run.final, sample).positive.Psi - limit.Psi)) < 1e-6
    True
    """
    loss = LogisticLoss() if loss is None else loss
    require_label_loss(loss, "limit_alignment")
    class_direction = sample.class_direction(label)
    system = _LimitFlow(sample.x[sample.y == label], loss)
    asked = np.asarray(eta, dtype=np.float64)
    start = system.risk_of(np.zeros(system.x.shape[0]))
    if not asked.size or not np.all((asked > 0) & (asked < start)):
        raise ProblemError(
            f"eta is {asked}; it must be positive and below the risk at f = 0, {start:g} for the "
            f"{loss} over one class"
        )
    states = _states_at_risks(system, class_direction, asked.ravel(), label)
    states = states.reshape(*asked.shape, -1)
    predictor = states[..., :-1]
    predictor = predictor / np.linalg.norm(predictor, axis=-1, keepdims=True)
    return LimitAlignment(
        label=label,
        class_direction=class_direction,
        eta=asked,
        predictor=predictor,
        log_norm=states[..., -1],
        cone_angle=angle(predictor, class_direction),
    )


_LIMIT_START = -30.0  # log of the largest S ||x_i|| at the start
_LIMIT_STEPS = 5000  # a few dozen are usual
_CANCELLED = 1e-9  # ||r|| over the sum of g_i ||x_i|| at a minimum of the risk


@dataclass(frozen=True, eq=False)
class _LimitFlow:
    """The flow of one class in the limit; a state is (u, log S), [d + 1]."""

    x: FloatArray
    loss: Loss

    @cached_property
    def norms(self) -> FloatArray:
        return np.asarray(np.linalg.norm(self.x, axis=1))

    def margins(self, state: FloatArray) -> FloatArray:
        return np.asarray(math.exp(state[-1]) * (self.x @ state[:-1]))

    def risk_of(self, margins: FloatArray) -> float:
        return self.loss.risk(margins, np.ones_like(margins))

    def pull(self, state: FloatArray) -> tuple[FloatArray, float]:
        """r / ||r||, and ||r|| over the sum of g_i ||x_i||."""
        margins = self.margins(state)
        falls = np.logaddexp(0.0, margins) if isinstance(self.loss, LogisticLoss) else margins
        g = np.exp(falls.min() - falls)
        r = g @ self.x
        size = max(math.sqrt(r @ r), 1e-300)
        return r / size, size / float(g @ self.norms)

    def slope(self, _: float, state: FloatArray) -> FloatArray:
        u, (e, _) = state[:-1], self.pull(state)
        along, slope = float(u @ e), np.empty_like(state)
        slope[:-1], slope[-1] = e - along * u, 2.0 * along
        return slope


def _states_at_risks(
    flow: _LimitFlow, class_direction: FloatArray, risks: FloatArray, label: int
) -> FloatArray:
    """States at which the risk first equals each of ``risks``, [k, d + 1]."""
    from scipy.integrate import DOP853
    from scipy.optimize import brentq

    state = np.append(class_direction, _LIMIT_START - math.log(float(flow.norms.max())))
    solver = DOP853(flow.slope, 0.0, state, np.inf, rtol=1e-12, atol=1e-14, max_step=2.0)
    found = np.full((risks.size, state.size), np.nan)
    found[flow.risk_of(flow.margins(state)) <= risks] = state
    for _ in range(_LIMIT_STEPS):
        if not np.isnan(found[:, 0]).any():
            return found
        solver.step()
        if solver.status == "failed" or flow.pull(solver.y)[1] < _CANCELLED:
            break
        reached = flow.risk_of(flow.margins(solver.y)) <= risks
        for k in np.flatnonzero(reached & np.isnan(found[:, 0])):
            dense = solver.dense_output()

            def left(t: float, dense: Any = dense, eta: float = risks[k]) -> float:
                return math.log(flow.risk_of(flow.margins(dense(t))) / eta)

            # at the end of the step the dense output may round to before the risk
            end = solver.t
            found[k] = dense(brentq(left, solver.t_old, end, xtol=1e-13) if left(end) < 0 else end)
    raise ProblemError(
        f"the risk over the {CLASS_NAMES[label]} class does not fall to {np.min(risks):g}: it "
        f"comes to rest near {flow.risk_of(flow.margins(solver.y)):g}, where no linear function "
        "through the origin gives less; choose a larger eta"
    )
