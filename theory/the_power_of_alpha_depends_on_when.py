r"""The power of alpha in the angle to the class sum depends on when one looks.

Setting
-------
As in the_half_angle_falls_exponentially.py, with sqrt(h) alpha < 1, F = alpha sqrt(h) x_max W_max^2
and X = ||x_+||.  T is the paper's window (norms_and_outputs_stay_small.py).  For the powers, alpha
goes to zero, and some live neuron of the class is not along x_+ at t_1 in that limit.

Statement
---------
.. math:: T_+ = \frac{\log(1/(\sqrt h \alpha))}{2 X \beta}

(``transient_time``, a definition, theory.md 2.5 (b), ours).  If t_1 <= T_G and t_1 <= T_+,

.. math:: \theta_j(T_+) \le 2 e^{X \beta t_1} h^{1/4} \sqrt\alpha
          + \tfrac13 x_{\max} W_{\max}^2 \sqrt h\, \alpha\, e^{F X \beta t_1}

(``angle_at_the_transient_time``, Corollary 5.3 with explicit constants, reconstructed; theory.md
(2.7)), an upper bound.  The power of alpha in the largest angle, d log(theta)/d log(alpha), is

.. math:: \frac X{4 n x_{\max}} \text{ at } T, \qquad \tfrac12 \text{ at } T_+, \qquad
          1 \text{ at a fixed small output}

(``angle_exponent_at_the_window``, ours; ``angle_exponent_at_the_transient_time``, reconstructed;
``angle_exponent_at_the_onset``, ours).  The first two are limits, equalities; the first is at most
1/4, so the paper's sqrt(alpha) does not follow at T.  The third is that of the transient.  It is
seen while level^{3/2} << alpha << level^{1/2} only: the floor of the angle is proportional to the
level of the output and not to alpha, and unless it vanishes (step 8) the power at a fixed level
tends to 0 in the end.

Derivation
----------
1. T_+ is the time at which alpha^2 W_max^2 e^{2 X beta t} reaches alpha W_max^2/sqrt(h): growth at
   residuals of one, along x_+.  T_+ > T_G, as 1 + tanh(F/2) > 1 and X <= G.
2. Up to t_1 <= T_G squared norms grow at most at the rate 2 (1 + tanh(F/2)) X <= (2 + F) X
   (norms_and_outputs_stay_small.py), as tanh(F/2) <= F/2: S(t_1) <= h alpha^2 W_max^2
   e^{(2 + F) X beta t_1}.
3. theta <= 2 tan(theta/2), and (2.4) of the_half_angle_falls_exponentially.py at t = T_+, where
   e^{-X beta T_+} = (sqrt(h) alpha)^{1/2}, give the bound on the angle.
4. The inequalities of (2.4) hold from below too (theta' >= -X sin(theta) - ||e||, in words), so
   tan(theta/2) is tau(t_1) e^{-X beta (t - t_1)} up to x_max S(t_1) e^{2 X beta (t - t_1)}/6, the
   floor.  As alpha goes to zero, t_1 and the directions at t_1 have limits, and S(t_1) is of order
   alpha^2 (in words).
5. With p = -X beta dt/d log(alpha) the transient has the power p and the floor the power 2 - 2 p.
   The power of their sum is p + (2 - 3 p) rho/(1 + rho), rho = floor/transient ~ alpha^{2 - 3p}.
6. At T, p = X/(4 n x_max) <= 1/4, at T_+ p = 1/2: 2 - 3 p > 0, so rho goes to 0 and the power is p.
   2 tau/theta goes to 1 with theta.
7. At a fixed level of S, t = log(level/alpha^2)/(2 X beta) up to a constant: p = 1, but
   2 - 3 p = -1.  So rho ~ level^{3/2}/alpha: the power is 1 while it is small, and 0 where it is
   large.
8. The floor is there unless the inputs conspire.  To first order in the outputs the part of w_j
   across x_+ obeys delta' = -X delta - (S/2) P K xbar_+, K = sum of x_i x_i^T, and S grows at
   the rate 2 X: delta = S ||P K xbar_+||/(6 X).  It is zero if K xbar_+ is along x_+, so for one
   input, or for inputs with equal products with x_+.

Numerical check
---------------
``Statement.check`` compares T_+ with that of ``phase_times`` and the angles at T_+ with the bound.
It measures each power from the largest angles at two very small scales, at the onset with a level
far below alpha^{2/3}.

References
----------
Yeom, Ha, Lee, Over-alignment vs over-fitting: the role of feature learning strength in
generalization (arXiv 2602.00827), Corollary 5.3.
"""

from __future__ import annotations

import sympy as sp

from overalign.derivation import Derivation, report
from overalign.statements.quantities import QUANTITIES

n, h, X, x_max, W, log_alpha, beta, t, t_1 = (
    QUANTITIES[name].symbol
    for name in (
        *("n", "width", "class_norm", "x_max", "W_max"),
        *("log_alpha", "beta", "time", "t_1"),
    )
)
F = sp.exp(log_alpha) * sp.sqrt(h) * x_max * W**2
TARGET = log_alpha + 2 * sp.log(W) - sp.log(h) / 2  # of log ||w_j||^2


def derive() -> Derivation:
    """T_+, the angle there, and the powers of alpha at three times."""
    proof = Derivation("The power of alpha in the angle depends on when one looks")
    T_plus = _time_at(2 * X * beta)
    proof.ends_with("transient_time", T_plus)
    _angle(proof, T_plus)
    _slope_of_a_sum(proof)
    _powers(proof, T_plus)
    _floor(proof)
    return proof


def _time_at(rate: sp.Expr) -> sp.Expr:
    """When a squared norm that starts at alpha^2 W_max^2 and grows at a rate meets the target."""
    return sp.solve(2 * log_alpha + 2 * sp.log(W) + rate * t - TARGET, t)[0]


def _angle(proof: Derivation, T_plus: sp.Expr) -> None:
    x = sp.Symbol("x", real=True)
    for name, gap, slope in (
        ("x - arctan x", x - sp.atan(x), x**2 / (1 + x**2)),
        ("x - tanh x", x - sp.tanh(x), sp.tanh(x) ** 2),
    ):
        proof.equal(f"{name} starts at zero", gap.subs(x, 0), 0)
        proof.equal(f"the slope of {name}", sp.diff(gap, x), slope)
        proof.at_least_zero(f"so {name} does not fall", slope)
    growth = (2 + F) * X * beta * t_1
    size = h * sp.exp(2 * log_alpha + 2 * sp.log(W) + growth)  # S(t_1)
    since = X * beta * (T_plus - t_1)
    half = sp.exp(-since) + x_max * size * sp.exp(2 * since) / 6
    proof.ends_with("angle_at_the_transient_time", sp.expand(2 * half))


def _slope_of_a_sum(proof: Derivation) -> None:
    a, b = sp.symbols("a b", positive=True)
    p, fold = sp.symbols("p l", real=True)  # l = log(alpha)
    transient, floor = a * sp.exp(p * fold), b * sp.exp((2 - 2 * p) * fold)
    rho = b / a * sp.exp((2 - 3 * p) * fold)
    proof.equal("rho = floor/transient ~ alpha^{2 - 3p}", floor, rho * transient)
    proof.equal(
        "the power of the sum is p + (2 - 3p) rho/(1 + rho)",
        sp.diff(sp.log(transient + floor), fold),
        p + (2 - 3 * p) * rho / (1 + rho),
    )
    tau = sp.Symbol("tau")
    proof.equal("theta is 2 tau where it is small", sp.limit(2 * sp.atan(tau) / tau, tau, 0), 2)


def _power(time: sp.Expr) -> sp.Expr:
    """Of alpha in e^{-X beta time}."""
    return sp.diff(-X * beta * time, log_alpha)


def _powers(proof: Derivation, T_plus: sp.Expr) -> None:
    window, level = _time_at(4 * n * x_max * beta), sp.Symbol("level", positive=True)
    onset = sp.solve(2 * log_alpha + 2 * X * beta * t - sp.log(level), t)[0]
    at_window, at_transient, at_onset = (_power(time) for time in (window, T_plus, onset))
    floor = 2 * log_alpha + 2 * X * beta * window
    proof.equal("the floor has the power 2 - 2p", sp.diff(floor, log_alpha), 2 - 2 * at_window)
    rest = sp.Symbol("rest", nonnegative=True)  # n x_max = X + rest
    largest = at_window.subs(n, (X + rest) / x_max)
    proof.at_least_zero("at T, p <= 1/4", sp.together(sp.Rational(1, 4) - largest))
    proof.at_least_zero("so rho goes to zero at T", 2 - 3 * sp.Rational(1, 4))
    proof.at_least_zero("and at T_+", 2 - 3 * at_transient)
    proof.equal("but at a fixed level rho ~ 1/alpha", 2 - 3 * at_onset, -1)
    proof.equal("so the power ends at zero", 2 - 2 * at_onset, 0)
    proof.ends_with("angle_exponent_at_the_window", at_window)
    proof.ends_with("angle_exponent_at_the_transient_time", at_transient)
    proof.ends_with("angle_exponent_at_the_onset", at_onset)


def _floor(proof: Derivation) -> None:
    """S ||P K xbar||/(6 X) solves the flow across x_+, to first order in the outputs."""
    s, m = sp.symbols("s m", real=True)
    across, size = sp.symbols("across S", positive=True)  # ||P K xbar||, S at the start
    residual = 2 / (1 + sp.exp(m))
    proof.equal("g = 1 - m/2 to first order", sp.series(residual, m, 0, 2).removeO(), 1 - m / 2)
    grown = size * sp.exp(2 * X * s)
    delta = grown * across / (6 * X)
    proof.equal("the floor", sp.diff(delta, s), -X * delta + grown * across / 2)


if __name__ == "__main__":
    print(report(derive()))
