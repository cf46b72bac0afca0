r"""What a cone can add to its best error, at most and typically.

Setting
-------
As in over_alignment_of_a_cone.py: E(v) = Phi(-(kappa/sigma) cos angle(v, s)), a cone H of half
angle theta_c about xbar, at the angle phi to s.  w_hat lies in H, OF = E(w_hat) - inf_H E.

Statement
---------
Upper bounds (theory.md (4.2), B1, ours).  The first is attained: by the direction of the cone that
is farthest from s (``over_fitting_at_most``)

.. math:: \mathrm{OF} \le
   \Phi\big(-\tfrac\kappa\sigma \cos\min(\pi, \varphi + \theta_c)\big)
   - \Phi\big(-\tfrac\kappa\sigma \cos\max(0, \varphi - \theta_c)\big)

and, for theta_c <= phi and phi + theta_c <= pi (``over_fitting_lipschitz``; tight only where the
cosines to s are near zero),

.. math:: \mathrm{OF} \le \sqrt{2/\pi}\, \tfrac\kappa\sigma \sin\varphi \sin\theta_c .

An equality of leading order in 1/d for the mean over a uniform azimuth about xbar
(``typical_error``; theory.md 4.2, B4), w_hat at the angle theta to xbar:

.. math:: \mathbb E\, E(\hat w) \approx
   \Phi\big(-\tfrac\kappa\sigma \cos\varphi \cos\theta\big) .

One direction is farther off, by terms of order 1/sqrt(d).

Derivation
----------
1. At the angle tau <= theta_c to xbar and the azimuth a, cos angle(w_hat, s) = cos(phi + tau)
   + sin phi sin tau (1 + cos a) >= cos(phi + tau).  So the angle is at most phi + tau if that is at
   most pi, and at most pi anyhow: at most min(pi, phi + theta_c).  E rises with the angle, and
   inf_H E is that of over_alignment_of_a_cone.py.
2. Phi has a slope of at most 1/sqrt(2 pi), so the difference is at most kappa/(sigma sqrt(2 pi))
   times that of the cosines, cos(phi - theta_c) - cos(phi + theta_c) = 2 sin phi sin theta_c.
3. With B1 alone, OA + OF is at most Phi(-(kappa/sigma) cos(phi + theta_c)) - E*, which rises with
   theta_c: it never predicts an interior optimum.
4. A uniform azimuth is a unit vector in d - 1 dimensions: xi = cos a has the mean zero, and the
   mean of xi^2 is 1/(d - 1), because the squares add up to one.  With c = cos phi cos theta,
   b = sin phi sin theta, r = kappa/sigma, Taylor's formula gives
   |E Phi(-r(c + b xi)) - Phi(-r c)| <= (r b)^2/(2 (d - 1)) sup|Phi''|.
5. sup|Phi''| is |x| pdf(x) at x = 1, 0.242.  With (r b)^2 <= (d - 1)/25 the remainder is at most
   0.0049, below the tolerance of the statement, 0.01.
6. The typical error rises with theta if phi < pi/2 (and falls if phi > pi/2).

Numerical check
---------------
``Statement.check`` compares E of the flow's w_hat, less the smallest error of its cone, with both
bounds; for the typical error it integrates over the law of the azimuth.

References
----------
Theory.md 4.2.
"""

from __future__ import annotations

import sympy as sp

from overalign.derivation import Derivation, report
from overalign.special import Phi, density
from overalign.statements.quantities import QUANTITIES

kappa, sigma, phi, theta_c, theta = (
    QUANTITIES[name].symbol for name in ("kappa", "sigma", "phi", "theta_c", "theta")
)
x = sp.Symbol("x", real=True)


def derive() -> Derivation:
    """The farthest direction, a linear bound, and the mean over the azimuth."""
    proof = Derivation("What a cone can add to its best error")
    cosine = _cosine(proof)

    def error(angle: sp.Expr) -> sp.Expr:
        return Phi(-kappa / sigma * sp.cos(angle))

    farthest, closest = sp.Min(sp.pi, phi + theta_c), sp.Max(0, phi - theta_c)
    proof.ends_with("over_fitting_at_most", error(farthest) - error(closest))
    _largest_density(proof)
    apart = sp.cos(phi - theta_c) - sp.cos(phi + theta_c)
    proof.equal("cosines apart", apart, 2 * sp.sin(phi) * sp.sin(theta_c))
    proof.ends_with("over_fitting_lipschitz", density(0) * kappa / sigma * sp.expand_trig(apart))
    rises = sp.diff(error(phi + theta_c), theta_c).subs(sp.sin(phi + theta_c), sp.Symbol("s"))
    sine = sp.Symbol("sine", nonnegative=True)
    proof.at_least_zero("B1 plus OA rises with theta_c", rises.subs(sp.Symbol("s"), sine))
    _mean_over_azimuth(proof, cosine)
    typical = Phi(-kappa / sigma * cosine.subs(sp.Symbol("xi", real=True), 0))
    proof.ends_with("typical_error", typical)
    return proof


def _cosine(proof: Derivation) -> sp.Expr:
    """Step 1: the cosine to s of a direction at theta to xbar, xi = cos a."""
    xi = sp.Symbol("xi", real=True)
    s = sp.Matrix([sp.cos(phi), sp.sin(phi), 0])
    v = sp.Matrix([sp.cos(theta), sp.sin(theta) * xi, sp.sin(theta) * sp.sqrt(1 - xi**2)])
    cosine = v.dot(s)
    more = sp.sin(phi) * sp.sin(theta) * (1 + xi)
    proof.equal(
        "cos angle(v, s) = cos(phi + theta) + sin(phi) sin(theta) (1 + xi)",
        cosine,
        sp.expand_trig(sp.cos(phi + theta)) + more,
    )
    proof.equal("it is a unit vector", v.dot(v), 1)
    sines, above = (
        sp.symbols("sin_phi sin_theta", nonnegative=True),
        sp.Symbol("above", nonnegative=True),
    )
    proof.at_least_zero("so the angle is at most phi + theta", sines[0] * sines[1] * above)
    return cosine


def _largest_density(proof: Derivation) -> None:
    """Step 2: 1/sqrt(2 pi) - pdf is zero at 0 and rises with x >= 0; pdf is even."""
    size = sp.Symbol("size", nonnegative=True)
    proof.equal("Phi' is the density", sp.diff(Phi(x), x), density(x))
    proof.equal("the density is even", density(-x), density(x))
    proof.equal("and 1/sqrt(2 pi) at zero", density(sp.Integer(0)), 1 / sp.sqrt(2 * sp.pi))
    proof.at_least_zero("and falls from there", -sp.diff(density(size), size))


def _mean_over_azimuth(proof: Derivation, cosine: sp.Expr) -> None:
    """Steps 4 and 5."""
    xi, d = sp.Symbol("xi", real=True), sp.Symbol("d", integer=True, positive=True)
    proof.equal("the cosine is c + b xi", sp.diff(cosine, xi, 2), 0)
    for dimension in (4, 6, 8):  # (1 - xi^2)^((d - 4)/2) on the sphere of d - 1 dimensions
        weight = (1 - xi**2) ** sp.Rational(dimension - 4, 2)
        moments = [sp.integrate(xi**k * weight, (xi, -1, 1)) for k in (0, 1, 2)]
        proof.equal(f"xi has the mean zero, d = {dimension}", moments[1], 0)
        ratio = moments[2] / moments[0]
        proof.equal(
            f"and the variance 1/(d - 1), d = {dimension}", ratio, sp.Rational(1, dimension - 1)
        )
    bend = sp.diff(Phi(x), x, 2)
    proof.equal("Phi'' = -x pdf(x)", bend, -x * density(x))
    turn = sp.diff(bend, x) / density(x)
    proof.equal("Phi'' turns where x^2 = 1", turn, x**2 - 1)
    largest = sp.Abs(bend.subs(x, 1))
    remainder = sp.Rational(1, 25) * (d - 1) / (2 * (d - 1)) * largest
    limit = sp.Rational(49, 10_000)
    proof.at_least_zero("the remainder is at most 0.0049", limit - sp.simplify(remainder))


if __name__ == "__main__":
    print(report(derive()))
