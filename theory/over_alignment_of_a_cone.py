r"""The best rule of a cone errs by its distance to the signal: over-alignment in closed form.

Setting
-------
The symmetric Gaussian mixture, d >= 2: u = y x = kappa s + sigma z with z ~ N(0, I).  E(v) is the
error of sign <v, x>, E* that of s.  xbar is a unit vector at the angle phi to s, and H the cone of
directions at angles of at most theta_c to it.

Statement
---------
Equalities (theory.md 4.1, ours; over-alignment itself is the paper's Theorem 5.5), theta the angle
of v to s and pdf the standard normal density:

.. math:: E(v) = \Phi\big(-\tfrac\kappa\sigma \cos\theta\big), \qquad
          \angle(s, H) = \max(0, \varphi - \theta_c),

.. math:: \mathrm{OA} = \inf_H E - E^\ast
          = \Phi\big(-\tfrac\kappa\sigma \cos\max(0, \varphi - \theta_c)\big)
          - \Phi\big(-\tfrac\kappa\sigma\big),

.. math:: \frac{\mathrm d\,\mathrm{OA}}{\mathrm d\theta_c} = -\tfrac\kappa\sigma
          \sin(\varphi - \theta_c)\, \mathrm{pdf}\big(\tfrac\kappa\sigma
          \cos(\varphi - \theta_c)\big) \quad (\theta_c < \varphi)

(``direction_error``, ``distance_to_the_cone``, ``over_alignment``, ``over_alignment_slope``).  For
kappa > 0, OA = 0 if and only if theta_c >= phi, and OA falls strictly in theta_c below phi.

Derivation
----------
1. For a unit vector v at the angle theta to s, <v, u> = kappa cos theta + sigma <v, z>, and <v, z>
   is standard normal.  Its law is integrated over the half line below zero.
2. At the angle tau <= theta_c to xbar and an azimuth a: cos angle(v, s) = cos phi cos tau
   + sin phi sin tau cos a <= cos(phi - tau), with equality at a = 0.  So the angle to s is at least
   |phi - tau|, whose minimum over 0 <= tau <= theta_c is max(0, phi - theta_c) (in words).  In one
   dimension there is no azimuth, and the distance is phi itself.
3. E falls in cos theta, as kappa >= 0, so its infimum is at the closest direction; E* is at
   theta = 0.
4. The slope by differentiation.  It is minus a product of non-negative factors on
   0 <= phi - theta_c <= pi, and zero only at the two ends.
5. With x = kappa/sigma > 0: OA is zero where phi - theta_c <= 0, and at phi - theta_c = delta > 0
   it is the integral of the density over [x cos delta, x], of positive length x (1 - cos delta).
   Hence the equivalence.  (For kappa = 0 OA is zero everywhere.)

Numerical check
---------------
``Statement.check`` draws test points for E(v), searches the plane of xbar and s for the smallest
error of the cone of the flow's w_hat, projects s onto the cone, and differentiates OA by
differences.

References
----------
Yeom, Ha, Lee, arXiv 2602.00827, Theorem 5.5 (known from summaries).
"""

from __future__ import annotations

import sympy as sp

from overalign.derivation import Derivation, report
from overalign.special import Phi, density
from overalign.statements.quantities import QUANTITIES

kappa, sigma, phi, theta_c, theta = (
    QUANTITIES[name].symbol for name in ("kappa", "sigma", "phi", "theta_c", "theta")
)


def derive() -> Derivation:
    """One direction, the closest of a cone, and how its error depends on the cone."""
    proof = Derivation("The best rule of a cone errs by its distance to the signal")
    mean, deviation = _margin(proof)
    error = Phi(-mean / deviation)
    proof.ends_with("direction_error", error)
    _closest(proof)
    distance = sp.Max(0, phi - theta_c)
    proof.ends_with("distance_to_the_cone", distance)
    over_alignment = error.subs(theta, distance) - error.subs(theta, 0)
    proof.ends_with("over_alignment", over_alignment)
    outside = over_alignment.subs(distance, phi - theta_c)
    proof.ends_with("over_alignment_slope", sp.diff(outside, theta_c))
    _zero_only_inside(proof)
    return proof


def _margin(proof: Derivation) -> tuple[sp.Expr, sp.Expr]:
    """Step 1: mean and standard deviation of <v, u>, and the weight of its law below zero."""
    z = sp.Matrix(sp.symbols("z_1:4", real=True))
    v = sp.Matrix([sp.cos(theta), sp.sin(theta), 0])
    margin = v.dot(kappa * sp.Matrix([1, 0, 0]) + sigma * z)
    mean = margin.subs(dict.fromkeys(z, 0))
    variance = sum(sp.diff(margin, part) ** 2 for part in z)
    proof.equal("the mean of the margin", mean, kappa * sp.cos(theta))
    proof.equal("its variance", variance, sigma**2)
    x, centre = sp.symbols("x centre", real=True)
    below = sp.integrate(density((x - centre) / sigma) / sigma, (x, -sp.oo, 0))
    proof.equal("the law below zero", below, Phi(-centre / sigma).rewrite(sp.erfc))
    return mean, sigma


def _closest(proof: Derivation) -> None:
    """Steps 2 and 3."""
    tau, azimuth = sp.symbols("tau azimuth", real=True)
    s = sp.Matrix([sp.cos(phi), sp.sin(phi), 0])  # xbar is the first axis
    v = sp.Matrix([sp.cos(tau), sp.sin(tau) * sp.cos(azimuth), sp.sin(tau) * sp.sin(azimuth)])
    lost = sp.sin(phi) * sp.sin(tau) * 2 * sp.sin(azimuth / 2) ** 2
    proof.equal(
        "cos angle(v, s) = cos(phi - tau) - sin(phi) sin(tau) (1 - cos a)",
        sp.expand_trig(v.dot(s).subs(sp.cos(azimuth), 1 - 2 * sp.sin(azimuth / 2) ** 2)),
        sp.expand_trig(sp.cos(phi - tau)) - lost,
    )
    sines = sp.symbols("sin_phi sin_tau", nonnegative=True)  # of angles in [0, pi]
    half = sp.Symbol("half_sine", real=True)
    proof.at_least_zero("what is lost is not negative", 2 * sines[0] * sines[1] * half**2)
    cosine = sp.Symbol("cosine", real=True)
    falls = -sp.diff(Phi(-kappa / sigma * cosine), cosine)
    proof.at_least_zero("the error falls with the cosine to s", falls)


def _zero_only_inside(proof: Derivation) -> None:
    """Steps 4 and 5."""
    sine, x = sp.Symbol("sine", nonnegative=True), sp.Symbol("x", positive=True)
    height, delta = density(sp.Symbol("place", real=True)), sp.Symbol("delta", positive=True)
    proof.at_least_zero("OA does not rise with theta_c", x * sine * height)
    length = x - x * sp.cos(delta)
    proof.equal("OA spans the length 2 x sin^2(delta/2)", length, 2 * x * sp.sin(delta / 2) ** 2)
    for kappa_by_sigma in (1, 5):
        at = {kappa: kappa_by_sigma, sigma: 1}
        gap = (Phi(-kappa * sp.cos(delta) / sigma) - Phi(-kappa / sigma)).subs(at)
        proof.at_least_zero_on(
            f"OA is at least 1e-9 for delta in [0.05, 3], kappa/sigma = {kappa_by_sigma}",
            gap - sp.Rational(1, 10**9),
            {delta: (0.05, 3.0)},
        )
    both = (Phi(-x * sp.cos(delta)) - Phi(-x)).subs(delta, 0)
    proof.equal("and zero at delta = 0", both, 0)


if __name__ == "__main__":
    print(report(derive()))
