r"""Under orthogonal separability every (neuron, sample) pair switches at most once.

Setting
-------
Gradient flow w_j' = v_j G_j with G_j = sum over samples k active on neuron j of c_k x_k,
c_k = g_k y_k, g_k > 0 (logistic or exponential loss), labels y_k = +-1, and orthogonal separability
y_i y_k <x_i, x_k> >= lambda ||x_i|| ||x_k|| for all i, k with some lambda > 0.

Statement
---------
If v_j(0) and ||w_j(0)|| are balanced, then at every time at which <w_j, x_i> = 0 and some sample is
active on neuron j,

.. math:: \operatorname{sign} \frac{d}{dt} \langle w_j, x_i \rangle = y_i \operatorname{sign} v_j .

Hence a sample with y_i v_j > 0 can only switch on, one with y_i v_j < 0 only off, each at most
once; the number of kinks of a run is at most h n, no neuron slides, and the solution ends after
finitely many pieces.  Tight: the bound of one switch is attained.  Provenance: the framework of
Min, Mallada, Vidal (2024) uses it; the wording and this proof are ours.

Derivation
----------
1. On the kink, d/dt <w_j, x_i> = v_j sum_k active g_k y_k <x_k, x_i>.
2. Multiply by y_i (y_i^2 = 1): every term is
   g_k y_k y_i <x_k, x_i> >= lambda g_k ||x_k|| ||x_i|| > 0.
3. So y_i d/dt <w_j, x_i> has the sign of v_j, from either side of the kink: whether sample i
   itself counts as active changes the sum by g_i y_i^2 ||x_i||^2 >= 0.  Both sides cross: no
   sliding.
4. Balance keeps |v_j| = ||w_j|| > 0, so sign v_j is constant and the direction of crossing of the
   pair is the same at every crossing: there is at most one.

Numerical check
---------------
``check()`` counts switches of random separable problems.  With lambda < 0 the statement is false:
pairs of the digits 3 against 8 switch repeatedly and slide.

References
----------
Min, Mallada, Vidal, Early neuron alignment in two-layer ReLU networks with small initialization,
ICLR 2024 (arXiv 2307.12851).
"""

from __future__ import annotations

import sympy as sp

import overalign as oa
from overalign.data import read_sample


def derive() -> list[str]:
    """Check the steps by computer algebra; raises ArithmeticError at a step that fails."""
    g_i, g_k, rest, norm_i, norm_k, level = sp.symbols(
        "g_i g_k rest norm_i norm_k lambda", positive=True
    )
    # <x_k, x_i> is y_i y_k (lambda ||x_i|| ||x_k|| + rest) with rest >= 0, by the assumption.
    steps = []
    for y_i in (-1, 1):
        for y_k in (-1, 1):
            product = y_i * y_k * (level * norm_i * norm_k + rest)
            term = sp.expand(y_i * g_k * y_k * product)
            _require(term.is_positive, f"step 2 for y_i={y_i}, y_k={y_k}")
        own = sp.expand(y_i * g_i * y_i * norm_i**2)
        _require(own.is_positive, f"step 3 for y_i={y_i}")
    steps.append("2: y_i c_k <x_k, x_i> > 0 for all four pairs of labels")
    steps.append("3: counting sample i itself adds a positive term: both sides cross the same way")
    t = sp.Symbol("t")
    weights, drive = (sp.Matrix(sp.symbols(f"{name}_1:4")) for name in "wG")
    output = sp.Symbol("v")
    moved, carried = weights + t * output * drive, output + t * weights.dot(drive)  # w', v' to O(t)
    balance = sp.diff(carried**2 - moved.dot(moved), t).subs(t, 0)
    _require(sp.simplify(balance) == 0, "step 4")
    steps.append("4: d/dt (v_j^2 - ||w_j||^2) = 0, so the sign of v_j is constant")
    return steps


def _require(holds: bool | None, step: str) -> None:
    if not holds:
        raise ArithmeticError(f"{step} does not hold")


def check(instances: int = 10) -> tuple[int, int]:
    """Largest number of switches of one pair: on separable problems, and on the digits 3 and 8."""
    most = 0
    for seed in range(instances):
        sample = oa.GaussianMixture(6, kappa=2.0, sigma=0.5).sample(10, seed, separability=0.0)
        network = oa.Network.random(20, 6, seed)
        for log_alpha in (-50.0, 0.0):
            most = max(most, _most_switches(sample, network, log_alpha))
    digits = read_sample("digits:3,8", n=30)
    return most, _most_switches(digits, oa.Network.random(20, 64, seed=0), -3.0)


def _most_switches(sample: oa.Sample, network: oa.Network, log_alpha: float) -> int:
    run = oa.solve(sample, network, log_alpha, oa.stop_at_risk(0.2), tolerance=1e-6)
    pairs = list(zip(run.kinks.neuron.tolist(), run.kinks.sample.tolist(), strict=True))
    return max((pairs.count(pair) for pair in set(pairs)), default=0)


if __name__ == "__main__":
    print(*derive(), sep="\n")
    separable, digits = check()
    print(f"switches of one pair: at most {separable} on separable problems, {digits} on digits")
