r"""The imbalance of a neuron is conserved, and so is a Gram matrix of sorted neurons.

Setting
-------
Gradient flow of f(x) = sum_j v_j relu <w_j, x>: w_j' = v_j G_j and v_j' = <w_j, G_j>, where G_j is
the sum of c_i x_i over the samples active on neuron j, c_i = -dloss/df(x_i) (any differentiable
loss). Neurons j, k that are sorted into one class have the same active samples, so G_j = G_k.

Statement
---------
Equalities (theory.md 1.2 and 3.4).  The first (``balancedness``; in the paper, with a balanced
start) holds for any data, the second (``gram_conservation``; ours) needs a balanced start,
|v_j| = ||w_j||, and two neurons of one class that have the same active samples from t_1 on:

.. math:: \frac{v_j^2 - \lVert w_j\rVert^2}{v_j^2 + \lVert w_j\rVert^2}(t) = \delta_j(0)\, e^{-r},
          \qquad 1 - \cos(w_j, w_k)(t) = g(t_1)\, e^{-r},

where e^r is the factor by which the size v_j^2 + ||w_j||^2 has grown since the start, or
||w_j|| ||w_k|| since t_1.

Derivation
----------
1. d/dt (v_j^2 - ||w_j||^2) = 2 v_j <w_j, G_j> - 2 <w_j, v_j G_j> = 0.  At a kink G_j jumps, but
   v_j and w_j do not (in words).
2. So the quotient changes through its denominator alone, which has grown by e^r.
3. d/dt (<w_j, w_k> - v_j v_k) = 0 where G_j = G_k.
4. With a balanced start 1 makes v_j v_k = ||w_j|| ||w_k|| (the signs agree within a class, and are
   constant), so <w_j, w_k> - v_j v_k = -||w_j|| ||w_k|| (1 - cos(w_j, w_k)): that product is
   conserved while ||w_j|| ||w_k|| has grown by e^r.

3 fails for neurons with different active samples; that is why 1 - cos is followed from t_1 on.

Numerical check
---------------
``Statement.check`` measures both left sides on the flow, of every neuron and of pairs of sorted
neurons of a class, and compares them with the start times e^-r.

References
----------
Du, Hu, Lee, Algorithmic regularization in learning deep homogeneous models: layers are
automatically balanced, NeurIPS 2018 (arXiv 1806.00900).
"""

from __future__ import annotations

import sympy as sp

from overalign.derivation import Derivation, report
from overalign.statements.quantities import QUANTITIES

imbalance, gap, log_growth = (
    QUANTITIES[name].symbol for name in ("imbalance", "gap", "log_growth")
)


def derive() -> Derivation:
    """Both laws, from the product rule."""
    proof = Derivation("Imbalances are conserved, and so is a Gram matrix of sorted neurons")
    drive = sp.Matrix(sp.symbols("G_1:4", real=True))
    _balance(proof, drive)
    _gram_matrix(proof, drive)
    return proof


def _moved(name: str, drive: sp.Matrix, s: sp.Symbol) -> tuple[sp.Matrix, sp.Expr]:
    """(w, v) a short time s later, to first order."""
    weights = sp.Matrix(sp.symbols(f"w{name}_1:4", real=True))
    output = sp.Symbol(f"v{name}", real=True)
    return weights + s * output * drive, output + s * weights.dot(drive)


def _balance(proof: Derivation, drive: sp.Matrix) -> None:
    s = sp.Symbol("s")
    weights, output = _moved("j", drive, s)
    speed = sp.diff(output**2 - weights.dot(weights), s).subs(s, 0)
    proof.equal("v^2 - ||w||^2 has no speed", speed, 0)
    size = sp.Symbol("size", positive=True)  # v^2 + ||w||^2 at the start
    excess = imbalance * size  # v^2 - ||w||^2, always
    proof.ends_with("balancedness", excess / (size * sp.exp(log_growth)))


def _gram_matrix(proof: Derivation, drive: sp.Matrix) -> None:
    s = sp.Symbol("s")
    (w_j, v_j), (w_k, v_k) = _moved("j", drive, s), _moved("k", drive, s)
    speed = sp.diff(w_j.dot(w_k) - v_j * v_k, s).subs(s, 0)
    proof.equal("<w_j, w_k> - v_j v_k has no speed under a common drive", speed, 0)
    r_j, r_k, cosine = sp.symbols("r_j r_k cosine", real=True)
    conserved = r_j * r_k * (1 - cosine)
    for sign in (1, -1):
        proof.equal(
            f"it is -||w_j|| ||w_k|| (1 - cos) where both v have the sign {sign}",
            r_j * r_k * cosine - (sign * r_j) * (sign * r_k),
            -conserved,
        )
    at_start = conserved.subs(cosine, 1 - gap)
    proof.ends_with("gram_conservation", at_start / (r_j * r_k * sp.exp(log_growth)))


if __name__ == "__main__":
    print(report(derive()))
