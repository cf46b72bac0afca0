r"""After it is sorted, a neuron aligns with its class at least as fast as a tanh rises.

Setting
-------
As in the_directional_flow_and_its_error.py, for one class: balanced gradient flow under orthogonal
separability, sqrt(h) alpha < 1.  psi_j is the cosine of w_j to the class sum x_+, X = ||x_+||, and
all neurons are sorted from t_1 on.  E is any of the three bounds on the error of the directional
flow, and zeta = 1 - E/X > 0.

Statement
---------
Lower bounds for t_1 <= t <= T_G,

.. math:: \psi_j(t) \ge \sqrt\zeta \tanh\big(\sqrt\zeta X \beta (t - t_1)\big),

with zeta = 1 - 4 alpha n sqrt(h) x_max^2 W_max^2/X (``phase1_alignment``: the paper's Theorem 5.1
on the window T; logistic or exponential loss), with zeta = 1 - E_log/X
(``phase1_alignment_logistic``) and with zeta = 2/(1 + e^F) = 1 - tanh(F/2), which has neither n nor
X (``phase1_alignment_of_a_class``; both ours, theory.md (2.3)).  What is left to turn
(``misalignment_in_the_window``; Corollary 5.3, reconstructed; theory.md (2.6)):

.. math:: 1 - \psi_j(t) \le \frac{E_{lit}/X}{1 + \sqrt\zeta}
          + 2 \sqrt\zeta\, e^{-2 \sqrt\zeta X \beta (t - t_1)} .

None is attained: they start from psi_j = 0 and count the error as if it were not tangential
(the_half_angle_falls_exponentially.py does better).

Derivation
----------
1. The error e enters u' = P (x_+ + e) through P, so d psi/dt_R = <xbar_+, P x_+> + <xbar_+, P e>,
   and with the angle theta of u to xbar_+: <xbar_+, P x_+> = X (1 - psi^2).
2. |<xbar_+, P e>| <= ||P xbar_+|| ||e|| <= ||e|| <= E, because ||P xbar_+||^2 = 1 - psi^2 <= 1.
   So d psi/dt_R >= X (1 - psi^2) - E = X (zeta - psi^2).
3. z(s) = sqrt(zeta) tanh(sqrt(zeta) X s) solves z' = X (zeta - z^2), z(0) = 0.
4. psi(t_1) >= 0: a sorted neuron has a product >= 0 with every input of its class, and so with
   their sum (in words).
5. (psi - z)' >= -X (psi + z) (psi - z), so psi - z, not negative at t_1, stays so (Gronwall, in
   words).  With s = beta (t - t_1) this is the bound.  A neuron of v_j < 0 is the same with x_-.
6. F <= 1, which the error of the literature asks of the exponential loss, follows from
   zeta_lit > 0: then 4 n x_max F < X <= n x_max.
7. zeta of a class: 1 - E_cls/X = 1 - tanh(F/2) = 2/(1 + e^F).
8. 1 - tanh A <= 2 e^{-2A}, so 1 - psi <= (1 - sqrt(zeta)) + 2 sqrt(zeta) e^{-2A}, with
   A = sqrt(zeta) X s; and 1 - sqrt(zeta) = (1 - zeta)/(1 + sqrt(zeta)).

Numerical check
---------------
``Statement.check`` follows psi_j of each live neuron on the flow, from the time at which the neuron
itself is sorted to the end of the window T_G, and compares it with the bound.

References
----------
Yeom, Ha, Lee, Over-alignment vs over-fitting: the role of feature learning strength in
generalization (arXiv 2602.00827), Theorem 5.1 and Corollary 5.3.
"""

from __future__ import annotations

import sympy as sp

from overalign.derivation import Derivation, report
from overalign.statements.quantities import QUANTITIES

n, h, X, x_max, W, log_alpha, beta, t, t_1 = (
    QUANTITIES[name].symbol
    for name in (
        *("n", "width", "class_norm", "x_max", "W_max"),
        *("log_alpha", "beta", "time", "t_1"),
    )
)
F = sp.exp(log_alpha) * sp.sqrt(h) * x_max * W**2
E_LIT, E_LOG = n * x_max * (4 * F), n * x_max * F / 2  # the_directional_flow_and_its_error.py


def derive() -> Derivation:
    """The Riccati inequality, its solution for each zeta, and what is left of the angle."""
    proof = Derivation("After it is sorted, a neuron aligns at least as fast as a tanh rises")
    zeta, s = sp.Symbol("zeta", positive=True), sp.Symbol("s", nonnegative=True)
    _speed(proof)
    bound = _solution(proof, zeta, s)
    f = sp.Symbol("f", positive=True)
    of_class = 2 / (1 + sp.exp(f))
    proof.equal("zeta of a class without a difference", 1 - sp.tanh(f / 2), of_class)
    rest = sp.Symbol("rest", nonnegative=True)  # n x_max = X + rest
    outputs = X * (1 - zeta) / (4 * (X + rest))  # F, by zeta = 1 - 4 n x_max F/X
    proof.at_least_zero("zeta_lit > 0 makes F < 1/4", sp.together(sp.Rational(1, 4) - outputs))
    since = beta * (t - t_1)
    for name, value in (
        ("phase1_alignment", 1 - E_LIT / X),
        ("phase1_alignment_logistic", 1 - E_LOG / X),
        ("phase1_alignment_of_a_class", of_class.subs(f, F)),
    ):
        proof.ends_with(name, bound.subs(zeta, value).subs(s, since))
    left = _what_is_left(proof, zeta, s)
    proof.ends_with("misalignment_in_the_window", left.subs(zeta, 1 - E_LIT / X).subs(s, since))
    return proof


def _speed(proof: Derivation) -> None:
    theta = sp.Symbol("theta", real=True)
    u, mean = sp.Matrix([sp.cos(theta), sp.sin(theta)]), sp.Matrix([1, 0])
    psi = u.dot(mean)
    turned = X * (mean - u * psi)  # P x_+
    proof.equal("<xbar, P x_+> = X (1 - psi^2)", mean.dot(turned), X * (1 - psi**2))
    across = mean - u * psi
    proof.equal("||P xbar||^2 = 1 - psi^2", across.dot(across), 1 - psi**2)
    proof.at_least_zero("which is at most 1", psi**2)


def _solution(proof: Derivation, zeta: sp.Symbol, s: sp.Symbol) -> sp.Expr:
    """The tanh, by the Riccati equation that it solves."""
    error, psi = sp.symbols("E psi", real=True)
    riccati = X * (1 - psi**2) - error
    proof.equal("X (1 - psi^2) - E = X (zeta - psi^2)", riccati, X * ((1 - error / X) - psi**2))
    z = sp.sqrt(zeta) * sp.tanh(sp.sqrt(zeta) * X * s)
    proof.equal("the tanh solves it with equality", sp.diff(z, s), X * (zeta - z**2))
    proof.equal("and starts at zero", z.subs(s, 0), 0)
    other = sp.Symbol("z", real=True)
    proof.equal(
        "two solutions differ by what does not change sign",
        X * (zeta - psi**2) - X * (zeta - other**2),
        -X * (psi + other) * (psi - other),
    )
    return z


def _what_is_left(proof: Derivation, zeta: sp.Symbol, s: sp.Symbol) -> sp.Expr:
    """1 - psi, written without the difference 1 - sqrt(zeta)."""
    a = sp.Symbol("A", nonnegative=True)
    gap = 2 * sp.exp(-2 * a) / (1 + sp.exp(2 * a))
    proof.equal("2 e^{-2A} - (1 - tanh A)", 2 * sp.exp(-2 * a) - (1 - sp.tanh(a)), gap)
    proof.at_least_zero("so 1 - tanh A <= 2 e^{-2A}", gap)
    root = sp.sqrt(zeta)
    floor = (1 - zeta) / (1 + root)
    proof.equal("1 - sqrt(zeta) without a difference", floor, 1 - root)
    return floor + root * 2 * sp.exp(-2 * root * X * s)


if __name__ == "__main__":
    print(report(derive()))
