r"""The sum of the inputs of a class is long, and no longer than its parts.

Setting
-------
x_1, ..., x_{n_+} are the inputs of one class, x_+ is their sum, X = ||x_+||; all norms lie in
[x_min, x_max], and all pairs of the class have cosines at least lambda.

Statement
---------
Theory.md 1.1, not in the paper; provenance: ours. If lambda >= 0,

.. math:: x_{\min} \sqrt{n_+ + \lambda n_+ (n_+ - 1)} \le \lVert x_+ \rVert \le n_+ x_{\max} .

Both are tight bounds: the lower one (``class_norm_at_least``) is attained by inputs of equal norm
whose cosines all equal lambda, the upper one (``class_norm_at_most``) by equal inputs of norm
x_max. The lower one is false for lambda < 0 when norms differ: a product of long inputs may then be
as low as lambda x_max^2. The upper one needs no hypothesis.

Derivation
----------
Induction over the inputs; s_m is the sum of the first m, and s_0 = 0.

1. ||x||^2 >= x_min^2, and <x_i, x_k> >= lambda ||x_i|| ||x_k|| >= lambda x_min^2. The second
   inequality is where lambda >= 0 enters.
2. ||s_{m+1}||^2 = ||s_m||^2 + ||x_{m+1}||^2 + 2 sum over i <= m of <x_i, x_{m+1}> (an identity,
   in words), so by 1 the square grows by at least x_min^2 (1 + 2 lambda m).
3. x_min^2 (m + lambda m (m - 1)) grows by exactly that from m to m + 1, and is 0 at m = 0. Hence
   it is at most ||s_m||^2 for every m; m = n_+ is the lower bound.
4. ||s + x|| <= ||s|| + ||x|| (Cauchy and Schwarz: the cosine is at most 1), so the norm of the sum
   grows by at most x_max, n_+ times.

Numerical check
---------------
``Statement.check`` compares the norm of either class sum with both bounds, which depend on the
sample alone; no flow is solved.

References
----------
None.
"""

from __future__ import annotations

import sympy as sp

from overalign.derivation import Derivation, report
from overalign.statements.quantities import QUANTITIES

n_plus, x_max, x_min, lam = (
    QUANTITIES[name].symbol for name in ("class_size", "x_max", "x_min", "separability")
)


def derive() -> Derivation:
    """Both bounds, by induction over the inputs."""
    proof = Derivation("The sum of the inputs of a class is long, and no longer than its parts")
    _long(proof)
    _no_longer_than_its_parts(proof)
    return proof


def _long(proof: Derivation) -> None:
    level, over, above, beyond = sp.symbols("lambda over above beyond", nonnegative=True)
    m = sp.Symbol("m", integer=True, nonnegative=True)
    norm, other = x_min + over, x_min + above
    proof.at_least_zero("||x||^2 >= x_min^2", norm**2 - x_min**2)
    product = level * norm * other + beyond
    proof.at_least_zero("<x_i, x_k> >= lambda x_min^2", product - level * x_min**2)
    growth = x_min**2 + 2 * m * (level * x_min**2)  # of the square, by 1
    square = sp.summation(growth, (m, 0, n_plus - 1))
    shape = x_min**2 * (m + level * m * (m - 1))
    proof.equal("the bound grows by what 2 grants", shape.subs(m, m + 1) - shape, growth)
    proof.equal("and the bound starts at zero", shape.subs(m, 0), 0)
    proof.equal("so after n_+ inputs it is the sum of what 2 grants", square, shape.subs(m, n_plus))
    proof.ends_with("class_norm_at_least", sp.sqrt(shape).subs({m: n_plus, level: lam}))


def _no_longer_than_its_parts(proof: Derivation) -> None:
    s, x, lack = sp.symbols("s x lack", nonnegative=True)
    m = sp.Symbol("m", integer=True)
    square = s**2 + x**2 + 2 * s * x * (1 - lack)  # cosine 1 - lack
    proof.at_least_zero("||s + x|| <= ||s|| + ||x||", (s + x) ** 2 - square)
    proof.ends_with("class_norm_at_most", sp.summation(x_max, (m, 1, n_plus)))


if __name__ == "__main__":
    print(report(derive()))
