r"""In the window a neuron turns as if every residual were one, up to a small error.

Setting
-------
Balanced gradient flow under orthogonal separability, sqrt(h) alpha < 1, t <= T_G, in the theory's
time; F = alpha sqrt(h) x_max W_max^2.  u_j = w_j/||w_j||, P = I - u_j u_j^T, x_a(u) is the sum of
y_i x_i over the samples active on u, g_i the residuals (1 at f = 0), e_j = u_j' - sign(v_j) P x_a.

Statement
---------
Upper bounds (theory.md 2.2), not attained: they add up all samples and use the bound F on outputs.

.. math:: \lVert e_j \rVert \le E_{lit} = 4 \alpha n \sqrt h\, x_{\max}^2 W_{\max}^2

for the logistic loss, and for the exponential loss if F <= 1 (``directional_error_literature``: the
paper's, reconstructed; its constant comes from the literature).  For the logistic loss

.. math:: \lVert e_j \rVert \le E_{log} = \tfrac12 \alpha n \sqrt h\, x_{\max}^2 W_{\max}^2,
   \qquad \lVert e_j \rVert \le E_{cls} = \tanh(F/2)\, X \quad (t_1 \le t)

(``directional_error_logistic``, ``directional_error_of_a_class``, ours), X the norm of the sum of
the neuron's class.

Derivation
----------
1. w' = v G with G = sum over active samples of g_i y_i x_i and |v| = ||w||, so
   u' = sign(v) P G, and e = sign(v) P sum over active samples of (g_i - 1) y_i x_i.
2. ||P z|| <= ||z||, so ||e|| <= n max|g - 1| x_max.
3. Logistic loss: |g - 1| = tanh(|m|/2) <= |m|/2, because x - tanh x starts at 0 and has the slope
   tanh^2 x.  With |f| <= F in the window (norms_and_outputs_stay_small.py): E_log = n x_max F/2.
   E_lit is 8 times as large.
4. A sorted neuron is active on its own class alone.  A sum over one class with coefficients of at
   most max|g - 1| has a norm of at most max|g - 1| X (norms_and_outputs_stay_small.py, 3): E_cls.
5. Exponential loss, g = e^{-m}.  Here T_G is the window of the logistic loss; the shorter one with
   e^F for 1 + tanh(F/2) is contained.  A pair with y_i v_j < 0 moves down: y_i v_j <w_j, x_i> never
   falls (each_pair_switches_at_most_once.py, 3), so relu <w_j, x_i> <= alpha W_max x_max for it.
   Only such pairs make margins negative; let mu be the largest -m_i so far.  Then g <= e^mu, norms
   are at most alpha W_max e^{e^mu G t}, and
   mu <= h (alpha W_max x_max) (alpha W_max e^{e^mu G t}) =: b(t).
6. With s = sqrt(h) alpha, k = 1 + tanh(F/2): at T_G, b = F s^{1 - e^mu/(2 k)}.  For mu = F <= 1 the
   exponent is positive, because e^F <= 2 k there (in fact up to F = log 3).  So mu stays below F up
   to T_G, by the continuity argument of norms_and_outputs_stay_small.py (in words).
7. Negative margins: g - 1 <= e^F - 1 <= 2 F, as 2 F + 1 - e^F is concave and not negative at F = 0
   and F = 1.
8. Positive margins: 1 - g = 1 - e^{-m} <= min(1, m), at most 4 F if F >= 1/4.  If F <= 1/4,
   m <= h x_max alpha^2 W_max^2 e^{2 e^mu G t}, at T_G equal to F s^{1 - e^mu/k}, where
   mu <= F s^{1/4} by 6 (e^F <= 3 k/2).  With l = log(1/s) that is F e^{(e^mu/k - 1) l}, and
   (e^mu/k - 1) l <= (e^mu - 1) l <= 2 mu l <= 2 F l e^{-l/4} <= 8 F/e <= log 4: again 4 F at most.
9. So |g - 1| <= 4 F for the exponential loss too, and 2 gives E_lit.

Numerical check
---------------
``Statement.check`` forms u_j' and P x_a(u_j) of each live neuron from the weights and residuals of
the flow at times in the window, and compares the norm of the difference with the bounds.

References
----------
Min, Mallada, Vidal, Early neuron alignment in two-layer ReLU networks with small initialization,
ICLR 2024 (arXiv 2307.12851).  Min, Zhu, Vidal, Neural collapse under gradient flow on shallow ReLU
networks for orthogonally separable data, 2025 (arXiv 2510.21078).
"""

from __future__ import annotations

import sympy as sp

from overalign.derivation import Derivation, report
from overalign.statements.quantities import QUANTITIES

n, h, X, x_max, W, log_alpha = (
    QUANTITIES[name].symbol for name in ("n", "width", "class_norm", "x_max", "W_max", "log_alpha")
)
largest_square = sp.exp(log_alpha) * W**2 / sp.sqrt(h)  # of ||w_j||^2 in the window
F = h * largest_square * x_max


def derive() -> Derivation:
    """The direction's flow, then what a residual that is not one changes."""
    proof = Derivation("A neuron turns as if every residual were one, up to a small error")
    _direction(proof)
    _logistic(proof)
    proof.ends_with("directional_error_logistic", n * x_max * F / 2)
    proof.ends_with("directional_error_of_a_class", sp.tanh(F / 2) * X)
    _no_negative_margins(proof)
    _residuals_of_exponential(proof)
    proof.ends_with("directional_error_literature", n * x_max * (4 * F))
    return proof


def _direction(proof: Derivation) -> None:
    """In the plane of u and the drive, with the first axis along u."""
    s, r = sp.symbols("s r", positive=True)
    drive = sp.Matrix(sp.symbols("along across", real=True))
    u = sp.Matrix([1, 0])
    moved = r * u + s * r * drive  # w' = v G, v = ||w|| = r
    turned = sp.diff(moved / sp.sqrt(moved.dot(moved)), s).subs(s, 0)
    projected = drive - u * u.dot(drive)
    for k in (0, 1):
        proof.equal(f"u' = P G, component {k + 1}", turned[k], projected[k])
    proof.at_least_zero("||P z|| <= ||z||", drive.dot(drive) - projected.dot(projected))


def _logistic(proof: Derivation) -> None:
    m, x = sp.symbols("m x", real=True)
    proof.equal("g - 1 = -tanh(m/2)", 2 / (1 + sp.exp(m)) - 1, -sp.tanh(m / 2))
    proof.equal("x - tanh x starts at zero", (x - sp.tanh(x)).subs(x, 0), 0)
    proof.equal("and has the slope tanh^2 x", sp.diff(x - sp.tanh(x), x), sp.tanh(x) ** 2)
    proof.at_least_zero("so tanh(F/2) <= F/2: it does not fall", sp.tanh(x) ** 2)
    proof.at_least_zero("E_lit is not below E_log", n * x_max * (4 * F) - n * x_max * F / 2)


def _no_negative_margins(proof: Derivation) -> None:
    """Steps 5 and 6."""
    s, f, pull, k = sp.symbols("s f pull k", positive=True)  # k = 1 + tanh(F/2), pull = e^mu
    grown = sp.exp(pull * sp.log(1 / s) / (2 * k))  # e^{pull G T_G}
    scale, bound = sp.exp(log_alpha), {log_alpha: sp.log(s / sp.sqrt(h))}
    negative = h * (scale * W * x_max) * (scale * W * grown)
    positive = h * x_max * (scale * W * grown) ** 2
    for name, margin, power in (
        ("what makes margins negative is F s^{1 - pull/(2 k)}", negative, 1 - pull / (2 * k)),
        ("positive margins are at most F s^{1 - pull/k}", positive, 1 - pull / k),
    ):
        proof.equal(f"{name} at T_G", margin.subs(bound), (F * s**power).subs(bound))
    factor = 1 + sp.tanh(f / 2)
    proof.at_least_zero_on("e^F <= 2 k for F <= 1", 2 * factor - sp.exp(f), {f: (0, 1)})
    quarter = 3 * factor / 2 - sp.exp(f)
    proof.at_least_zero_on("e^F <= 3 k/2 for F <= 1/4", quarter, {f: (0, 0.25)})
    proof.equal("e^F = 2 k at F = log 3", (2 * factor - sp.exp(f)).subs(f, sp.log(3)), 0)


def _residuals_of_exponential(proof: Derivation) -> None:
    """Steps 7 and 8."""
    f, m, fold = sp.symbols("f m l", nonnegative=True)
    gap = 2 * f + 1 - sp.exp(f)  # of 2 F to e^F - 1
    proof.at_least_zero("2 F + 1 - e^F is concave", -sp.diff(gap, f, 2))
    proof.equal("and zero at F = 0", gap.subs(f, 0), 0)
    proof.at_least_zero("and positive at F = 1", gap.subs(f, 1))
    above = m - (1 - sp.exp(-m))
    for order, name in enumerate(("value", "slope")):
        at_zero = sp.diff(above, m, order).subs(m, 0)
        proof.equal(f"m - (1 - e^-m) has the {name} zero at m = 0", at_zero, 0)
    proof.at_least_zero("and is convex, so not negative", sp.diff(above, m, 2))
    top = fold * sp.exp(-fold / 4)
    (peak,) = sp.solve(sp.diff(top, fold), fold)
    proof.equal("l e^{-l/4}, zero at both ends, turns at l = 4 only", peak, 4)
    most = 2 * sp.Rational(1, 4) * top.subs(fold, peak)
    proof.at_least_zero("8 F/e <= log 4 for F <= 1/4", sp.log(4) - most)


if __name__ == "__main__":
    print(report(derive()))
