r"""OA plus a growing penalty has an interior minimum only if the penalty grows slowly.

Setting
-------
The mixture with kappa > 0, the class mean at the angle phi to s, 0 < phi < pi/2.  OA(theta) is the
over-alignment of the cone of half angle theta (over_alignment_of_a_cone.py), x = kappa/sigma, and
U(theta) = OA(theta) + a sin(theta), a > 0, on 0 <= theta <= pi/2: a bound on OF of the form
a sin(theta) is meant for half angles up to pi/2, and sin falls beyond.

Statement
---------
Equalities (theory.md 5.2, ours; the place is that of the paper's Eq. 24).

.. math:: \sup_{0 < \theta \le \pi/2} \frac{\mathrm{OA}(0) - \mathrm{OA}(\theta)}{\sin\theta}
   = x \sin\varphi\, \mathrm{pdf}(x \cos\varphi)

(``largest_slope``; the supremum is the limit at theta = 0, and is not attained).  U has an interior
minimum if and only if a is smaller than that; it is then the only one, and lies at the root
theta* in (0, phi) of

.. math:: x \sin(\varphi - \theta)\, \mathrm{pdf}(x \cos(\varphi - \theta)) = a \cos\theta

(``optimal_cone_angle``).  Otherwise theta = 0 is the minimiser.

Derivation
----------
1. For theta < phi, OA' = -D with D = x sin(phi - theta) pdf(x cos(phi - theta)); beyond, OA = 0.
2. Q = D/cos(theta) falls strictly on [0, phi): its logarithm has the slope
   -cos(phi)/(sin(phi - theta) cos(theta)) - x^2 sin(phi - theta) cos(phi - theta), where
   0 < phi - theta <= phi < pi/2.  Q is zero at phi.
3. By Cauchy's mean value theorem (OA(0) - OA(theta))/sin(theta) = Q at a place in between, for
   theta <= phi: less than Q(0), and tends to it as theta -> 0.  Beyond phi the numerator is OA(0)
   and sin rises.  The supremum is Q(0).
4. U' = cos(theta) (a - Q), with Q = 0 beyond phi.  If a < Q(0), U' changes its sign once, from - to
   +, where Q = a: one root, the only minimum, inside (0, phi) as Q(phi) = 0 < a.  If a >= Q(0),
   U' > 0 for theta > 0.
5. Without the limit pi/2 none of this holds: sin(pi) = 0, so U(pi) = 0 is below U(theta*).  With
   a = 0 every theta >= phi is a minimiser.

Numerical check
---------------
``Statement.check`` searches the quotient over theta, and minimises U for half the largest slope, at
the phi of the sample.

References
----------
Yeom, Ha, Lee, arXiv 2602.00827, Eq. 24 (known from summaries).
"""

from __future__ import annotations

import sympy as sp

from overalign.derivation import Derivation, report
from overalign.special import OptimalConeAngle, Phi, compiled
from overalign.statements.quantities import QUANTITIES

kappa, sigma, phi, a, theta = (
    QUANTITIES[name].symbol for name in ("kappa", "sigma", "phi", "slope", "theta")
)
x = kappa / sigma
OUTSIDE = Phi(-x * sp.cos(phi - theta)) - Phi(-x)  # OA of a cone that does not hold s
PLACES = ((0.5, 0.3), (2.0, 0.6), (4.0, 1.2), (1.0, 1.5))  # kappa/sigma and phi


def derive() -> Derivation:
    """The quotient of slopes falls; where it starts and where it meets a."""
    proof = Derivation("An interior optimum needs a small slope")
    fall = -sp.diff(OUTSIDE, theta)
    quotient = fall / sp.cos(theta)
    _quotient_falls(proof, quotient)
    proof.equal("it is zero at phi", quotient.subs(theta, phi), 0)
    proof.ends_with("largest_slope", quotient.subs(theta, 0))
    total = OUTSIDE + a * sp.sin(theta)
    slope = sp.cos(theta) * (a - quotient)
    proof.equal("U' = cos(theta) (a - Q)", sp.diff(total, theta), slope)
    _ends(proof, total)
    _root(proof, slope)
    proof.ends_with("optimal_cone_angle", OptimalConeAngle(x, phi, a))
    return proof


def _quotient_falls(proof: Derivation, quotient: sp.Expr) -> None:
    """Step 2."""
    apart = sp.cos(phi - theta) * sp.cos(theta) - sp.sin(phi - theta) * sp.sin(theta)
    proof.equal("cos(phi) from its parts", sp.expand_trig(apart), sp.cos(phi))
    bend = x**2 * sp.sin(phi - theta) * sp.cos(phi - theta)
    falls = apart / (sp.sin(phi - theta) * sp.cos(theta)) + bend
    proof.equal("the slope of log Q", sp.diff(quotient, theta) / quotient, -falls)
    own = {factor: sp.Symbol(f"p_{k}", positive=True) for k, factor in enumerate(_factors())}
    signs = falls.subs(apart, sp.cos(phi)).subs(own)
    proof.at_least_zero("Q falls for 0 < phi - theta <= phi < pi/2", signs)


def _factors() -> tuple[sp.Expr, ...]:
    """What is positive for 0 < phi - theta <= phi < pi/2."""
    return sp.cos(phi), sp.cos(theta), sp.sin(phi - theta), sp.cos(phi - theta)


def _ends(proof: Derivation, total: sp.Expr) -> None:
    """Steps 3 and 5: beyond phi."""
    proof.equal("OA is zero at phi", OUTSIDE.subs(theta, phi), 0)
    proof.equal("a sin(theta) is zero at pi", (a * sp.sin(theta)).subs(theta, sp.pi), 0)
    height = sp.Symbol("cosine", nonnegative=True)
    rises = sp.diff(a * sp.sin(theta), theta).subs(sp.cos(theta), height)
    proof.at_least_zero("and rises up to pi/2", rises)
    proof.equal("U(0) = OA(0)", total.subs(theta, 0), OUTSIDE.subs(theta, 0))


def _root(proof: Derivation, slope: sp.Expr) -> None:
    """That the function OptimalConeAngle is the root: numerical."""
    root = compiled((kappa, sigma, phi, a), OptimalConeAngle(x, phi, a))
    steepest = compiled((kappa, sigma, phi), -sp.diff(OUTSIDE, theta).subs(theta, 0))
    residual = compiled((kappa, sigma, phi, a, theta), slope / a)
    worst = 0.0
    for ratio, angle in PLACES:
        for share in (0.01, 0.5, 0.99):
            given = (ratio, 1.0, angle, share * float(steepest(ratio, 1.0, angle)))
            worst = max(worst, abs(float(residual(*given, float(root(*given))))))
    proof.numerical("OptimalConeAngle solves U' = 0", worst, 1e-10)


if __name__ == "__main__":
    print(report(derive()))
