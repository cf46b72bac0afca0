r"""Over-fitting on a cone is bounded by its Rademacher complexity, which grows with its angle.

Setting
-------
Inputs u_i = kappa s + sigma z_i, i <= n_+, independent, z_i ~ N(0, I_d), not conditioned on
separability.  H is the cone of unit vectors at angles of at most theta_c <= pi/2 to an axis c that
does not depend on the sample, phi the angle of c to s.  l is a loss that is L-Lipschitz in the
margin, R(v) = E l(<v, u>), Rhat its mean over the sample, v* the best in H by R, vhat any direction
of H that may depend on the sample.  With fair signs e_i and q = (1/n_+) sum e_i u_i,
Rad(H) = E sup_H <v, q>, over signs and samples.

Statement
---------
Upper bounds, none attained (theory.md 4.2, B2 and B3).

.. math:: \mathrm{Rad}(H) \le
   \sin\theta_c \sqrt{\frac{\sigma^2 (d-1) + \kappa^2 \sin^2\varphi}{n_+}}
   + \sin^2\tfrac{\theta_c}2 \sqrt{\frac{\kappa^2 \cos^2\varphi + \sigma^2}{n_+}} =: B

(``rademacher_complexity``, ours).  With probability at least 1 - delta

.. math:: \mathrm{OF}_\ell - [\hat R(\hat v) - \hat R(v^\ast)] \le
   2 \Big\{ 2 L B + L \sigma \sqrt{\frac{2 \log(2/\delta)}{n_+}} \Big\}

(``over_fitting_concentration``: the place of the paper's Theorem 5.6, whose wording is not known,
reconstructed), OF_l = R(vhat) - R(v*).  And if all margins of a direction w_hat of H are at least
gamma, fixed before the data, with probability at least 1 - delta (``margin_bound``, ours)

.. math:: E(\hat w) \le \frac2\gamma B
   + \frac\sigma\gamma \sqrt{\frac{2 \log(1/\delta)}{n_+}} .

Derivation
----------
1. For v at the angle tau to c, <v, q> - <c, q> <= sin(tau) p - 2 sin^2(tau/2) q_c, q_c = <c, q> and
   p the length of the rest of q.  As tau <= theta_c <= pi/2, this is at most
   sin(theta_c) p + 2 sin^2(theta_c/2) max(0, -q_c).
2. q and -q have the same law: E q_c = 0, E max(0, -q_c) = E|q_c|/2.  E p <= sqrt(E p^2) and
   E|q_c| <= sqrt(E q_c^2), because variances are not negative.
3. Signs of different samples are independent: n_+^2 E q_c^2 = n_+ E<c, u>^2, and so for p.
   E<c, u>^2 = kappa^2 cos^2 phi + sigma^2 and E||rest||^2 = kappa^2 sin^2 phi + sigma^2 (d - 1).
   Together: B, a bound for every d (the theory's approximate sign is an inequality).
4. Symmetrisation: E sup(R - Rhat) <= 2 E sup (1/n_+) sum e_i l(<v, u_i>), and contraction, in the
   form without absolute values, takes a factor L out: E sup(R - Rhat) <= 2 L Rad(H), the same for
   Rhat - R (both theorems are cited, not checked by machine).  The factor is 2, not 4: four belongs
   to the form with absolute values inside the supremum.
5. sup(R - Rhat) is (L sigma/sqrt(n_+))-Lipschitz in the stacked noise, because each <v, u_i> moves
   by at most sigma ||dz_i|| and (sum b_i)^2 <= n sum b_i^2.  So it exceeds its mean by t with
   probability at most exp(-t^2/(2 L^2 sigma^2/n_+)) (Gaussian concentration, cited), which is
   delta/2 at t = L sigma sqrt(2 log(2/delta)/n_+).  Both sides, delta/2 each: with probability
   1 - delta, |R - Rhat| <= D = 2 L B + t on all of H.
6. OF_l - [Rhat(vhat) - Rhat(v*)] = (R - Rhat)(vhat) - (R - Rhat)(v*) <= 2 D.
7. One would do with less: v* does not depend on the sample, so sup (R - Rhat)(v) - (R - Rhat)(v*)
   has a mean of at most 2 L B and is (2 L sigma/sqrt(n_+))-Lipschitz, and with probability
   1 - delta the left side of 6 is at most 2 L B + 2 L sigma sqrt(2 log(1/delta)/n_+).  The
   statement keeps the two-sided form.
8. Margins: the ramp, 1 below zero, 1 - m/gamma up to gamma, 0 beyond, lies above the 0-1 loss and
   is (1/gamma)-Lipschitz, and its mean over the sample is zero.  E(w_hat) <= sup(R - Rhat), one
   side alone: delta for delta/2, and 1/gamma for L.

Numerical check
---------------
``Statement.check`` draws samples and signs with the cone of the flow's w_hat: the mean of the
supremum, exact for each draw; and, over directions of the cone, quantiles of the deviation of the
logistic risk and of the error of directions that reach the margin.

References
----------
Bartlett, Mendelson, JMLR 3 (2002), for symmetrisation.  Ledoux, Talagrand, Probability in Banach
spaces (1991), Theorem 4.12, and Meir, Zhang, JMLR 4 (2003), Theorem 7, for contraction.
Boucheron, Lugosi, Massart, Concentration inequalities (2013), Theorem 5.6, for Gaussian
concentration.
"""

from __future__ import annotations

import itertools

import sympy as sp

from overalign.derivation import Derivation, report
from overalign.special import density
from overalign.statements.quantities import QUANTITIES

kappa, sigma, phi, theta_c, d, n_plus, L, delta, gamma = (
    QUANTITIES[name].symbol
    for name in (
        *("kappa", "sigma", "phi", "theta_c", "dimension", "class_size"),
        *("lipschitz", "delta", "margin"),
    )
)


def derive() -> Derivation:
    """The complexity of the cone, then deviations on it, for any loss and for the ramp."""
    proof = Derivation("Uniform deviation on a cone")
    complexity = _complexity(proof)
    proof.ends_with("rademacher_complexity", complexity)
    _lipschitz(proof)
    deviation = 2 * L * complexity + _excess(proof, L, delta / 2, "either side: delta/2")
    _two_deviations(proof)
    proof.ends_with("over_fitting_concentration", 2 * deviation)
    steepness = _ramp(proof)
    excess = _excess(proof, steepness, delta, "one side of the ramp: delta")
    proof.ends_with("margin_bound", 2 * steepness * complexity + excess)
    return proof


def _complexity(proof: Derivation) -> sp.Expr:
    """Steps 1 to 3."""
    tau, along = sp.symbols("tau along", real=True)
    p, less = sp.symbols("p less", nonnegative=True)  # <e, q> = p - less for a unit vector e
    gain = sp.cos(tau) * along + sp.sin(tau) * (p - less) - along
    bound = sp.sin(tau) * p - 2 * sp.sin(tau / 2) ** 2 * along
    proof.equal("<v, q> - <c, q>", gain, bound - sp.sin(tau) * less)
    sine, half = sp.symbols("sine half", nonnegative=True)
    for sign in (1, -1):
        size = sp.Symbol("size", nonnegative=True)
        q_c = sign * size
        most = sine * p + 2 * half**2 * sp.Max(0, -q_c)
        proof.at_least_zero(
            f"at most its value with max(0, -q_c), q_c of sign {sign}",
            most - (sine * p - 2 * half**2 * q_c),
        )
        proof.equal(
            f"max(0, -q_c) averages to |q_c|/2, start {sign}",
            (sp.Max(0, -q_c) + sp.Max(0, q_c)) / 2,
            size / 2,
        )
    _signs_average(proof)
    z = sp.Symbol("z", real=True)

    def square(centre: sp.Expr) -> sp.Expr:
        return sp.integrate(sp.expand((centre + sigma * z) ** 2) * density(z), (z, -sp.oo, sp.oo))

    of_axis = square(kappa * sp.cos(phi))
    rest = square(kappa * sp.sin(phi)) + (d - 2) * square(sp.Integer(0))
    proof.equal("E<c, u>^2", of_axis, kappa**2 * sp.cos(phi) ** 2 + sigma**2)
    proof.equal("E||rest||^2", rest, kappa**2 * sp.sin(phi) ** 2 + sigma**2 * (d - 1))
    axis, across = (sp.sqrt(n_plus * part) / n_plus for part in (of_axis, rest))
    halved = 2 * sp.sin(theta_c / 2) ** 2 * axis / 2
    return sp.sin(theta_c) * across + halved


def _signs_average(proof: Derivation) -> None:
    """Over all signs of three vectors, the mean square of the sum is the sum of squares."""
    u = [sp.Matrix(sp.symbols(f"u_{i}1 u_{i}2", real=True)) for i in (1, 2, 3)]
    total = sp.Integer(0)
    for signs in itertools.product((1, -1), repeat=3):
        q = sum((e * part for e, part in zip(signs, u, strict=True)), sp.zeros(2, 1))
        total += q.dot(q)
    proof.equal("signs average", total / 8, sum(part.dot(part) for part in u))
    first, second = sp.symbols("first second", nonnegative=True)
    variance = (first**2 + second**2) / 2 - ((first + second) / 2) ** 2
    proof.at_least_zero("(E p)^2 <= E p^2, of two values", variance)


def _lipschitz(proof: Derivation) -> None:
    """Step 5, and the logistic loss as an example of L = 1."""
    b = sp.symbols("b_1:4", nonnegative=True)
    pairs = sum((x - y) ** 2 for x, y in itertools.combinations(b, 2))
    proof.equal("n sum b^2 - (sum b)^2", 3 * sum(x**2 for x in b) - sum(b) ** 2, pairs)
    proof.at_least_zero("is not negative", pairs)
    m = sp.Symbol("m", real=True)
    steepness = sp.Abs(sp.diff(sp.log(1 + sp.exp(-m)), m))
    proof.equal("1 - |l'| of the logistic loss", 1 - steepness, 1 / (1 + sp.exp(-m)))
    proof.at_least_zero("is not negative: L = 1", 1 / (1 + sp.exp(-m)))


def _excess(proof: Derivation, lipschitz: sp.Expr, failure: sp.Expr, text: str) -> sp.Expr:
    """The deviation from the mean that fails with a probability."""
    t, level = sp.Symbol("t", positive=True), sp.Symbol("level", positive=True)
    tail = t**2 / (2 * (lipschitz * sigma / sp.sqrt(n_plus)) ** 2)  # minus the log of its bound
    roots = sp.solve(tail - level, t)
    excess = roots[0].subs(level, sp.log(1 / failure))
    proof.equal(f"the tail, {text}", sp.exp(-tail.subs(t, excess)), failure)
    return excess


def _two_deviations(proof: Derivation) -> None:
    """Step 6."""
    R, Rhat, R_best, Rhat_best = sp.symbols("R Rhat R_best Rhat_best", real=True)
    most, first, second = sp.symbols("D first second", nonnegative=True)
    left = (R - R_best) - (Rhat - Rhat_best)
    proof.equal("two deviations", left, (R - Rhat) - (R_best - Rhat_best))
    within = left.subs({R: Rhat + most - first, R_best: Rhat_best - most + second})
    proof.at_least_zero("so at most 2 D", sp.expand(2 * most - within))


def _ramp(proof: Derivation) -> sp.Expr:
    """Step 8, for margins below zero, up to gamma and beyond; the ramp's steepness."""
    share, more = sp.Symbol("share", positive=True), sp.Symbol("more", nonnegative=True)
    slope = 1 / gamma

    def ramp(m: sp.Expr) -> sp.Expr:
        return sp.Min(1, sp.Max(0, 1 - m * slope))

    proof.equal("the ramp is one where the 0-1 loss is", ramp(-share * gamma), 1)
    proof.at_least_zero("it is not below zero elsewhere", ramp(share * gamma))
    proof.equal("and zero where the margin is reached", ramp(gamma * (1 + more)), 0)
    return slope


if __name__ == "__main__":
    print(report(derive()))
