r"""No rule that sees one class has a smaller error than its mean, on average over signals.

Setting
-------
u_i = kappa s + sigma z_i, i <= n_+, one class of the symmetric Gaussian mixture, not conditioned on
separability; s is uniform on the sphere.  A rule v is any unit vector made of these u_i and
independent randomness.  For rules that commute with rotations (class mean, reweighted mean,
largest margin) the mean error is the same for every s, so that s may be fixed for them; a rule that
does not (a median of coordinates) may win at one s and lose at others.
E(v) = Phi(-(kappa/sigma) <v, s>).

Statement
---------
A lower bound, attained by v = xbar (``class_mean_is_optimal``; theory.md 4.3, ours):

.. math:: \frac{\mathbb E[E(v) - E(\bar x_+)]}{\mathbb E[E(\bar x_+)]} \ge 0 .

Derivation
----------
1. Given the u_i, s has the density proportional to exp(k <s, xbar>), k = kappa ||x_+||/sigma^2:
   the logarithm of the likelihood is kappa <s, x_+>/sigma^2 and what does not depend on s, as
   ||s|| = 1.
2. Independent randomness does not change that law, so it is enough to compare one fixed v with xbar
   under it (Fubini, in words).
3. The reflection that swaps v and xbar, M = I - 2 nn^T/<n, n> with n = xbar - v, is an isometry of
   the sphere: <v, M s> = <xbar, s> and <xbar, M s> = <v, s>.
4. Integrate over the half of the sphere where a = <xbar, s> >= b = <v, s>, and add to each s its
   image.  With x = kappa/sigma the two together contribute
   [Phi(-x b) - Phi(-x a)] [exp(k a) - exp(k b)] to E(v) - E(xbar) (up to the norm of the density).
5. Both brackets are not negative, since Phi and exp rise.  So the mean of E(v) - E(xbar) over s is
   not negative given the data, and so is its mean over data; the mean of E(xbar) is positive.
6. At v = xbar all is zero: the bound is attained.

Numerical check
---------------
``Statement.check`` draws classes and compares the mean error of a reweighted mean, a median, a
tilted mean and the largest margin with that of the mean, less six standard errors.

References
----------
Theory.md 4.3.
"""

from __future__ import annotations

import sympy as sp

from overalign.derivation import Derivation, report
from overalign.special import Phi
from overalign.statements.quantities import QUANTITIES

kappa, sigma = (QUANTITIES[name].symbol for name in ("kappa", "sigma"))


def derive() -> Derivation:
    """The posterior, a reflection, and the signs of what it pairs."""
    proof = Derivation("The class mean is optimal among rules of one class")
    _posterior(proof)
    _reflection(proof)
    gain = _paired(proof)
    a, b = sp.symbols("a b", real=True)
    proof.ends_with("class_mean_is_optimal", gain.subs(b, a))
    return proof


def _posterior(proof: Derivation) -> None:
    """Step 1, for two samples in three dimensions: the derivative in s along the sphere."""
    angles = sp.symbols("longitude latitude", real=True)
    s = sp.Matrix(
        [
            sp.cos(angles[0]) * sp.cos(angles[1]),
            sp.sin(angles[0]) * sp.cos(angles[1]),
            sp.sin(angles[1]),
        ]
    )
    u = [sp.Matrix(sp.symbols(f"u_{i}_1:4", real=True)) for i in (1, 2)]
    squares = sum((part - kappa * s).dot(part - kappa * s) for part in u)
    log_likelihood, pull = -squares / (2 * sigma**2), kappa * s.dot(u[0] + u[1]) / sigma**2
    for angle in angles:
        proof.equal(
            f"the likelihood depends on s by kappa <s, x_+>/sigma^2, {angle}",
            sp.diff(log_likelihood, angle),
            sp.diff(pull, angle),
        )


def _reflection(proof: Derivation) -> None:
    """Step 3, with xbar the first axis and v in the plane of the first two."""
    turn = sp.Symbol("turn", real=True)
    xbar, v = sp.Matrix([1, 0, 0]), sp.Matrix([sp.cos(turn), sp.sin(turn), 0])
    s = sp.Matrix(sp.symbols("s_1:4", real=True))
    n = xbar - v
    image = s - 2 * n * n.dot(s) / n.dot(n)
    proof.equal("<v, M s> = <xbar, s>", v.dot(image), xbar.dot(s))
    proof.equal("<xbar, M s> = <v, s>", xbar.dot(image), v.dot(s))
    proof.equal("M keeps lengths", image.dot(image), s.dot(s))


def _paired(proof: Derivation) -> sp.Expr:
    """Steps 4 and 5: what a signal and its image add to E(v) - E(xbar)."""
    x, k = sp.symbols("x k", nonnegative=True)
    a, b = sp.symbols("a b", real=True)

    def share(of_mean: sp.Expr, of_rule: sp.Expr) -> sp.Expr:
        """Density times E(v) - E(xbar) at a signal with these cosines to xbar and v."""
        return sp.exp(k * of_mean) * (Phi(-x * of_rule) - Phi(-x * of_mean))

    both = share(a, b) + share(b, a)
    brackets = Phi(-x * b) - Phi(-x * a), sp.exp(k * a) - sp.exp(k * b)
    proof.equal("a signal and its image", both, brackets[0] * brackets[1])
    for name, bracket in zip(("errors", "densities"), brackets, strict=True):
        proof.at_least_zero(f"the difference of {name} rises with a", sp.diff(bracket, a))
        proof.equal(f"the difference of {name} is zero at a = b", bracket.subs(a, b), 0)
    return both


if __name__ == "__main__":
    print(report(derive()))
