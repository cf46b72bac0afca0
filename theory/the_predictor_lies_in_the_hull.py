r"""The effective predictor is at least as aligned as the worst of the vectors that it is made of.

Setting
-------
J_+ holds the neurons that have v_j > 0 at the time and are not dead, w_hat = sum over J_+ of
v_j w_j, xbar = x_+/||x_+||, psi_j = cos(w_j, xbar) and Psi = cos(w_hat, xbar).  The class - is the
same with |v_j|.  For the second statement: balanced gradient flow of the logistic or exponential
loss, inner products inside a class not negative and those across classes not positive (orthogonal
separability is sufficient), t_1 the first time at which every neuron that is not dead is sorted.

Statement
---------
Lower bounds.  At every time, without any phase (``conic_hull``; the paper, before Theorem 5.2, in a
form completed here; attained when all neurons share one direction):

.. math:: \Psi(t) \ge \min_j \psi_j(t) \quad\text{if the right side is } \ge 0 .

For t >= t_1 (``conic_hull_after_sorting``; theory.md (3.1), ours; attained at t_1, or in the limit
of one sample):

.. math:: \Psi(t) \ge \min\Big( \min_j \psi_j(t_1),\; \min_{i \in I_+} \cos(\bar x_+, x_i) \Big) .

Derivation
----------
1. w_hat = sum a_j u_j with unit vectors u_j and a_j = v_j ||w_j|| > 0, so
   <w_hat, xbar> = sum a_j psi_j >= m sum a_j with m = min psi_j.
2. ||w_hat|| <= sum a_j, because <u_j, u_k> <= 1.
3. If m >= 0, therefore <w_hat, xbar> >= m ||w_hat||.  This is ``conic_hull``.  With one common
   direction both steps are equalities.
4. After t_1 a sorted neuron has w_j' = v_j r, r = sum over its class of g_i x_i, g_i > 0.  With y
   the sign of v_j, y y_k <w_j, x_k> does not fall, whatever is active: the neuron stays sorted.
   (Without separability it need not, and the second bound fails: a neuron that starts sorted can
   come to slide along the kink of a sample of the other class, away from the hull.)
5. So w_j(t) = w_j(t_1) + sum c_i x_i with c_i >= 0 (integration, in words): w_hat is a
   non-negative combination of the w_j(t_1) and the x_i, and 1 to 3 hold for these vectors.
6. The smallest of their cosines is the right side.  Were it negative, the statement would hold all
   the same: a sorted neuron has <w, x_+> = sum <w, x_i> >= 0, so Psi >= 0 (in words).

Numerical check
---------------
``Statement.check`` compares Psi, from the weights of the flow at times from start to stop, with
the smallest psi_j of that time, and from t_1 on with the psi_j of t_1 and the cosines of samples.

References
----------
Yeom, Ha, Lee, arXiv 2602.00827, the argument before Theorem 5.2 (known from summaries).
"""

from __future__ import annotations

import itertools

import sympy as sp

from overalign.derivation import Derivation, report
from overalign.statements.quantities import QUANTITIES

psi_min, psi_sample = (QUANTITIES[name].symbol for name in ("psi_min", "psi_sample"))
SOME = range(3)  # vectors in a combination


def derive() -> Derivation:
    """The hull of unit vectors, then what stays in it."""
    proof = Derivation("The effective predictor lies in the hull of its neurons")
    _hull(proof)
    share = sp.symbols("a_1:4", positive=True)
    common = sum(a * psi_min for a in share) / sum(share)  # one direction: cosine psi_min
    proof.ends_with("conic_hull", sp.simplify(common))
    _stays_sorted(proof)
    cosines = [psi_min, psi_sample]  # of w_j(t_1) and of x_i
    proof.ends_with("conic_hull_after_sorting", sp.Min(*cosines))
    return proof


def _hull(proof: Derivation) -> None:
    """Steps 1 to 3, for three vectors."""
    a, above = (sp.symbols(f"{name}_1:4", nonnegative=True) for name in ("a", "above"))
    m = sp.Symbol("m", real=True)
    along = sum(a[j] * (m + above[j]) for j in SOME)
    proof.at_least_zero("<w_hat, xbar> >= m sum a_j", sp.expand(along - m * sum(a)))
    gap = {
        pair: sp.Symbol("gap_{}{}".format(*pair), nonnegative=True)
        for pair in itertools.combinations(SOME, 2)
    }
    square = sum(a[j] ** 2 for j in SOME)
    square += sum(2 * a[j] * a[k] * (1 - gap[j, k]) for j, k in gap)  # <u_j, u_k> = 1 - gap
    proof.at_least_zero("||w_hat|| <= sum a_j", sp.expand(sum(a) ** 2 - square))
    least, norm, slack = sp.symbols("least norm slack", nonnegative=True)
    proof.at_least_zero("m sum a_j >= m ||w_hat|| if m >= 0", least * (norm + slack) - least * norm)


def _stays_sorted(proof: Derivation) -> None:
    """Step 4: what active samples of either label do, as y_i y_k <x_i, x_k> >= 0."""
    g, agree = (sp.symbols(f"{name}_1:4", nonnegative=True) for name in ("g", "agree"))
    v = sp.Symbol("v", positive=True)
    for y, y_i, y_k in itertools.product((1, -1), repeat=3):
        products = [y_i * y_k * size for size in agree]
        speed = y * v * sum(g[i] * y_i * products[i] for i in SOME)
        proof.at_least_zero(
            f"<w, x_k> moves away from zero, (y, y_i, y_k) = ({y}, {y_i}, {y_k})",
            y * y_k * speed,
        )


if __name__ == "__main__":
    print(report(derive()))
