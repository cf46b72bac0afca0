r"""Under orthogonal separability every (neuron, sample) pair switches at most once.

Setting
-------
Gradient flow w_j' = v_j G_j with G_j = sum over samples k active on neuron j of c_k x_k,
c_k = g_k y_k, g_k > 0 (logistic or exponential loss), labels y_k = +-1, a balanced start, and
orthogonal separability: with u_i = y_i x_i,

.. math:: \lambda := \min_{i<k} \cos(u_i, u_k) > 0 .

Statement
---------
The definition (``separability_of_the_sample``, an equality; the paper's Assumption 4.1):

.. math:: \min_{i<k} y_i y_k \cos(x_i, x_k) = \lambda .

Switches (``switches_at_most_once``; theory.md 2.4): at every time at which <w_j, x_i> = 0 and some
sample is active on neuron j,

.. math:: \operatorname{sign} \frac{d}{dt} \langle w_j, x_i \rangle = y_i \operatorname{sign} v_j .

Hence a sample with y_i v_j > 0 can only switch on, one with y_i v_j < 0 only off, each at most
once; the number of kinks of a run is at most h n, no neuron slides, and the solution ends after
finitely many pieces.  Tight: the bound of one switch is attained.  Provenance: the framework of
Min, Mallada, Vidal (2024) uses it; the wording and this proof are ours.

Derivation
----------
1. y_i y_k <x_i, x_k> = <u_i, u_k> and ||u_i|| = ||x_i||, so the cosines agree pair by pair; the
   smallest of them is lambda.  Hence y_i y_k <x_i, x_k> >= lambda ||x_i|| ||x_k||.
2. On the kink, d/dt <w_j, x_i> = v_j sum over active k of g_k y_k <x_k, x_i> (in words).
3. Multiply by y_i: every term is g_k y_k y_i <x_k, x_i> >= lambda g_k ||x_k|| ||x_i|| > 0.
4. So y_i d/dt <w_j, x_i> has the sign of v_j, from either side of the kink: whether sample i
   itself counts as active changes the sum by g_i y_i^2 ||x_i||^2 >= 0.  Both sides cross: no
   sliding.
5. v_j^2 - ||w_j||^2 stays zero, so |v_j| = ||w_j||, which vanishes at no finite time because its
   logarithm has a bounded speed (in words); sign v_j is constant.
6. So the pair crosses the kink in one direction only, and its activity a in {0, 1} is monotone:
   its switches number |a(end) - a(start)|.  If no sample is active, the neuron rests (in words).

Numerical check
---------------
``Statement.check`` takes the cosines of all pairs of the sample, and counts the switches of each
pair among the kinks of the flow.  ``check()`` here shows that the hypothesis matters: at
lambda < 0 pairs of the digits 3 against 8 switch repeatedly and slide.

References
----------
Min, Mallada, Vidal, Early neuron alignment in two-layer ReLU networks with small initialization,
ICLR 2024 (arXiv 2307.12851).
"""

from __future__ import annotations

import itertools

import sympy as sp

import overalign as oa
from overalign.data import read_sample
from overalign.derivation import Derivation, report
from overalign.statements.quantities import QUANTITIES

LABELS = (-1, 1)


def derive() -> Derivation:
    """The definition, the signs on a kink, and the count."""
    proof = Derivation("Every pair of a neuron and a sample switches at most once")
    _definition(proof)
    _signs_on_a_kink(proof)
    _constant_sign(proof)
    counts = [abs(after - before) for before, after in itertools.product((0, 1), repeat=2)]
    proof.ends_with("switches_at_most_once", sp.Max(*counts))
    return proof


def _definition(proof: Derivation) -> None:
    """Of any two inputs, in the plane that they span; of three inputs, the smallest cosine."""
    x_i, x_k = (sp.Matrix(sp.symbols(f"{name}_1:3", real=True)) for name in "ik")
    cosine = x_i.dot(x_k) / (x_i.norm() * x_k.norm())
    for y_i, y_k in itertools.product(LABELS, repeat=2):
        u_i, u_k = y_i * x_i, y_k * x_k
        proof.equal(
            f"y_i y_k cos(x_i, x_k) = cos(u_i, u_k) for labels {y_i}, {y_k}",
            y_i * y_k * cosine,
            u_i.dot(u_k) / (u_i.norm() * u_k.norm()),
        )
    lam = QUANTITIES["separability"].symbol
    second, third = sp.symbols("second third", nonnegative=True)  # what other pairs have more
    proof.ends_with("separability_of_the_sample", sp.Min(lam, lam + second, lam + third))


def _signs_on_a_kink(proof: Derivation) -> None:
    g, rest, norm_i, norm_k, level, output = sp.symbols(
        "g rest norm_i norm_k lambda v", positive=True
    )
    for y_i, y_k, sign in itertools.product(LABELS, repeat=3):
        # by 1, <x_k, x_i> is y_i y_k times (lambda ||x_i|| ||x_k|| + something not negative)
        product = y_i * y_k * (level * norm_i * norm_k + rest)
        speed = sign * output * g * y_k * product
        least = output * g * level * norm_i * norm_k
        proof.at_least_zero(
            f"sample k pushes <w, x_i> towards y_i sign(v), y = ({y_i}, {y_k}), sign(v) = {sign}",
            y_i * sign * speed - least,
        )
    for y_i, sign in itertools.product(LABELS, repeat=2):
        own = sign * output * g * y_i * norm_i**2
        proof.at_least_zero(f"so does i itself, y_i = {y_i}, sign(v) = {sign}", y_i * sign * own)


def _constant_sign(proof: Derivation) -> None:
    s, output = sp.symbols("s v", real=True)
    weights, drive = (sp.Matrix(sp.symbols(f"{name}_1:4", real=True)) for name in "wG")
    moved, carried = weights + s * output * drive, output + s * weights.dot(drive)  # to order s
    speed = sp.diff(carried**2 - moved.dot(moved), s).subs(s, 0)
    proof.equal("v^2 - ||w||^2 is conserved", speed, 0)


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
    print(report(derive()))
    separable, digits = check()
    print(f"switches of one pair: at most {separable} on separable problems, {digits} on digits")
