r"""How likely a pair, and a whole sample, violates orthogonal separability.

Setting
-------
u_i = y_i x_i = kappa s + sigma z_i, i <= n, independent, z_i ~ N(0, I_d), of both classes alike;
not conditioned.  A pair violates separability at 0 <= lambda < 1 if its cosine is at most lambda.
F(x; d, d, c) is the distribution function of the noncentral F law.

Statement
---------
An upper bound (``pair_violates``; theory.md 6.2, ours), an equality at lambda = 0
(``pair_violates_at_zero``):

.. math:: p_\lambda = P\big( \langle u, u' \rangle \le \lambda \lVert u \rVert \lVert u' \rVert
   \big) \le F\Big( \frac{1 + \lambda}{1 - \lambda};\, d, d, \frac{2 \kappa^2}{\sigma^2} \Big)
   =: p .

A lower bound (``sample_is_separable``; theory.md 6.3, ours), tight where violations are rare:

.. math:: P(\text{all cosines} \ge \lambda) \ge 1 - \frac{n (n - 1)}2\, p .

Derivation
----------
1. a = (u + u')/sqrt(2) and b = (u - u')/sqrt(2) are a rotation of (u, u'): independent, with the
   covariance sigma^2 I and the means sqrt(2) kappa s and 0.  <u, u'> = (||a||^2 - ||b||^2)/2, and
   ||u||^2 + ||u'||^2 = ||a||^2 + ||b||^2.
2. ||u|| ||u'|| <= (||u||^2 + ||u'||^2)/2, so a pair that violates has
   ||a||^2 - ||b||^2 <= lambda (||a||^2 + ||b||^2), that is
   ||a||^2/||b||^2 <= (1 + lambda)/(1 - lambda).  At lambda = 0 nothing was lost.
3. ||a||^2/sigma^2 is noncentral chi^2 of d degrees with the noncentrality
   ||sqrt(2) kappa s||^2/sigma^2 = 2 kappa^2/sigma^2, ||b||^2/sigma^2 is chi^2 of d degrees: their
   quotient follows the noncentral F law, by definition.  For d = 2 and lambda = 0, with the
   deviations in units of sigma, P(||b|| >= ||a||) is the mean of exp(-||a||^2/2), which is
   exp(-kappa^2/(2 sigma^2))/2.  That this is the function that gives the formula's numbers:
   numerical only.
4. A sample that is not separable has one of n (n - 1)/2 pairs that violates (union bound).

Numerical check
---------------
``Statement.check`` draws pairs and whole samples, and counts.

References
----------
Johnson, Kotz, Balakrishnan, Continuous univariate distributions 2 (1995), chapter 30.
"""

from __future__ import annotations

import itertools
import math

import sympy as sp

from overalign.derivation import Derivation, report
from overalign.special import NoncentralFCdf, compiled
from overalign.statements.quantities import QUANTITIES

kappa, sigma, d, lam, n = (
    QUANTITIES[name].symbol for name in ("kappa", "sigma", "dimension", "separability", "n")
)


def derive() -> Derivation:
    """The rotation, the quotient that a violation bounds, and the count of pairs."""
    proof = Derivation("A pair violates separability with a noncentral F law's probability")
    noncentrality = _rotation(proof)
    threshold = _quotient(proof)
    _of_two_dimensions(proof)
    pair = NoncentralFCdf(threshold, d, d, noncentrality)
    proof.ends_with("pair_violates_at_zero", pair.subs(lam, 0))
    proof.ends_with("pair_violates", pair)
    for size in (2, 3, 5):
        pairs = len(list(itertools.combinations(range(size), 2)))
        proof.equal(f"pairs of {size}", pairs, (n * (n - 1) / 2).subs(n, size))
    proof.ends_with("sample_is_separable", 1 - sp.ff(n, 2) / 2 * pair)
    return proof


def _rotation(proof: Derivation) -> sp.Expr:
    """Step 1, in two dimensions; the noncentrality of ||a||^2/sigma^2."""
    z = [sp.Matrix(sp.symbols(f"z_{i}_1:3", real=True)) for i in (1, 2)]
    s = sp.Matrix([1, 0])
    first, second = (kappa * s + sigma * part for part in z)
    a, b = (first + second) / sp.sqrt(2), (first - second) / sp.sqrt(2)
    difference = (a.dot(a) - b.dot(b)) / 2
    proof.equal("<u, u'> = (||a||^2 - ||b||^2)/2", first.dot(second), difference)
    squares = first.dot(first) + second.dot(second)
    proof.equal("||u||^2 + ||u'||^2 = ||a||^2 + ||b||^2", squares, a.dot(a) + b.dot(b))
    noise = [*z[0], *z[1]]
    jacobian = sp.Matrix([*a, *b]).jacobian(noise)
    off = jacobian * jacobian.T - sigma**2 * sp.eye(4)
    proof.equal("(a, b) has the covariance sigma^2 I", sum(entry**2 for entry in off), 0)
    at_zero = dict.fromkeys(noise, 0)
    centre = b.subs(at_zero)
    proof.equal("b has the mean zero", centre.dot(centre), 0)
    centre = a.subs(at_zero)
    return centre.dot(centre) / sigma**2


def _quotient(proof: Derivation) -> sp.Expr:
    """Step 2: what ||a||^2/||b||^2 is at most, if a pair violates."""
    norms = sp.symbols("norm_1:3", nonnegative=True)
    lost = (norms[0] ** 2 + norms[1] ** 2) / 2 - norms[0] * norms[1]
    proof.at_least_zero("||u|| ||u'|| <= (||u||^2 + ||u'||^2)/2", lost)
    of_a, of_b = sp.symbols("aa bb", positive=True)
    ratio = sp.Symbol("ratio", positive=True)
    (largest,) = sp.solve(of_a - of_b - lam * (of_a + of_b), of_a)
    share, rest = sp.symbols("share rest", positive=True)  # lambda = share/(share + rest) < 1
    within = (of_b + lam * of_b - (1 - lam) * of_a).subs(of_a, largest - ratio)
    proof.at_least_zero(
        "a smaller quotient violates the more",
        sp.simplify(within.subs(lam, share / (share + rest))),
    )
    return sp.factor(largest / of_b)


def _of_two_dimensions(proof: Derivation) -> None:
    """Step 3: ||b||^2/(2 sigma^2) is exponential for d = 2, and so P(||a|| <= ||b||) a mean."""
    size = sp.Symbol("size", positive=True)  # kappa/sigma
    radius, r = sp.symbols("radius r", positive=True)
    beyond = sp.integrate(radius * sp.exp(-(radius**2) / 2), (radius, r, sp.oo))
    proof.equal("P(||b|| >= r) = exp(-r^2/2)", beyond, sp.exp(-(r**2) / 2))
    z = sp.Symbol("z", real=True)
    weight = sp.exp(-(z**2) / 2) / sp.sqrt(2 * sp.pi)
    along, across = (
        sp.integrate(weight * sp.exp(-((z + shift) ** 2) / 2), (z, -sp.oo, sp.oo))
        for shift in (sp.sqrt(2) * size, 0)
    )
    closed = sp.exp(-(size**2) / 2) / 2
    proof.equal("the mean of exp(-||a||^2/2)", along * across, closed)
    x = sp.Symbol("x", real=True)
    cdf = compiled((x,), NoncentralFCdf(1, 2, 2, 2 * x**2))
    worst = max(abs(float(cdf(r)) - 0.5 * math.exp(-(r**2) / 2.0)) for r in (0.0, 0.5, 2.0, 4.0))
    proof.numerical("F(1; 2, 2, 2 kappa^2/sigma^2) is that mean", worst, 1e-10)


if __name__ == "__main__":
    print(report(derive()))
