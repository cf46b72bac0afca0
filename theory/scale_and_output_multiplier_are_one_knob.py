r"""A smaller initialisation is the same as a smaller output multiplier, at another learning rate.

Setting
-------
f(x; theta) is homogeneous of degree L in its parameters: f(alpha theta) = alpha^L f(theta), as for
L layers of ReLU neurons without biases or batch normalisation.  Training A: f from alpha theta_0 at
the rate e.  Training B: c f from theta_0 at the rate e_B.  Any loss; gradient flow, gradient
descent, or SGD with the same batches.

Statement
---------
Equalities (the paper's Proposition B.1 for L = 2; theory.md 5.1 for any L, the proof ours): the
outputs of A and B agree at all times, or after every step, for every loss, if and only if

.. math:: \log c = L \log\alpha, \qquad \log\frac{e_B}{e} = -2 \log\alpha

(``output_multiplier``, ``learning_rate_of_the_multiplier``).  For L = 2, e_B = e/c; in general
e_B = e c^{-2/L}.

Derivation
----------
1. Differentiating f(alpha theta) = alpha^L f(theta) in theta: grad f(alpha theta)
   = alpha^{L-1} grad f(theta).
2. Put theta = alpha vartheta.  One step of A, theta - e l'(f(theta)) grad f(theta), is alpha times
   vartheta - e alpha^{L-2} l'(alpha^L f(vartheta)) grad f(vartheta).
3. One step of B is vartheta - e_B c l'(c f(vartheta)) grad f(vartheta).
4. They agree for c = alpha^L and e_B c = e alpha^{L-2}, so e_B = e alpha^{-2}.  Outputs at the
   start agree only for c = alpha^L, and then the step only for this e_B (where l' and grad f are
   not zero).  Induction over the steps, or uniqueness of the flow, gives all times (in words).
5. Sums over samples are linear in these terms; the active neurons of A and B are the same, as
   alpha > 0.

Numerical check
---------------
``Statement.check`` compares outputs of random deep ReLU networks of 2, 3 and 4 layers with scaled
weights, and runs gradient descent both ways.

References
----------
Yeom, Ha, Lee, arXiv 2602.00827, Proposition B.1 (known from summaries).  Atanasov, Meterez, Simon,
Pehlevan, arXiv 2410.04642, for the same knob under the name gamma.
"""

from __future__ import annotations

import sympy as sp

from overalign.derivation import Derivation, report
from overalign.statements.quantities import QUANTITIES

degree, log_alpha = (QUANTITIES[name].symbol for name in ("degree", "log_alpha"))
alpha, rate, rate_B, c, input_ = sp.symbols("alpha e e_B c x", positive=True)
loss_slope = sp.Function("loss_slope")


def derive() -> Derivation:
    """One step of either training, for several depths, then the knobs that make them one."""
    proof = Derivation("Scale and output multiplier are one knob")
    for layers in (1, 2, 3, 4):
        _one_step(proof, layers)
    multiplier = alpha**degree
    (matched,) = sp.solve(rate_B * multiplier - rate * alpha ** (degree - 2), rate_B)
    in_c = sp.powsimp(rate * multiplier ** (-2 / degree), force=True)
    proof.equal("e_B = e c^(-2/L)", sp.powsimp(matched, force=True), in_c)
    proof.equal(
        "which is e/c for L = 2", matched.subs(degree, 2), rate / multiplier.subs(degree, 2)
    )
    scale = {alpha: sp.exp(log_alpha)}
    proof.ends_with("output_multiplier", sp.expand_log(sp.log(multiplier.subs(scale)), force=True))
    quotient = sp.powsimp(matched / rate, force=True).subs(scale)
    proof.ends_with("learning_rate_of_the_multiplier", sp.expand_log(sp.log(quotient), force=True))
    return proof


def _one_step(proof: Derivation, layers: int) -> None:
    """Steps 1 to 4 on a path of weights, which is what an active path of a ReLU network is."""
    weights = sp.symbols(f"w_1:{layers + 1}", positive=True)

    def output(parameters: tuple[sp.Expr, ...]) -> sp.Expr:
        return sp.prod(parameters) * input_

    def stepped(start: tuple[sp.Expr, ...], multiplier: sp.Expr, e: sp.Expr) -> list[sp.Expr]:
        """After one step of gradient descent on the loss of multiplier times the output."""
        value = multiplier * output(start)
        at = dict(zip(weights, start, strict=True))
        whole = multiplier * output(weights)
        slopes = [sp.diff(whole, weight).subs(at, simultaneous=True) for weight in weights]
        return [
            parameter - e * loss_slope(value) * slope
            for parameter, slope in zip(start, slopes, strict=True)
        ]

    scaled = tuple(alpha * weight for weight in weights)
    proof.equal(
        f"f(alpha theta) = alpha^{layers} f(theta), {layers} layers",
        output(scaled),
        alpha**layers * output(weights),
    )
    first = stepped(scaled, sp.Integer(1), rate)
    second = stepped(weights, alpha**layers, rate * alpha**-2)
    for k in range(layers):
        proof.equal(
            f"a step of A is alpha times one of B, layer {k + 1}", first[k], alpha * second[k]
        )
    (only,) = sp.solve(first[0] - alpha * stepped(weights, alpha**layers, rate_B)[0], rate_B)
    proof.equal(f"no other rate does, {layers} layers", only, rate / alpha**2)


if __name__ == "__main__":
    print(report(derive()))
