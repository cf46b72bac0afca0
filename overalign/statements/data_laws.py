"""How data lie: the angle of the class mean, and separability (docs/theory.md, 6)."""

from __future__ import annotations

import sympy as sp

from ..special import NoncentralFCdf, NoncentralTSurvival
from .hypotheses import ABOVE_ZERO, IN_SPACE, MIXTURE, NOT_NEGATIVE, SIGNAL, UNCONDITIONED
from .measures import laws
from .parts import Hypothesis
from .quantities import QUANTITIES as Q
from .quantities import chosen
from .statement import Statement

__all__ = ["STATEMENTS"]

kappa, sigma, d, n, n_plus, lam, phi = (
    Q[name].symbol
    for name in ("kappa", "sigma", "dimension", "n", "class_size", "separability", "phi")
)

PAIR = NoncentralFCdf((1 + lam) / (1 - lam), d, d, 2 * kappa**2 / sigma**2)
UNION = 1 - n * (n - 1) / 2 * PAIR
BELOW_ONE = Hypothesis("lambda < 1", lam < 1)


STATEMENTS = (
    Statement(
        name="class_mean_angle",
        title="The law of the class mean's angle to the signal",
        left=r"P(\angle(\bar x_+,s)\le\varphi)",
        direction="equal",
        expression=NoncentralTSurvival(
            sp.sqrt(d - 1) * sp.cot(phi), d - 1, kappa * sp.sqrt(n_plus) / sigma
        ),
        quantities=chosen("phi", "dimension", "class_size", "kappa", "sigma"),
        place="theory.md 6.1",
        provenance="ours",
        hypotheses=(
            MIXTURE,
            UNCONDITIONED,
            IN_SPACE,
            ABOVE_ZERO,
            Hypothesis("phi < pi", phi < sp.pi),
        ),
        measure=laws.class_mean_angles,
        scale="absolute",
        tolerance=0.05,
    ),
    Statement(
        name="class_mean_angle_centre",
        title="Where the class mean's angle concentrates",
        left=r"\varphi",
        direction="equal",
        expression=sp.atan(sigma * sp.sqrt(d - 1) / (kappa * sp.sqrt(n_plus))),
        quantities=chosen("dimension", "class_size", "kappa", "sigma"),
        place="theory.md 6.1",
        provenance="ours",
        hypotheses=(
            MIXTURE,
            UNCONDITIONED,
            SIGNAL,
            Hypothesis("d >= 20", d >= 20),
        ),
        measure=laws.median_class_mean_angle,
        tolerance=0.1,
    ),
    Statement(
        name="pair_violates",
        title="A pair of samples violates separability",
        left=r"P(y_iy_k\langle x_i,x_k\rangle\le\lambda\lVert x_i\rVert\lVert x_k\rVert)",
        direction="at_most",
        expression=PAIR,
        quantities=chosen("kappa", "sigma", "dimension", "separability"),
        place="theory.md 6.2",
        provenance="ours",
        hypotheses=(MIXTURE, UNCONDITIONED, NOT_NEGATIVE, BELOW_ONE),
        defaults={"separability": 0.0},
        measure=laws.violating_pairs,
        scale="absolute",
        tolerance=0.03,
    ),
    Statement(
        name="pair_violates_at_zero",
        title="The law of orthogonality of a pair",
        left=r"P(y_iy_k\langle x_i,x_k\rangle\le0)",
        direction="equal",
        expression=NoncentralFCdf(1, d, d, 2 * kappa**2 / sigma**2),
        quantities=chosen("kappa", "sigma", "dimension"),
        place="theory.md 6.2",
        provenance="ours",
        hypotheses=(MIXTURE, UNCONDITIONED),
        measure=laws.pairs_at_zero,
        scale="absolute",
        tolerance=0.05,
    ),
    Statement(
        name="sample_is_separable",
        title="A whole sample is separable",
        left=r"P(\text{orthogonally separable})",
        direction="at_least",
        expression=UNION,
        quantities=chosen("kappa", "sigma", "dimension", "separability", "n"),
        place="theory.md 6.3, union bound",
        provenance="ours",
        hypotheses=(MIXTURE, UNCONDITIONED, NOT_NEGATIVE, BELOW_ONE),
        says_nothing=Hypothesis("the bound is not positive", UNION <= 0),
        defaults={"separability": 0.0},
        measure=laws.separable_samples,
        scale="absolute",
        tolerance=0.05,
    ),
)
