r"""The closed forms on which the flow solver stands.

Setting
-------
One neuron (w, v) under w' = v G, v' = <w, G>, first with constant G, gamma = ||G|| and
a = <w, G>/gamma.

Statement
---------
(1) Frozen flow: with A = (v + a)/2, B = (v - a)/2,

.. math:: v(t) = A e^{\gamma t} + B e^{-\gamma t}, \qquad
          w(t) = w(0) + \sigma(t) G, \quad
          \sigma(t) = \frac{e^{\gamma t} - 1}{\gamma} (A + B e^{-\gamma t}).

(2) Crossing: sigma(t) = s is solved by gamma t = 2 artanh(u),
u = s gamma / (v + sqrt(v^2 + s gamma (s gamma + 2 a))), for v > 0.

(3) Corner: where neuron j changes its pattern, the speed of output i jumps by
v_j^2 (1[i active after] <G_after, x_i> - 1[i active before] <G_before, x_i>).

(4) Magnus averages: two frozen flows of half a substep each with c = B0 - 4 B1, then B0 + 4 B1,
B0 = int c dt / h, B1 = int (t - middle) c dt / h^2, agree with the fourth-order Magnus expansion
exp(h B0 + h^2 [B1, B0]) up to O(h^5).  For c = (t - when)_+ and u = (end - when)/h:
B0 = h u^2/2, B1 = h (u^2/4 - u^3/6).

Derivation
----------
Machine-checked below: (1) by differentiation, (2) by substitution, (3) from the product rule,
(4) by expanding the exponentials of non-commuting symbols.

Numerical check
---------------
The tests compare whole trajectories with an independent kink-splitting integrator.

References
----------
Blanes, Moan, Fourth- and sixth-order commutator-free Magnus integrators for linear and non-linear
dynamical systems, Applied Numerical Mathematics 56 (2006).  (1), (2), (3) are ours.
"""

from __future__ import annotations

import sympy as sp


def derive() -> list[str]:
    """Check (1) to (4) by computer algebra; raises ArithmeticError at a step that fails."""
    _frozen_flow()
    _crossing()
    _corner()
    _magnus()
    _corner_moments()
    return [
        "1: the frozen flow satisfies v' = <w, G> and w' = v G",
        "2: the crossing time inverts sigma",
        "3: the speed of an output jumps by the stated amount",
        "4: the product of the two exponentials matches the Magnus expansion through h^4",
        "4: the moments of a corner",
    ]


def _require_zero(expression: sp.Expr, step: str) -> None:
    if sp.simplify(expression) != 0:
        raise ArithmeticError(f"{step}: {expression} is not zero")


def _frozen_flow() -> None:
    t, gamma = sp.symbols("t gamma", positive=True)
    v0, a0 = sp.symbols("v a", real=True)
    growing, shrinking = (v0 + a0) / 2, (v0 - a0) / 2
    v = growing * sp.exp(gamma * t) + shrinking * sp.exp(-gamma * t)
    sigma = (sp.exp(gamma * t) - 1) / gamma * (growing + shrinking * sp.exp(-gamma * t))
    along = a0 * gamma + sigma * gamma**2  # <w, G>
    _require_zero(sp.expand(sp.diff(sigma, t) - v), "1: w' = v G")
    _require_zero(sp.expand(sp.diff(v, t) - along), "1: v' = <w, G>")
    _require_zero(v.subs(t, 0) - v0, "1: start")


def _crossing() -> None:
    s, gamma, v, a, u = sp.symbols("s gamma v a u", positive=True)
    # with u = tanh(gamma t / 2): sinh = 2 u/(1 - u^2), cosh - 1 = 2 u^2/(1 - u^2)
    sigma = (2 * u * v + 2 * u**2 * a) / (gamma * (1 - u**2))
    root = sp.sqrt(v**2 + s * gamma * (s * gamma + 2 * a))
    equation = sp.together(sigma - s).as_numer_denom()[0]
    _require_zero(sp.expand(equation.subs(u, s * gamma / (v + root))), "2: crossing")


def _corner() -> None:
    t = sp.Symbol("t")
    v, z = sp.Function("v")(t), sp.Function("z")(t)
    speed, slope = sp.symbols("speed slope")  # v' = <w, G> and <G, x_i>
    share = sp.diff(v * z, t).subs({sp.diff(v, t): speed, sp.diff(z, t): v * slope})
    jump = v**2 * slope  # what the output loses when z = 0 leaves the sum, or gains
    _require_zero(sp.expand(share - speed * z - jump), "3: speed of one term")


def _magnus() -> None:
    h = sp.Symbol("h")
    zeroth, first = sp.symbols("B0 B1", commutative=False)
    left = _exponential(h / 2 * (zeroth + 4 * first))
    right = _exponential(h / 2 * (zeroth - 4 * first))
    magnus = _exponential(h * zeroth + h**2 * (first * zeroth - zeroth * first))
    # B1 is of order h (it vanishes for constant c): count it as one power of h.
    scaled = sp.expand((left * right - magnus).subs(first, h * sp.Symbol("C", commutative=False)))
    for order in range(5):
        _require_zero(scaled.coeff(h, order), f"4: order {order}")


def _exponential(generator: sp.Expr) -> sp.Expr:
    """Series of exp through the fourth power: enough for the terms through h^4."""
    power: sp.Expr = sp.Integer(1)
    total: sp.Expr = sp.Integer(1)
    for k in range(1, 5):
        power = sp.expand(power * generator)
        total += power / sp.factorial(k)
    return sp.expand(total)


def _corner_moments() -> None:
    t, h, u = sp.symbols("t h u", positive=True)
    when = h * (1 - u)
    zeroth = sp.integrate(t - when, (t, when, h)) / h
    first = sp.integrate((t - when) * (t - h / 2), (t, when, h)) / h**2
    _require_zero(zeroth - h * u**2 / 2, "4: zeroth moment")
    _require_zero(sp.expand(first - h * (u**2 / 4 - u**3 / 6)), "4: first moment")


if __name__ == "__main__":
    print(*derive(), sep="\n")
