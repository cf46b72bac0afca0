r"""The stop comes log(1/alpha)/X after the start, up to a constant, and between explicit bounds.

Setting
-------
Balanced gradient flow of the logistic loss (the theory's: a sum of 2 log(1 + e^{-m}); beta converts
times), the stop over one class at its risk L = eta, in the theory's loss.  t_a >= t_1: every live
neuron is sorted, and orthogonal separability (lambda >= 0 is sufficient for the lower bound) keeps
it so; then margins are not negative.  t_eta > t_a, which implies eta < 2 n_+ log 2.  S is the sum
of ||w_j||^2 over live neurons of the class, r = sum of g_i x_i, mu the smallest cosine of a live
neuron at t_a to a sample of the class, or lambda if that is smaller.

Statement
---------
With log S taken at t_a (theory.md 3.6, ours; (3.3) is off by a constant as alpha -> 0, (3.4) and
(3.5) are upper bounds that are far from tight for small mu and lambda):

.. math:: t_a + \frac{\log(S^-/S)}{2 X \beta} \le t_\eta
          \le t_a + \frac{\log 2}{\mu \sqrt\lambda\, x_{\min} \eta \beta} \log\frac{S^+}{S},
   \qquad S^- = \frac1{x_{\max}} \log\frac1{e^{\eta/(2 n_+)} - 1},
   \quad S^+ = \frac{\log(2 n_+/\eta)}{\mu x_{\min}}

(``stopping_time_at_least``, ``stopping_time_at_most``, for mu, lambda > 0), and

.. math:: t_\eta - t_a \le \frac{4 \log^2 2}{S \lambda x_{\min}^2 \eta \beta}

(``stopping_time_by_the_rate``).  As alpha -> 0 (``stopping_time_slope``, an equality)

.. math:: \frac{\mathrm d t_\eta}{\mathrm d \log(1/\alpha)} \to \frac1{X \beta} .

Derivation
----------
1. m_i = sum v_j <w_j, x_i> with v_j = ||w_j||, and mu is kept by the hull
   (the_predictor_lies_in_the_hull.py): S mu x_min <= m_i <= S x_max.
2. L falls with every margin, so L(t_eta) = eta gives S^- <= S(t_eta), and with log(1 + s) <= s
   S(t_eta) <= S^+.
3. S' = 2 <w_hat, r> = 2 sum g_i m_i.  Margins are not negative, so g <= 1 and
   S' <= 2 sum m_i = 2 <w_hat, x_+> <= 2 X S.  Integrated, from S at t_a to at least S^-: the lower
   bound.  (It fails where neurons do not stay sorted: the class (1.2, 0.1), (-0.5, 0.1) with one
   neuron that starts at (0, 1), sorted, and then leaves the second sample, grows faster.)
4. log(1 + s) <= 2 log 2 s/(1 + s) for 0 <= s <= 1: the difference is zero at both ends and its
   slope changes sign once, from + to -.  With s = e^{-m}: L <= 2 log 2 sum g_i.
5. ||r|| >= sqrt(lambda) x_min sum g_i, and <u_j, r> >= mu sum g_i ||x_i|| >= mu ||r||, so
   (log S)' >= 2 mu ||r|| >= mu sqrt(lambda) x_min eta/log 2 while L >= eta.  Integrated, from S at
   t_a to at most S^+: the upper bound.
6. w_hat' = sum <w_j, r> w_j + S r and L' = -<r, w_hat'> <= -S ||r||^2
   <= -S lambda x_min^2 L^2/(4 log^2 2); S does not fall.  So 1/L grows at least at a constant rate;
   1/L(t_a) > 0 is dropped.
7. As alpha -> 0, S(t_1) = alpha^2 times a limit (the directional flow scales out, in words), g -> 1
   and u -> xbar, so (log S)' -> 2 X until S is of order one; what comes after does not know alpha
   (alignment_tends_to_a_limit.py).  At fixed log S, t is linear in log(1/alpha).

Numerical check
---------------
``Statement.check`` solves the flow to the stop over each class and compares its time with the
bounds at t_1, or at the later of t_1 and T_+; the slope from two runs at scales near exp(-2000).

References
----------
Min, Mallada, Vidal, ICLR 2024 (arXiv 2307.12851), for a rate of the form 1/t.
"""

from __future__ import annotations

import sympy as sp
from sympy.codegen.cfunctions import expm1

from overalign.derivation import Derivation, report
from overalign.statements.quantities import QUANTITIES

X, x_max, x_min, n_plus, lam, mu, eta, log_size, beta, t_a, log_alpha = (
    QUANTITIES[name].symbol
    for name in (
        *("class_norm", "x_max", "x_min", "class_size", "separability", "mu", "eta"),
        *("log_size", "beta", "t_a", "log_alpha"),
    )
)
SIZE = sp.Symbol("S", positive=True)
time = sp.Symbol("t", positive=True)


def derive() -> Derivation:
    """Sizes at the stop, how fast sizes grow, and how fast the risk falls."""
    proof = Derivation("The stop comes between explicit bounds")
    _margins(proof)
    low, high = _sizes_at_the_stop(proof)
    _growth_at_most(proof)
    fastest, slowest = 2 * X * beta, _growth_at_least(proof) * beta
    for name, rate, size in (
        ("stopping_time_at_least", fastest, low),
        ("stopping_time_at_most", slowest, high),
    ):
        (reached,) = sp.solve(log_size + rate * (time - t_a) - size, time)
        proof.ends_with(name, sp.expand(reached))
    _risk_falls(proof)
    falling = sp.exp(log_size) * lam * x_min**2 / (4 * sp.log(2) ** 2) * beta
    (passed,) = sp.solve(falling * time - 1 / eta, time)  # 1/L(t_a) is dropped
    proof.ends_with("stopping_time_by_the_rate", passed)
    constant, folds = sp.symbols("constant folds", real=True)
    (reached,) = sp.solve(2 * -folds + constant + fastest * time - log_size, time)
    proof.ends_with("stopping_time_slope", sp.diff(reached, folds))
    return proof


def _margins(proof: Derivation) -> None:
    """Step 1, for two neurons: an input is longer than x_min, its cosine more than mu."""
    a = sp.symbols("a_1:3", positive=True)  # v_j ||w_j|| = ||w_j||^2
    least, shortest = sp.symbols("least shortest", positive=True)
    above, longer, slack = sp.symbols("above longer slack", nonnegative=True)
    margin = sum(share * (shortest + longer) * (least + above) for share in a)
    proof.at_least_zero("m_i >= S mu x_min", sp.expand(margin - sum(a) * least * shortest))
    margin = sum(share * shortest * (1 - slack) for share in a)
    top = sum(a) * (shortest + longer)
    proof.at_least_zero("m_i <= S x_max", sp.expand(top - margin))


def _sizes_at_the_stop(proof: Derivation) -> tuple[sp.Expr, sp.Expr]:
    """Step 2: log S at which the smallest, and a larger, possible risk equals eta."""
    m, s = sp.Symbol("m", positive=True), sp.Symbol("s", nonnegative=True)
    loss = 2 * sp.log(1 + sp.exp(-m))
    proof.at_least_zero("the loss falls with the margin", -sp.diff(loss, m))
    low = -sp.log(expm1(eta / (2 * n_plus))) / x_max
    risk = 2 * n_plus * sp.log(1 + sp.exp(-low * x_max))
    proof.equal("largest margins give eta at S^-", risk.rewrite(sp.exp), eta)
    gap = s - sp.log(1 + s)
    proof.equal("s - log(1 + s) starts at zero", gap.subs(s, 0), 0)
    proof.at_least_zero("and rises: log(1 + s) <= s", sp.together(sp.diff(gap, s)))
    high = sp.log(2 * n_plus / eta) / (mu * x_min)
    proof.equal("smallest margins give eta at S^+", 2 * n_plus * sp.exp(-high * mu * x_min), eta)
    return sp.log(low), sp.log(high)


def _growth_at_most(proof: Derivation) -> None:
    """Step 3, from the equations of two neurons, then for two samples."""
    s = sp.Symbol("s", real=True)
    v, r = sp.symbols("v_1:3", real=True), sp.Matrix(sp.symbols("r_1:3", real=True))
    weights = [sp.Matrix(sp.symbols(f"w_{j}1 w_{j}2", real=True)) for j in (1, 2)]
    outputs = [v[j] + s * weights[j].dot(r) for j in (0, 1)]
    predictor = v[0] * weights[0] + v[1] * weights[1]
    speed = sp.diff(sum(output**2 for output in outputs), s).subs(s, 0)
    proof.equal("S' = 2 <w_hat, r>", speed, 2 * predictor.dot(r))
    m = sp.symbols("m_1:3", nonnegative=True)
    slower = [1 - 2 / (1 + sp.exp(size)) for size in m]  # 1 - g_i
    proof.equal("1 - g is zero at m = 0", slower[0].subs(m[0], 0), 0)
    proof.at_least_zero("and rises: g <= 1", sp.diff(slower[0], m[0]))
    x = [sp.Matrix(sp.symbols(f"x_{i}1 x_{i}2", real=True)) for i in (1, 2)]
    g = sp.symbols("g_1:3", positive=True)
    parts = sum(g[i] * predictor.dot(x[i]) for i in (0, 1))
    proof.equal("<w_hat, r> = sum g_i m_i", predictor.dot(g[0] * x[0] + g[1] * x[1]), parts)
    rest = sp.symbols("rest_1:3", nonnegative=True)  # 1 = g_i + rest_i
    whole = sum((g[i] + rest[i]) * m[i] for i in (0, 1))
    most = whole - sum(g[i] * m[i] for i in (0, 1))
    proof.at_least_zero("<w_hat, r> <= <w_hat, x_+>", sp.expand(most))
    a, off = sp.symbols("a_1:3", nonnegative=True), sp.symbols("off_1:3", nonnegative=True)
    along = sum(share * X * (1 - gap) for share, gap in zip(a, off, strict=True))
    proof.at_least_zero("<w_hat, x_+> <= S X", sp.expand(sum(a) * X - along))


def _growth_at_least(proof: Derivation) -> sp.Expr:
    """Steps 4 and 5: the least (log S)' while L >= eta, in the theory's time."""
    s = sp.Symbol("s", positive=True)
    gap = 2 * sp.log(2) * s / (1 + s) - sp.log(1 + s)
    for end in (0, 1):
        proof.equal(f"2 log 2 s/(1 + s) - log(1 + s) is zero at s = {end}", gap.subs(s, end), 0)
    turn = 2 * sp.log(2) - 1 - s
    proof.equal("and has a slope", sp.diff(gap, s) * (1 + s) ** 2, turn)
    proof.at_least_zero("that starts positive", turn.subs(s, 0))
    proof.at_least_zero("and changes sign once", -sp.diff(turn, s))
    _class_is_long(proof)
    least_sum = eta / (2 * sp.log(2))  # of the g_i
    return 2 * mu * (sp.sqrt(lam) * x_min * least_sum)


def _class_is_long(proof: Derivation) -> None:
    """The rest of step 5, for two samples: ||x_i|| = x_min + longer_i, cosine lambda + above."""
    least, level, cosine = sp.symbols("x_min lambda mu", positive=True)
    g, longer = (sp.symbols(f"{name}_1:3", nonnegative=True) for name in ("g", "longer"))
    above, below = sp.symbols("above below", nonnegative=True)
    norms = [least + more for more in longer]
    own = level + below  # the cosine of a sample to itself, one
    square = own * sum((g[k] * norms[k]) ** 2 for k in (0, 1))
    square += 2 * g[0] * g[1] * norms[0] * norms[1] * (level + above)
    bound = level * least**2 * sum(g) ** 2
    proof.at_least_zero("||r||^2 >= lambda x_min^2 (sum g_i)^2", sp.expand(square - bound))
    parts = [g[k] * norms[k] for k in (0, 1)]
    along = parts[0] * (cosine + above) + parts[1] * (cosine + below)
    gap = sp.Symbol("gap", nonnegative=True)
    proof.at_least_zero("<u_j, r> >= mu sum g_i ||x_i||", sp.expand(along - cosine * sum(parts)))
    shorter = parts[0] ** 2 + parts[1] ** 2 + 2 * parts[0] * parts[1] * (1 - gap)  # ||r||^2
    proof.at_least_zero("which is at least mu ||r||", sp.expand(sum(parts) ** 2 - shorter))


def _risk_falls(proof: Derivation) -> None:
    """Step 6."""
    s, m = sp.symbols("s m", real=True)
    v, r = sp.symbols("v_1:3", real=True), sp.Matrix(sp.symbols("r_1:3", real=True))
    weights = [sp.Matrix(sp.symbols(f"w_{j}1 w_{j}2", real=True)) for j in (1, 2)]
    moved = [(v[j] + s * weights[j].dot(r)) * (weights[j] + s * v[j] * r) for j in (0, 1)]
    turned = sp.diff(moved[0] + moved[1], s).subs(s, 0)  # w_hat'
    proof.equal("L' = -sum g_i m_i'", sp.diff(2 * sp.log(1 + sp.exp(-m)), m), -2 / (1 + sp.exp(m)))
    size = v[0] ** 2 + v[1] ** 2
    rest = sum(w.dot(r) ** 2 for w in weights)
    proof.equal("-L' = S ||r||^2 + sum <w_j, r>^2", r.dot(turned), size * r.dot(r) + rest)
    proof.at_least_zero("so -L' >= S ||r||^2", rest)
    risk, rate = sp.Function("L")(s), sp.Symbol("rate", positive=True)
    slope = sp.diff(1 / risk, s).subs(sp.diff(risk, s), -rate * risk**2)
    proof.equal("1/L grows at the rate", slope, rate)


if __name__ == "__main__":
    print(report(derive()))
