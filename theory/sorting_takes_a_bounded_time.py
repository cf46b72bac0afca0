r"""A neuron that starts on the right side is sorted after a bounded time.

Setting
-------
Balanced gradient flow of the logistic loss under orthogonal separability, sqrt(h) alpha < 1, before
T_G.  Signs for a neuron with v_j > 0; one with v_j < 0 is the same with all labels reversed.
x_a(u) is the sum of y_i x_i over the samples active on u = w_j/||w_j||, B = <u, x_a(u)>, and m_+
the number of samples of the neuron's own class that are active at the start.

Statement
---------
If sign(v_j) B >= 0 at the start, E_log = alpha n sqrt(h) x_max^2 W_max^2/2 < lambda x_min m_+, and
the bound is at most T_G, the neuron is sorted at

.. math:: t_1 \le \frac{1}{\beta (\lambda x_{\min} m_+ - E_{log})}

(``sorting_time``; theory.md (2.5), ours).  For all neurons at once m_+ is the smallest.  An upper
bound, and far from tight: it counts the full distance from cosine -1, and only the smallest
products.  A live neuron that starts with B >= 0 has m_+ >= 1: with m_+ = 0, B is a sum of negative
numbers.

Derivation
----------
1. u' = P x_a + e, ||e|| <= E_log (the_directional_flow_and_its_error.py).  The cosine
   c = <u, x_k>/||x_k|| has c' = <x_a, x_k>/||x_k|| - B c, up to E_log.
2. Active samples of the own class stay active (each_pair_switches_at_most_once.py), so at least m_+
   samples are active at all times, and each has y_k y_i <x_i, x_k>/||x_k|| >= lambda x_min.
3. B stays >= 0.  It is continuous where the pattern changes, because there <u, x_k> = 0; between,
   B' >= ||x_a||^2 - B^2 - E_log ||x_a||, at B = 0 equal to ||x_a|| (||x_a|| - E_log).  That is
   positive: ||x_a|| >= x_min sqrt(m + lambda m (m - 1)) (class_sums_are_long.py) >= lambda x_min m,
   for m active samples, and lambda x_min m >= lambda x_min m_+ > E_log.
4. A sample of the own class that is inactive has c <= 0, so -B c >= 0 and c rises at least with the
   speed lambda x_min m_+ - E_log; an active one of the other class has c >= 0, and c falls as fast.
5. The way is at most 1, from -1 or 1 to 0; a sample that has arrived stays where it is
   (each_pair_switches_at_most_once.py).  Time of the loss is time of the theory over beta.
6. E_log holds up to T_G only, hence the last hypothesis.

Numerical check
---------------
``Statement.check`` compares the time at which each live neuron is sorted, read off the kinks of the
flow, with the bound for its own m_+, for the neurons that start with sign(v_j) B >= 0.

References
----------
Min, Mallada, Vidal, Early neuron alignment in two-layer ReLU networks with small initialization,
ICLR 2024 (arXiv 2307.12851), who bound the time for all neurons by O(log n/sqrt(lambda)).
"""

from __future__ import annotations

import sympy as sp

from overalign.derivation import Derivation, report
from overalign.statements.quantities import QUANTITIES

n, h, x_max, x_min, W, log_alpha, lam, active, beta = (
    QUANTITIES[name].symbol
    for name in (
        *("n", "width", "x_max", "x_min", "W_max"),
        *("log_alpha", "separability", "active", "beta"),
    )
)
F = sp.exp(log_alpha) * sp.sqrt(h) * x_max * W**2
E_LOG = n * x_max * F / 2  # the_directional_flow_and_its_error.py


def derive() -> Derivation:
    """Speeds of the cosines, the sign of B, and the time for the longest way."""
    proof = Derivation("A neuron that starts on the right side is sorted after a bounded time")
    _speeds(proof)
    pull = _pull(proof)
    _right_side(proof)
    way = _ways(proof)
    proof.ends_with("sorting_time", way / (beta * (pull - E_LOG)))
    return proof


def _speeds(proof: Derivation) -> None:
    """Step 1, and the speed of B, in three dimensions with the first axis along u."""
    x_a, x_k = (sp.Matrix(sp.symbols(f"{name}_1:4", real=True)) for name in "ak")
    u = sp.Matrix([1, 0, 0])
    turned = x_a - u * u.dot(x_a)  # P x_a
    B = u.dot(x_a)
    proof.equal("c' is <x_a, x_k> - B c", turned.dot(x_k), x_a.dot(x_k) - B * u.dot(x_k))
    proof.equal("B' is ||x_a||^2 - B^2", turned.dot(x_a), x_a.dot(x_a) - B**2)


def _pull(proof: Derivation) -> sp.Expr:
    """The least that the active samples add to the speed of a cosine, without the error."""
    level, over, beyond, more = sp.symbols("lambda over beyond more", nonnegative=True)
    norm = x_min + over
    share = level * norm + beyond  # y_i y_k <x_i, x_k>/||x_k||
    proof.at_least_zero("an active sample adds at least lambda x_min", share - level * x_min)
    m = active + more
    least = active * (level * x_min)
    proof.at_least_zero("samples that become active do not hurt", m * level * x_min - least)
    return least.subs(level, lam)


def _right_side(proof: Derivation) -> None:
    """||x_a|| > E_log where B = 0, with lambda = 1/(1 + lack)."""
    level, lack, spare = sp.symbols("lambda lack spare", nonnegative=True)
    length = x_min**2 * (active + level * active * (active - 1))
    gap = length - (level * x_min * active) ** 2
    factors = x_min**2 * active * (1 - level) * (1 + level * active)
    proof.equal("||x_a||^2 - (lambda x_min m)^2 in factors", gap, factors)
    factors = sp.factor(factors.subs(level, 1 / (1 + lack)))
    proof.at_least_zero("so ||x_a|| >= lambda x_min m", factors)
    error = sp.Symbol("E", positive=True)
    longer = error + spare  # ||x_a||
    proof.at_least_zero("B rises where it is zero", sp.expand(longer**2 - error * longer))


def _ways(proof: Derivation) -> sp.Expr:
    """How far a cosine has to go, and that B >= 0 helps on the way."""
    B, size = sp.symbols("B size", nonnegative=True)
    for side, name in ((-1, "inactive sample of its class"), (1, "active sample of the other")):
        cosine = side * size
        proof.at_least_zero(f"B moves an {name} the right way", -side * (-B * cosine))
    return sp.Max(*(abs(0 - end) for end in (sp.Integer(-1), sp.Integer(1))))


if __name__ == "__main__":
    print(report(derive()))
