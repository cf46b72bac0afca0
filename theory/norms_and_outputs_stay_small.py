r"""Norms grow no faster than the class sum lets them, and outputs stay small in a window.

Setting
-------
Balanced gradient flow of the logistic loss, g_i = 2/(1 + e^{m_i}) with m_i = y_i f(x_i), in the
theory's time t_R = beta t.  Inner products inside a class are >= 0.  X is the norm of the class sum
of the neuron's own class (the one of the sign of v_j), G the larger of the two, and
F = alpha sqrt(h) x_max W_max^2.

Statement
---------
.. math:: \log\lVert w_j(t)\rVert \le \log\alpha + \log W_{\max} + 2 \beta t X

at all times (``norm_growth``, theory.md 2.1).  If sqrt(h) alpha < 1, then for t <= T_G

.. math:: \max_j \lVert w_j\rVert^2 \le \alpha W_{\max}^2 / \sqrt h, \qquad
          \max_i |f(x_i)| \le F = \alpha \sqrt h\, x_{\max} W_{\max}^2,

(``norm_in_the_window``, ``output_in_the_window``, theory.md (2.1)), with the windows

.. math:: T = \frac{\log(1/(\sqrt h \alpha))}{4 n x_{\max} \beta} \le
          T_G = \frac{\log(1/(\sqrt h \alpha))}{2 (1 + \tanh(F/2)) G \beta}

(``window``: the paper's t_alpha as we read it, reconstructed; ``longer_window``, theory.md (2.2)).
The others are ours: upper bounds, sharper by a factor 2 than in the literature.  None is attained:
a residual near 2 needs a very negative margin, and at g = 1 a log-norm grows at most like X t.

Derivation
----------
1. (||w||^2)' = 2 v <w, G_j>, and |v| = ||w||.
2. For v > 0 active samples of the other class contribute -2 v g <w, x_i> <= 0.
3. If |b_i| <= a_i, then ||sum b_i x_i|| <= ||sum a_i x_i|| over one class: with b = p - q and
   a = p + q + r, p, q, r >= 0, no product of a pair has a_i a_k < b_i b_k, and <x_i, x_k> >= 0.
   So the own class contributes at most 2 ||w||^2 (max g) X (Cauchy and Schwarz).
4. g = 1 - tanh(m/2) <= 2: the growth rate of ||w||^2 is at most 4 X, and X <= n x_max.
5. While max |f| <= F, g <= 1 + tanh(F/2), because 2/(1 + e^m) falls: the rate is at most
   2 (1 + tanh(F/2)) G.
6. T and T_G are the times at which alpha^2 W_max^2 e^{rate t} reaches alpha W_max^2 / sqrt(h), for
   the rates 4 n x_max and 2 (1 + tanh(F/2)) G.  T <= T_G, since G <= n x_max and tanh < 1.
7. If all ||w_j||^2 <= alpha W_max^2 / sqrt(h), then |f(x_i)| <= sum_j ||w_j||^2 x_max <= F.
8. By continuity (in words): at t = 0, |f| <= sqrt(h) alpha F < F.  Let t* < T_G be the first time
   at which max |f| = F.  Up to t* the rate of 5 holds, so ||w_j||^2 is strictly below its value in
   6, and by 7 |f| < F at t*: a contradiction.  Hence 5 holds up to T_G, and so do both bounds.

For the exponential loss g <= e^F while |f| <= F, and the same argument needs e^F in place of
1 + tanh(F/2) in T_G.

Numerical check
---------------
``Statement.check`` compares the log-norm of each neuron, the largest norm and the largest output at
the times of the flow inside the window with the bounds, and the windows with those that
``phase_times`` reports.

References
----------
Min, Mallada, Vidal, Early neuron alignment in two-layer ReLU networks with small initialization,
ICLR 2024 (arXiv 2307.12851).
"""

from __future__ import annotations

import sympy as sp

from overalign.derivation import Derivation, report
from overalign.statements.quantities import QUANTITIES

n, h, X, G, x_max, W, log_alpha, beta, t = (
    QUANTITIES[name].symbol
    for name in (
        *("n", "width", "class_norm", "largest_class_norm", "x_max"),
        *("W_max", "log_alpha", "beta", "time"),
    )
)
alpha = sp.exp(log_alpha)


def derive() -> Derivation:
    """Growth, the two windows, and what holds inside."""
    proof = Derivation("Norms and outputs stay small in a window")
    _growth(proof)
    _residuals(proof)
    proof.ends_with("norm_growth", _log_norm(4 * X))
    _windows(proof)
    return proof


def _growth(proof: Derivation) -> None:
    s, v = sp.symbols("s v", positive=True)
    w, drive = (sp.Matrix(sp.symbols(f"{name}_1:3", real=True)) for name in "wG")
    moved = w + s * v * drive
    speed = sp.diff(moved.dot(moved), s).subs(s, 0)
    proof.equal("(||w||^2)' = 2 v <w, G>", speed, 2 * v * w.dot(drive))
    g, product = sp.symbols("g product", positive=True)
    other_class = 2 * v * (-1) * g * product  # label -1
    proof.at_least_zero("the other class makes it shorter", -other_class)
    square = w.dot(w) * drive.dot(drive) - w.dot(drive) ** 2
    proof.at_least_zero("|<w, G>| <= ||w|| ||G||, in the plane of both", square)
    parts = sp.symbols("p_i q_i r_i p_k q_k r_k", nonnegative=True)
    (p_i, q_i, r_i), (p_k, q_k, r_k) = parts[:3], parts[3:]
    larger, smaller = (p_i + q_i + r_i) * (p_k + q_k + r_k), (p_i - q_i) * (p_k - q_k)
    proof.at_least_zero("smaller coefficients make a shorter sum", larger - smaller)


def _residuals(proof: Derivation) -> None:
    m = sp.Symbol("m", real=True)
    g = 2 / (1 + sp.exp(m))
    proof.equal("g = 1 - tanh(m/2)", g, 1 - sp.tanh(m / 2))
    proof.at_least_zero("g <= 2", sp.together(2 - g))
    proof.at_least_zero("g falls with the margin", -sp.diff(g, m))


def _log_norm(rate: sp.Expr) -> sp.Expr:
    """Of a neuron that starts at alpha W_max and whose square grows at a rate, in time t_R."""
    return log_alpha + sp.log(W) + rate * beta * t / 2


def _windows(proof: Derivation) -> None:
    F, small = sp.Symbol("F", positive=True), sp.Symbol("small", positive=True)
    paper, ours = 4 * n * x_max, 2 * (1 + sp.tanh(F / 2)) * G
    target = sp.log(W) + log_alpha / 2 - sp.log(h) / 4  # of log ||w||
    T, T_G = (sp.solve(_log_norm(rate) - target, t)[0] for rate in (paper, ours))
    folds = sp.log(1 / (sp.sqrt(h) * small))
    proof.equal(
        "the paper's window is where the bound meets alpha W_max^2 / sqrt(h)",
        sp.expand_log(T.subs(log_alpha, sp.log(small))),
        sp.expand_log(folds / (paper * beta)),
    )
    rest = sp.Symbol("rest", nonnegative=True)  # n x_max = G + rest
    tanh = 1 - 2 / (1 + sp.exp(F))
    proof.equal("tanh(F/2) without a difference", tanh, sp.tanh(F / 2))
    difference = (4 * (G + rest) - ours.subs(sp.tanh(F / 2), tanh)) / G
    proof.at_least_zero("T <= T_G: the rate is not larger", sp.expand(difference))
    norm = _log_norm(ours).subs(t, T_G)
    output = h * sp.exp(2 * norm) * x_max
    start = h * sp.exp(2 * _log_norm(ours).subs(t, 0)) * x_max
    smaller = sp.sqrt(h) * alpha * output
    proof.equal("at the start outputs are smaller by sqrt(h) alpha", start, smaller)
    proof.ends_with("norm_in_the_window", norm)
    proof.ends_with("output_in_the_window", output)
    proof.ends_with("window", T)
    proof.ends_with("longer_window", T_G.subs(F, output))


if __name__ == "__main__":
    print(report(derive()))
