r"""At small scales the alignment at the stop tends to a number that the data alone determine.

Setting
-------
Balanced gradient flow of the logistic or exponential loss under orthogonal separability; a live
neuron of the class exists; the stop is over that class, at the risk eta.  S is the sum of
||w_j||^2 over live neurons of the class, w_hat = sum v_j w_j, r = sum over the class of g_i x_i.

Statement
---------
An equality in the limit alpha -> 0 (``limit_of_small_scales``; theory.md 3.5, ours):

.. math:: \Psi(t_\eta) \to \Psi_0(\eta) = \langle u, \bar x_+ \rangle
          \quad\text{where } L_+ \text{ first equals } \eta \text{ on the solution of}

.. math:: u' = (I - u u^\top) r, \qquad (\log S)' = 2 \langle u, r \rangle, \qquad
          r = \sum_{I_+} g(S \langle u, x_i \rangle)\, x_i, \qquad u \to \bar x_+
          \text{ as } S \to 0 .

Psi_0 depends on the inputs of the class and on eta; not on alpha, the width h, or the network.

Derivation
----------
1. After t_1: w_j' = v_j r, v_j' = <w_j, r>.  So S' = 2 <w_hat, r> and u_j' = P_j r.
2. If all w_j = a_j u, v_j = a_j > 0, then w_hat = S u, and u' = P r, S' = 2 S <u, r> for any number
   of neurons and any a_j: the flow of (u, S) is closed, in d + 1 numbers.
3. Neurons do come to share a direction: by the_half_angle_falls_exponentially.py the angle to xbar
   is at most exp(-X (t - t_1)) + x_max Sbar/6 in terms of tan(theta_j/2), with
   Sbar = S(t_1) e^{2 X (t - t_1)}.  The first term is sqrt(S(t_1)/Sbar).  S(t_1) is O(alpha^2), as
   t_1 tends to the finite sorting time of the directional flow (in words), so at any fixed small
   Sbar the first term vanishes with alpha; the second is as small as the Sbar that was chosen.
   S/Sbar stays between positive bounds while outputs are small (in words).
4. Near S = 0, r = X xbar and d theta / d log S = -tan(theta)/2: deviations shrink like 1/sqrt(S),
   so one solution leaves S = 0, at u = xbar, and all that start close to it at a small S follow
   it (continuity, in words).
5. L_+ falls strictly along it, because margins grow where g > 0 (in words); so the stop is crossed
   transversally and Psi there is continuous in the start.  Psi = <w_hat, xbar>/||w_hat|| is
   <u, xbar>.

Numerical check
---------------
``Statement.check`` solves the flow at alpha = exp(-2000) and compares Psi at its stop with
``overalign.limit_alignment``.  Here that function is compared with a direct integration of the
flow of several neurons of one direction, in time: numerical only.

References
----------
Theory.md 3.5.  For the linear networks into which the classes decouple: Min, Zhu, Vidal, 2025
(arXiv 2510.21078).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import sympy as sp

import overalign as oa
from overalign.derivation import Derivation, report
from overalign.statements.quantities import QUANTITIES

Psi_limit = QUANTITIES["Psi_limit"].symbol
ETA = 0.05
Flow: TypeAlias = Callable[[np.ndarray], np.ndarray]


def derive() -> Derivation:
    """The closed flow, its start, and what the predictor shows of it."""
    proof = Derivation("Alignment tends to a limit that the data determine")
    for width, dimension in ((1, 2), (3, 2), (2, 3)):
        _closed_flow(proof, width, dimension)
    _start(proof)
    _against_several_neurons(proof)
    size, xbar = sp.Symbol("S", positive=True), sp.Matrix([1, 0])
    u = sp.Matrix([Psi_limit, sp.sqrt(1 - Psi_limit**2)])
    predictor = size * u
    length = sp.sqrt(sp.expand(predictor.dot(predictor)))
    proof.ends_with("limit_of_small_scales", predictor.dot(xbar) / length)
    return proof


def _closed_flow(proof: Derivation, width: int, dimension: int) -> None:
    """Steps 1 and 2, to first order in the time s from neurons (a_j u, a_j)."""
    s = sp.Symbol("s", real=True)
    a = sp.symbols(f"a_1:{width + 1}", positive=True)
    angles = sp.symbols(f"b_1:{dimension}", real=True)
    u = sp.Matrix([sp.cos(angles[0]), sp.sin(angles[0])])
    if dimension == 3:
        u = sp.Matrix([*(u * sp.cos(angles[1])), sp.sin(angles[1])])
    r = sp.Matrix(sp.symbols(f"r_1:{dimension + 1}", real=True))
    weights = [size * u + s * size * r for size in a]
    outputs = [size + s * (size * u).dot(r) for size in a]
    predictor = sum((v * w for v, w in zip(outputs, weights, strict=True)), sp.zeros(dimension, 1))
    where = f"{width} neurons in {dimension} dimensions"

    def speed(quantity: sp.Expr) -> sp.Expr:
        return sp.diff(quantity, s).subs(s, 0)

    size = sum(v**2 for v in outputs)
    proof.equal(f"S' = 2 <w_hat, r>, {where}", speed(size), 2 * predictor.subs(s, 0).dot(r))
    proof.equal(f"(log S)' = 2 <u, r>, {where}", speed(size) / sum(x**2 for x in a), 2 * u.dot(r))
    turned = speed(predictor / size)
    across = r - u * u.dot(r)
    for k in range(dimension):
        proof.equal(f"u' = P r, component {k + 1}, {where}", turned[k], across[k])


def _start(proof: Derivation) -> None:
    """Steps 3 and 4."""
    theta, X, first, passed = sp.symbols("theta X S_1 time", positive=True)
    r = sp.Matrix([X, 0])
    u = sp.Matrix([sp.cos(theta), sp.sin(theta)])
    turn = (r - u * u.dot(r)).dot(sp.Matrix([-sp.sin(theta), sp.cos(theta)]))  # theta'
    proof.equal(
        "d theta / d log S = -tan(theta)/2 near S = 0", turn / (2 * u.dot(r)), -sp.tan(theta) / 2
    )
    later = first * sp.exp(2 * X * passed)  # Sbar
    proof.equal("the transient is sqrt(S(t_1)/Sbar)", sp.exp(-X * passed), sp.sqrt(first / later))


def _against_several_neurons(proof: Derivation) -> None:
    """Psi at the stop of three tiny neurons of direction xbar, by Runge-Kutta in log S."""
    x = np.array([[1.0, 0.2, 0.0], [0.3, 0.9, 0.4], [0.5, -0.1, 0.8]])
    sample = oa.Sample(np.vstack([x, -x.sum(axis=0)]), [1, 1, 1, -1])
    xbar = x.sum(axis=0) / np.linalg.norm(x.sum(axis=0))
    sizes = 1e-7 * np.array([1.0, 2.0, 0.5])
    state = np.concatenate([sizes[:, None] * xbar, sizes[:, None]], axis=1)  # rows (w_j, v_j)

    def slope(state: np.ndarray) -> np.ndarray:
        predictor = state[:, -1] @ state[:, :-1]
        r = (2.0 / (1.0 + np.exp(x @ predictor))) @ x
        speed = np.column_stack([state[:, -1:] * r, state[:, :-1] @ r])
        return speed / (2.0 * float(predictor @ r) / float(np.sum(state[:, -1] ** 2)))

    def risk(state: np.ndarray) -> float:
        return float(np.logaddexp(0.0, -x @ (state[:, -1] @ state[:, :-1])).mean())

    step = 0.02
    while True:
        ahead = _runge_kutta(slope, state, step)
        if risk(ahead) > ETA:
            state = ahead
        elif step > 1e-13:
            step /= 2.0
        else:
            break
    predictor = state[:, -1] @ state[:, :-1]
    Psi = float(predictor @ xbar) / math.sqrt(float(predictor @ predictor))
    limit = float(oa.limit_alignment(sample, ETA).Psi)
    proof.numerical("limit_alignment is where three neurons end", Psi - limit, 1e-7)


def _runge_kutta(slope: Flow, state: np.ndarray, step: float) -> np.ndarray:
    """One step of the classical method."""
    k_1 = slope(state)
    k_2 = slope(state + 0.5 * step * k_1)
    k_3 = slope(state + 0.5 * step * k_2)
    k_4 = slope(state + step * k_3)
    return state + step / 6.0 * (k_1 + 2.0 * k_2 + 2.0 * k_3 + k_4)


if __name__ == "__main__":
    print(report(derive()))
