r"""The tangent of half the angle to the class sum falls exponentially, to a floor of order alpha.

Setting
-------
Balanced gradient flow of the logistic loss under orthogonal separability; all live neurons are
sorted from t_1 on.  For one class: X = ||x_+||, theta_j is the angle of w_j to x_+, S(t) the sum of
||w_j||^2 over its live neurons, margins m_i = y_i f(x_i), residuals g_i = 2/(1 + e^{m_i}).

Statement
---------
For all t >= t_1, in the window or not (theory.md (2.4), ``half_angle``; ours, sharper than the
paper's Theorem 5.1),

.. math:: \tan(\theta_j(t)/2) \le e^{-X \beta (t - t_1)}
          + \tfrac16 x_{\max} S(t_1)\, e^{2 X \beta (t - t_1)} .

An upper bound.  Its first term is attained in the limit of small alpha by a neuron that is
orthogonal to x_+ at t_1; the rate X is exact.  The second is of order alpha while S is.

Derivation
----------
1. After t_1 the neurons of the class are active on exactly its inputs, and no other live neuron is:
   m_i = sum_j v_j <w_j, x_i> >= 0, hence 0 < g_i <= 1 (in words).
2. u' = P (x_+ + e), e = sum of (g_i - 1) x_i over the class, and ||e|| <= max|g - 1| X
   (norms_and_outputs_stay_small.py, step 3).  As e enters through P,
   theta' = -<xbar_+, u'>/sin(theta) <= -X sin(theta) + ||e||, because ||P xbar_+|| = sin(theta).
3. For tau = tan(theta/2): tau' = (1 + tau^2)/2 theta' and sin(theta) = 2 tau/(1 + tau^2), so
   tau' <= -X tau + ||e|| (1 + tau^2)/2 <= -X tau + ||e|| while tau <= 1.  It always is: products
   with all inputs of the class are >= 0 for a sorted neuron, so psi >= 0 (in words).
4. |g - 1| = tanh(m/2) <= m/2 and m_i <= S x_max, so ||e|| <= X x_max S/2.
5. S' = 2 sum_j v_j <w_j, r> with r = sum of g_i x_i; each term is at most 2 ||w_j||^2 ||r|| and
   ||r|| <= X, so S(s) <= S(t_1) e^{2 X (s - t_1)}.
6. B' = -X B + X x_max S(t_1) e^{2 X s}/2, B(0) = 1 is solved by
   e^{-X s} + x_max S(t_1) (e^{2 X s} - e^{-X s})/6, and tau <= B, as tau(t_1) <= 1 (comparison, in
   words).  The negative part is left out.  In time of the loss s = beta (t - t_1).

Numerical check
---------------
``Statement.check`` follows tan(theta_j/2) of each live neuron on the flow from t_1 to the stop and
compares it with the bound, with S measured at t_1.

References
----------
None; the Riccati form that it sharpens is in neurons_align_like_tanh.py.
"""

from __future__ import annotations

import sympy as sp

from overalign.derivation import Derivation, report
from overalign.statements.quantities import QUANTITIES

X, x_max, log_size, beta, t, t_1 = (
    QUANTITIES[name].symbol for name in ("class_norm", "x_max", "log_size", "beta", "time", "t_1")
)


def derive() -> Derivation:
    """The inequality of the half angle, the error that drives it, and its solution."""
    proof = Derivation("The half angle falls exponentially to a floor of order alpha")
    _angle(proof)
    _half_angle(proof)
    s = sp.Symbol("s", nonnegative=True)
    floor = _floor(proof, s)
    bound = _solution(proof, s, floor)
    proof.ends_with("half_angle", bound.subs(s, beta * (t - t_1)))
    return proof


def _angle(proof: Derivation) -> None:
    theta, along, across = sp.symbols("theta along across", real=True)
    u, mean = sp.Matrix([sp.cos(theta), sp.sin(theta)]), sp.Matrix([1, 0])
    drive = X * mean + sp.Matrix([along, across])
    speed = mean.dot(drive - u * u.dot(drive))  # of cos(theta)
    tangent = -sp.sin(theta) * along + sp.cos(theta) * across  # of e, a unit vector times e
    proof.equal(
        "theta' is -X sin(theta) and the tangential part of e",
        -speed / sp.sin(theta),
        -X * sp.sin(theta) + tangent,
    )
    square = along**2 + across**2 - tangent**2
    other = (sp.cos(theta) * along + sp.sin(theta) * across) ** 2
    proof.equal("what is left of ||e||^2", square, other)
    proof.at_least_zero("so that part is at most ||e||", other)


def _half_angle(proof: Derivation) -> None:
    theta, x = sp.symbols("theta x", real=True)
    tau, lack, push = sp.symbols("tau lack push", nonnegative=True)
    slope = sp.diff(sp.tan(theta / 2), theta)
    proof.equal("tau' = (1 + tau^2)/2 theta'", slope, (1 + sp.tan(theta / 2) ** 2) / 2)
    sine = sp.expand_trig(sp.sin(2 * sp.atan(tau)))
    factor = (1 + tau**2) / 2
    proof.equal("the turn by x_+ itself is -X tau", factor * (-X * sine), -X * tau)
    most = push * (1 - factor).subs(tau, 1 / (1 + lack))
    proof.at_least_zero("the error counts at most once while tau <= 1", sp.factor(most))
    proof.equal("|g - 1| = tanh(m/2)", 1 - 2 / (1 + sp.exp(x)), sp.tanh(x / 2))
    gap = x / 2 - sp.tanh(x / 2)
    proof.equal("m/2 - tanh(m/2) starts at zero", gap.subs(x, 0), 0)
    proof.equal("and has the slope tanh^2(m/2)/2", sp.diff(gap, x), sp.tanh(x / 2) ** 2 / 2)
    proof.at_least_zero("so it does not fall", sp.tanh(x / 2) ** 2 / 2)


def _floor(proof: Derivation, s: sp.Symbol) -> sp.Expr:
    """The bound on ||e|| from the largest S that growth allows."""
    size = sp.exp(log_size) * sp.exp(2 * X * s)
    g = sp.Symbol("g", positive=True)
    residual = 1 / (1 + g)  # at most one
    proof.equal("the largest S grows at the rate 2 X", sp.diff(size, s), 2 * X * size)
    proof.at_least_zero(
        "S itself no faster, as g <= 1", sp.together(2 * X * size - 2 * residual * X * size)
    )
    return X * (x_max * size) / 2


def _solution(proof: Derivation, s: sp.Symbol, floor: sp.Expr) -> sp.Expr:
    decay, r = sp.exp(-X * s), sp.Symbol("r", nonnegative=True)
    made = sp.integrate(sp.expand(sp.exp(-X * (s - r)) * floor.subs(s, r)), (r, 0, s))
    solution = decay + made
    proof.equal("B' = -X B + error", sp.diff(solution, s), -X * solution + floor)
    proof.equal("B starts at one", solution.subs(s, 0), 1)
    kept = decay + x_max * sp.exp(log_size + 2 * X * s) / 6
    dropped = x_max * sp.exp(log_size) * decay / 6
    proof.equal("B is the bound, less an exponential", solution, kept - dropped)
    proof.at_least_zero("which may be left out", dropped)
    return solution + dropped


if __name__ == "__main__":
    print(report(derive()))
