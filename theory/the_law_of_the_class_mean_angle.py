r"""The angle of the class mean to the signal follows a noncentral t law.

Setting
-------
u_i = kappa s + sigma z_i, i <= n_+, z_i ~ N(0, I_d) independent, d >= 2, not conditioned on
separability; phi is the angle of their sum x_+ to s, tau = kappa sqrt(n_+)/sigma, nu = d - 1.

Statement
---------
An equality (``class_mean_angle``; theory.md 6.1, ours), for 0 < a < pi:

.. math:: P(\varphi \le a) = P\big( t'_{d-1}(\tau) \ge \sqrt{d-1}\, \cot a \big) .

Its centre (``class_mean_angle_centre``; to leading order in 1/d, kappa > 0):

.. math:: \varphi \approx \arctan \frac{\sigma \sqrt{d-1}}{\kappa \sqrt{n_+}}, \qquad
   \text{s.d.} \approx \cos\varphi \sin\varphi \sqrt{\frac{1 + 2 \tan^2\varphi}{2 (d-1)}} .

Derivation
----------
1. The sum has the component kappa n_+ + sigma sqrt(n_+) N along s, and sigma sqrt(n_+) times a
   standard normal vector in the nu dimensions across, of length chi; N and chi are independent.
   So cot phi = (tau + N)/chi.
2. sqrt(nu) cot phi = (N + tau)/(chi/sqrt(nu)), which is the definition of the noncentral t.
3. cot falls on (0, pi), so phi <= a where cot phi >= cot a; the law has no atoms.
4. Given chi, P = Phi(tau - chi cot a); its mean over chi is compared with the function that gives
   the formula's numbers: numerical only.
5. N has the median zero and chi^2 the mean nu and the variance 2 nu: with N = 0, chi = sqrt(nu),
   the centre is cot phi = tau/sqrt(nu).  chi has the variance 1/2 at leading order (delta method),
   and small changes of N and chi give the standard deviation.

Numerical check
---------------
``Statement.check`` draws classes: the fraction of angles below three values, and the median.

References
----------
Johnson, Kotz, Balakrishnan, Continuous univariate distributions 2 (1995), chapter 31.
"""

from __future__ import annotations

import math

import numpy as np
import sympy as sp

from overalign.derivation import Derivation, report
from overalign.special import NoncentralTSurvival, compiled
from overalign.statements.quantities import QUANTITIES

kappa, sigma, d, n_plus, phi = (
    QUANTITIES[name].symbol for name in ("kappa", "sigma", "dimension", "class_size", "phi")
)
N, chi = sp.Symbol("N", real=True), sp.Symbol("chi", positive=True)
CASES = ((0.5, 2, 1.2), (2.0, 5, 0.8), (6.0, 20, 0.6), (0.0, 10, 1.7))  # tau, d, angle


def derive() -> Derivation:
    """The cotangent of the angle, its law, and small changes about its centre."""
    proof = Derivation("The class mean's angle follows a noncentral t law")
    along = n_plus * kappa + sp.sqrt(n_plus) * sigma * N
    across = sp.sqrt(n_plus) * sigma * chi
    cot = along / across
    _sums(proof)
    shift = kappa * sp.sqrt(n_plus) / sigma  # tau
    proof.equal("cot phi = (tau + N)/chi", cot, (shift + N) / chi)
    degrees = d - 1
    _is_noncentral_t(proof)
    threshold = sp.sqrt(degrees) * sp.cot(phi)
    proof.ends_with("class_mean_angle", NoncentralTSurvival(threshold, degrees, shift))
    _spread(proof)
    centre = (across / along).subs({N: 0, chi: sp.sqrt(degrees)})
    proof.ends_with("class_mean_angle_centre", sp.atan(centre))
    return proof


def _sums(proof: Derivation) -> None:
    """Step 1, for three samples in three dimensions: mean and covariance of their sum."""
    z = [sp.Matrix(sp.symbols(f"z_{i}_1:4", real=True)) for i in range(3)]
    s = sp.Matrix([1, 0, 0])
    total = sum((kappa * s + sigma * part for part in z), sp.zeros(3, 1))
    noise = [symbol for part in z for symbol in part]
    jacobian = total.jacobian(noise)
    off = total.subs(dict.fromkeys(noise, 0)) - 3 * kappa * s
    proof.equal("the mean of the sum is n_+ kappa s", off.dot(off), 0)
    off = jacobian * jacobian.T - 3 * sigma**2 * sp.eye(3)
    proof.equal("its covariance is n_+ sigma^2 I", sum(entry**2 for entry in off), 0)


def _is_noncentral_t(proof: Derivation) -> None:
    """Steps 3 and 4: the mean of Phi(tau - chi cot a) over the law of chi, by Gauss's rule."""
    angle = sp.Symbol("angle", positive=True)
    sine = sp.Symbol("sine", positive=True)
    slope = sp.diff(sp.cot(angle), angle).subs(sp.cot(angle) ** 2, 1 / sine**2 - 1)
    proof.at_least_zero("the cotangent falls", -sp.expand(slope))
    x, nu, tau = sp.symbols("x nu tau", real=True)
    survival = compiled((x, nu, tau), NoncentralTSurvival(x, nu, tau))
    nodes, weights = np.polynomial.legendre.leggauss(200)
    worst = 0.0
    for shift, dimension, at in CASES:
        size = dimension - 1
        length = 0.5 * (nodes + 1.0) * (math.sqrt(size) + 9.0)  # chi, up to nine deviations
        law = np.exp((size - 1) * np.log(length) - 0.5 * length**2) * weights
        given = [0.5 * math.erfc((c / math.tan(at) - shift) / math.sqrt(2.0)) for c in length]
        exact = float(np.dot(law, given) / law.sum())
        formula = float(survival(math.sqrt(size) / math.tan(at), size, shift))
        worst = max(worst, abs(exact - formula))
    proof.numerical("P(phi <= a) as a mean over chi", worst, 1e-10)


def _spread(proof: Derivation) -> None:
    """Step 5: the standard deviation, by the delta method at N = 0 and chi = sqrt(nu)."""
    nu, tangent = sp.symbols("nu tangent", positive=True)
    v = sp.Symbol("v", positive=True)
    law = v ** (nu / 2 - 1) * sp.exp(-v / 2) / (2 ** (nu / 2) * sp.gamma(nu / 2))  # of chi^2
    first, second = (sp.gammasimp(sp.integrate(v**k * law, (v, 0, sp.oo))) for k in (1, 2))
    proof.equal("chi^2 has the mean nu", first, nu)
    proof.equal("and the variance 2 nu", sp.expand(second - first**2), 2 * nu)
    of_chi = 2 * nu * sp.diff(sp.sqrt(v), v).subs(v, nu) ** 2
    proof.equal("so chi has the variance 1/2, at leading order", of_chi, sp.Rational(1, 2))
    shift = sp.sqrt(nu) / tangent  # tan phi = sqrt(nu)/tau
    angle = sp.atan(chi / (shift + N))
    at = {N: 0, chi: sp.sqrt(nu)}
    variance = sp.diff(angle, N).subs(at) ** 2 + of_chi * sp.diff(angle, chi).subs(at) ** 2
    cosine = 1 / sp.sqrt(1 + tangent**2)
    stated = (cosine * (tangent * cosine)) ** 2 * (1 + 2 * tangent**2) / (2 * nu)
    proof.equal("the variance of phi", sp.simplify(variance), stated)


if __name__ == "__main__":
    print(report(derive()))
