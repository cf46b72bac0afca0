r"""After sorting, alignment is lost only as far as the residuals of the class differ.

Setting
-------
Balanced gradient flow of the logistic or exponential loss under orthogonal separability, t >= t_1.
psi_j = cos theta_j is the cosine of a live neuron of the class to xbar, X the norm of the class
sum, g_i the residuals, and over the class

.. math:: \rho(t) = \frac{g_{\max} - g_{\min}}{g_{\max} + g_{\min}} .

Statement
---------
Lower bound (``inheritance``; the paper's Theorem 5.2, whose wording is not known, reconstructed as
theory.md (3.2)):

.. math:: \Psi(t) \ge \cos \max\Big( \max_j \theta_j(t_1),\; \arcsin \sup_{[t_1, t]} \rho \Big)
          = \min\Big( \cos \max_j \theta_j(t_1),\; \sqrt{1 - \sup \rho^2} \Big) .

Attained at t_1 by neurons of one direction.  Later it is not: it lets all of the spread act against
xbar.  With margins in [m_-, m_+], rho <= tanh((m_+ - m_-)/2).

Derivation
----------
1. With gbar = (g_max + g_min)/2, r = sum g_i x_i = gbar (x_+ + e), e = sum (g_i/gbar - 1) x_i, and
   |g_i/gbar - 1| <= rho.  Inner products in the class are not negative, so ||e|| <= rho X.
2. u' = P r for a sorted, balanced neuron.  In the plane of u and xbar (and across it)
   <xbar, P(x_+ + e)> = X sin^2 theta + sin theta e_2, e_2 a component of e.
3. Hence theta' = -psi'/sin theta = -gbar (X sin theta + e_2) <= gbar X (rho - sin theta).
4. A sorted neuron has 0 <= theta <= pi/2.  There, where cos theta <= sqrt(1 - rho^2), sin theta is
   at least rho: theta does not grow.  So no theta_j exceeds the larger of its start and
   arcsin sup rho (a barrier, in words).
5. Psi >= min psi_j (the_predictor_lies_in_the_hull.py), and cos falls on [0, pi].
6. Margins: with e^{m_-} = p and e^{m_+} = p s, the quotient of the residuals is (1 + p s)/(1 + p),
   at most s, for the logistic loss, and s for the exponential.  (R - 1)/(R + 1) rises with R, and
   is tanh(x/2) at R = e^x.

Numerical check
---------------
``Statement.check`` takes Psi from the flow at times from t_1 to the stop, the largest angle of a
live neuron at t_1, and the largest spread of the residuals up to each time.

References
----------
Yeom, Ha, Lee, arXiv 2602.00827, Theorem 5.2 (known from summaries).
"""

from __future__ import annotations

import sympy as sp

from overalign.derivation import Derivation, report
from overalign.statements.quantities import QUANTITIES

theta_max, rho = (QUANTITIES[name].symbol for name in ("theta_max", "rho"))


def derive() -> Derivation:
    """The spread as an error, the speed of the angle, and its barrier."""
    proof = Derivation("Phase 2 inherits the alignment of phase 1")
    _spread(proof)
    _speed(proof)
    _barrier(proof)
    _margins(proof)
    barrier = sp.sqrt((1 - rho) * (1 + rho))
    proof.equal("the cosine of arcsin rho", sp.cos(sp.asin(rho)) ** 2, barrier**2)
    proof.ends_with("inheritance", sp.Min(sp.cos(theta_max), barrier))
    return proof


def _spread(proof: Derivation) -> None:
    """Step 1: residuals are g_min, g_min + some <= g_max."""
    least = sp.Symbol("g_min", positive=True)
    some, more = sp.symbols("some more", nonnegative=True)
    largest = least + some + more
    mean, spread = (largest + least) / 2, (largest - least) / (largest + least)
    off = (least + some) / mean - 1
    proof.at_least_zero("g_i/gbar - 1 <= rho", sp.factor(spread - off))
    proof.at_least_zero("1 - g_i/gbar <= rho", sp.factor(spread + off))
    gram, size = sp.symbols("gram:3", nonnegative=True), sp.symbols("s_1:3", nonnegative=True)
    rest = sp.symbols("r_1:3", nonnegative=True)

    def square(c: list[sp.Expr]) -> sp.Expr:
        return c[0] ** 2 * gram[0] + 2 * c[0] * c[1] * gram[1] + c[1] ** 2 * gram[2]

    top = [size[k] + rest[k] for k in (0, 1)]  # rho, for either sample
    for sign in (1, -1):
        difference = square(top) - square([size[0], sign * size[1]])
        proof.at_least_zero(
            f"||e|| <= rho X, signs equal to {sign} times each other", sp.expand(difference)
        )


def _speed(proof: Derivation) -> None:
    """Steps 2 and 3: the first axis is u, xbar lies in the plane of the first two."""
    theta, X, mean = sp.symbols("theta X gbar", positive=True)
    e = sp.Matrix(sp.symbols("e_1:4", real=True))
    xbar = sp.Matrix([sp.cos(theta), sp.sin(theta), 0])
    pull = mean * (X * xbar + e)
    across = sp.Matrix([0, pull[1], pull[2]])  # P r
    speed = sp.diff(sp.acos(sp.Symbol("psi")), sp.Symbol("psi")).subs(
        sp.Symbol("psi"), sp.cos(theta)
    )
    speed = (xbar.dot(across) * speed).subs(sp.sqrt(1 - sp.cos(theta) ** 2), sp.sin(theta))
    proof.equal("theta' = -gbar (X sin theta + e_2)", speed, -mean * (X * sp.sin(theta) + e[1]))
    s, spread, slack = sp.symbols("sine rho slack", nonnegative=True)
    reached = -mean * (X * s + slack - spread * X)  # e_2 = slack - rho X
    proof.at_least_zero("theta' <= gbar X (rho - sin theta)", mean * X * (spread - s) - reached)


def _barrier(proof: Derivation) -> None:
    """Step 4, with cos theta = c and sqrt(1 - rho^2) = c + more."""
    c, more = sp.symbols("c more", nonnegative=True)
    sine, spread = sp.sqrt(1 - c**2), sp.sqrt(1 - (c + more) ** 2)
    proof.at_least_zero("sin theta >= rho below the barrier", sp.expand(sine**2 - spread**2))


def _margins(proof: Derivation) -> None:
    p, x = sp.symbols("p x", positive=True)
    more = sp.Symbol("more", nonnegative=True)  # s = 1 + more
    quotient = (1 + p * (1 + more)) / (1 + p)
    proof.at_least_zero("logistic residuals differ by at most e^spread", 1 + more - quotient)
    ratio = sp.Symbol("R", positive=True)
    spread = (ratio - 1) / (ratio + 1)
    proof.at_least_zero("rho rises with the quotient", sp.factor(sp.diff(spread, ratio)))
    proof.equal("and is tanh of half the spread", spread.subs(ratio, sp.exp(x)), sp.tanh(x / 2))


if __name__ == "__main__":
    print(report(derive()))
