r"""Which powers of n and h the optimal scale has depends on what sets the angle of the cone.

Setting
-------
The optimum is where the cone reaches theta* = q phi, phi^2 = sigma^2 (d - 1)/(n_+ kappa^2), the
small-angle form of the law of phi (the_law_of_the_class_mean_angle.py), and q in (0, 1].  n' = n
times n_ratio samples, h' = h times width_ratio neurons; kappa/sigma, d, x_max, W_max, q, the share
n_+/n and X t_1 stay as they are, and X is proportional to n_+ (at leading order kappa n_+).
c = alpha^2 for two layers (scale_and_output_multiplier_are_one_knob.py).

Statement
---------
Equalities at leading order (theory.md 5.3 and 5.4).  If theta^2 = K alpha, as at T_+,

.. math:: \log\alpha^\ast = \log\frac{q^2 \varphi^2}{K}, \qquad
   K = 4 \sqrt h\, e^{2 X \beta t_1} \quad\text{or}\quad
   K = C = \frac{4 n \sqrt h\, x_{\max}^2 W_{\max}^2}{X}

(``optimal_log_alpha``, ours, from the half-angle inequality; ``optimal_log_alpha_of_the_paper``,
reconstructed from its zeta).  Changes of log c*:

.. math::
   \text{either } K: \quad -2 \log\tfrac{n'}n - \log\tfrac{h'}h, \qquad
   \theta \propto \alpha \sqrt h: \quad -\log\tfrac{n'}n - \log\tfrac{h'}h,

.. math::
   \alpha^2 h^p \text{ fixed}: \quad -p \log\tfrac{h'}h, \qquad
   c = \alpha^L: \quad -L \log\tfrac{n'}n - \tfrac L2 \log\tfrac{h'}h

(``scaling_of_the_paper``, the paper's; ``scaling_by_the_onset``,
``scaling_by_the_initial_function``, ``scaling_with_depth``, ours).

Derivation
----------
1. tan(theta/2) <= e^{-X (t - t_1)} and theta <= 2 tan(theta/2), at
   T_+ = log(1/(sqrt(h) alpha))/(2 X): theta^2 = 4 sqrt(h) alpha e^{2 X t_1} at leading order, the
   first K.
2. 1 - psi = C alpha/2 where the transient is over and C alpha is small, and theta^2 = 2 (1 - psi):
   the second K, with C alpha = 1 - zeta.
3. Solve K alpha = q^2 phi^2.
4. Both K give alpha* a factor n_ratio^-1 width_ratio^-1/2: phi^2 falls like 1/n; the first K has no
   power of n, the second has n/X, which has none either.  c* = alpha*^2, or alpha*^L.
5. At the onset of fitting theta = b alpha sqrt(h), b without n and h: alpha* = q phi/(b sqrt(h)).
6. If the initial outputs alpha^2 h^p x_max W_max^2 decide at a fixed level, n does not enter.
   p = 1/2 for outputs of random signs, 1 for aligned ones.

That X t_1 stays as it is is an assumption: t_1 is the sorting time of the slowest of h neurons, and
grows, slowly, with h and n.  The paper's K has no t_1.

Numerical check
---------------
``Statement.check`` finds the alpha at which the bounds on the angle reach q phi, for a small q, by
root finding on their formulas.  The scaling laws take a sweep over n and h: no single problem
decides them.

References
----------
Yeom, Ha, Lee, arXiv 2602.00827, Eq. 24 and the scaling law (known from summaries).
"""

from __future__ import annotations

import sympy as sp

from overalign.derivation import Derivation, report
from overalign.statements.quantities import QUANTITIES

kappa, sigma, d, n, n_plus, h, X, x_max, W, q, t_1, beta = (
    QUANTITIES[name].symbol
    for name in (
        *("kappa", "sigma", "dimension", "n", "class_size", "width", "class_norm", "x_max"),
        *("W_max", "q", "t_1", "beta"),
    )
)
n_ratio, width_ratio, power, degree = (
    QUANTITIES[name].symbol for name in ("n_ratio", "width_ratio", "width_power", "degree")
)
alpha, level = sp.symbols("alpha level", positive=True)
signal, freedom = sp.symbols("signal freedom", positive=True)  # kappa > 0 and d - 1 > 0
PHI = sigma * sp.sqrt(freedom) / (signal * sp.sqrt(n_plus))


def derive() -> Derivation:
    """Two forms of the optimal scale, then how each rival moves with n and h."""
    proof = Derivation("The scaling law and its rivals")
    half_angle, paper = _squares(proof)
    scales = [_scale_that_reaches(square) for square in (half_angle, paper)]
    proof.ends_with("optimal_log_alpha", _in_quantities(scales[0]))
    proof.ends_with("optimal_log_alpha_of_the_paper", _in_quantities(scales[1]))
    changes = [_change(scale) for scale in scales]
    proof.equal("both forms scale alike", *changes)
    proof.ends_with("scaling_of_the_paper", 2 * changes[0])
    proof.ends_with("scaling_with_depth", degree * changes[1])
    onset = _scale_that_reaches((level * alpha * sp.sqrt(h)) ** 2)
    proof.ends_with("scaling_by_the_onset", 2 * _change(onset))
    (initial,) = sp.solve(alpha**2 * h**power * x_max * W**2 - level, alpha)
    proof.ends_with("scaling_by_the_initial_function", 2 * _change(sp.log(initial)))
    return proof


def _squares(proof: Derivation) -> tuple[sp.Expr, sp.Expr]:
    """Steps 1 and 2: theta^2 at leading order."""
    time = sp.log(1 / (sp.sqrt(h) * alpha)) / (2 * X * beta)  # T_+
    transient = (2 * sp.exp(-X * beta * (time - t_1))) ** 2
    half_angle = 4 * sp.sqrt(h) * alpha * sp.exp(2 * X * beta * t_1)
    proof.equal("theta^2 at T_+", transient, half_angle)
    angle = sp.Symbol("theta", positive=True)
    doubled = 2 * sp.tan(angle / 2)
    proof.equal("theta = 2 tan(theta/2) for small angles", sp.limit(doubled / angle, angle, 0), 1)
    proof.equal(
        "theta^2 = 2 (1 - psi) for small angles",
        sp.limit(2 * (1 - sp.cos(angle)) / angle**2, angle, 0),
        1,
    )
    lost = 4 * alpha * n * sp.sqrt(h) * x_max**2 * W**2 / X  # 1 - zeta
    misalignment = lost / (1 + sp.sqrt(1 - lost))
    paper = alpha * sp.limit(2 * misalignment / alpha, alpha, 0)
    proof.equal("2 (1 - psi) = C alpha for small alpha", paper, lost)
    return half_angle, paper


def _scale_that_reaches(square: sp.Expr) -> sp.Expr:
    """log alpha at which theta^2 is (q phi)^2."""
    power_of_alpha = sp.simplify(alpha * sp.diff(square, alpha) / square)
    factor = square / alpha**power_of_alpha
    return (2 * _log(q * PHI) - _log(factor)) / power_of_alpha


def _log(expression: sp.Expr) -> sp.Expr:
    return sp.expand_log(sp.log(expression), force=True)


def _in_quantities(scale: sp.Expr) -> sp.Expr:
    return sp.expand(scale.subs({signal: kappa, freedom: d - 1}))


def _change(scale: sp.Expr) -> sp.Expr:
    """Of log alpha*, if samples and neurons are multiplied; X t_1 stays."""
    more = {
        n: n_ratio * n,
        n_plus: n_ratio * n_plus,
        X: n_ratio * X,
        h: width_ratio * h,
        t_1: t_1 / n_ratio,
    }
    after = scale.subs(more, simultaneous=True)
    return sp.expand(sp.expand_log(after - scale, force=True))


if __name__ == "__main__":
    print(report(derive()))
