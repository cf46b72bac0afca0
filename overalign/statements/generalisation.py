"""Errors, over-alignment, over-fitting, and the optimum between them (docs/theory.md, 4 and 5)."""

from __future__ import annotations

from typing import Any

import sympy as sp

from .. import excess_error
from ..special import OptimalConeAngle, Phi, density
from .alignment_phase import ANGLE_AT_T_PLUS, E_LIT
from .hypotheses import ABOVE_ZERO, ACUTE, IN_SPACE, MIXTURE, SIGNAL, UNCONDITIONED
from .measures import cones, descent, laws
from .parts import Hypothesis
from .quantities import QUANTITIES as Q
from .quantities import chosen
from .statement import Provenance, Statement

__all__ = ["STATEMENTS"]

kappa, sigma, phi, theta_c, theta = (
    Q[name].symbol for name in ("kappa", "sigma", "phi", "theta_c", "theta")
)
n, h, n_plus, d, X, x_max, W = (
    Q[name].symbol
    for name in ("n", "width", "class_size", "dimension", "class_norm", "x_max", "W_max")
)
L, delta, gamma, a, q = (Q[name].symbol for name in ("lipschitz", "delta", "margin", "slope", "q"))
degree, log_alpha, t_1, beta = (Q[name].symbol for name in ("degree", "log_alpha", "t_1", "beta"))
ratio = kappa / sigma

IN_CONE = Hypothesis("w_hat lies in the cone")
AXIS_APART = Hypothesis("the axis of the cone is independent of the sample")
ORDER = Hypothesis("theta_c is of order sqrt(alpha), as at T_+")
NARROW = Hypothesis("theta_c <= pi / 2", theta_c <= sp.pi / 2)


def _error(angle: Any) -> Any:
    return Phi(-ratio * sp.cos(angle))


CLOSEST = sp.Max(0, phi - theta_c)
FARTHEST = sp.Min(sp.pi, phi + theta_c)

RADEMACHER = sp.sin(theta_c) * sp.sqrt(
    (sigma**2 * (d - 1) + kappa**2 * sp.sin(phi) ** 2) / n_plus
) + sp.sin(theta_c / 2) ** 2 * sp.sqrt((kappa**2 * sp.cos(phi) ** 2 + sigma**2) / n_plus)
# log of sigma^2 (d - 1) / (n_+ kappa^2); in parts, because squares may leave float64
PHI_SQUARED = 2 * sp.log(sigma) - 2 * sp.log(kappa) + sp.log(d - 1) - sp.log(n_plus)
LARGEST_SLOPE = ratio * sp.sin(phi) * density(ratio * sp.cos(phi))
LIPSCHITZ = sp.sqrt(2 / sp.pi) * ratio * sp.sin(phi) * sp.sin(theta_c)
MARGIN_BOUND = 2 / gamma * RADEMACHER + sigma / gamma * sp.sqrt(2 * sp.log(1 / delta) / n_plus)
SMALL_PHI = sp.exp(PHI_SQUARED / 2)
CONCENTRATION = L * sigma * sp.sqrt(2 * sp.log(2 / delta) / n_plus)


n_ratio, width_ratio, width_power = (
    Q[name].symbol for name in ("n_ratio", "width_ratio", "width_power")
)
_BOTH = ("n_ratio", "width_ratio")
_SCALING_LAWS: tuple[tuple[str, str, Any, tuple[str, ...], str, Provenance], ...] = (
    (
        "scaling_of_the_paper",
        "c* falls like n^-2 h^-1",
        -2 * sp.log(n_ratio) - sp.log(width_ratio),
        _BOTH,
        "paper, scaling law; theory.md 5.3",
        "paper",
    ),
    (
        "scaling_by_the_onset",
        "c* falls like n^-1 h^-1, if the angle at the onset of fitting decides",
        -sp.log(n_ratio) - sp.log(width_ratio),
        _BOTH,
        "theory.md 5.4",
        "ours",
    ),
    (
        "scaling_by_the_initial_function",
        "c* does not depend on n, if the initial function decides",
        -sp.log(width_ratio) * width_power,
        ("width_ratio", "width_power"),
        "theory.md 5.4",
        "ours",
    ),
    (
        "scaling_with_depth",
        "c* = (alpha*)^L for a network of degree L",
        -degree * sp.log(n_ratio) - degree / 2 * sp.log(width_ratio),
        (*_BOTH, "degree"),
        "theory.md 5.4",
        "ours",
    ),
)

_OPTIMUM = (
    *("q", "kappa", "sigma", "dimension", "class_size", "width", "class_norm", "t_1", "beta"),
)
_OPTIMUM_PAPER = (
    *("q", "kappa", "sigma", "n", "dimension", "class_size", "width", "class_norm"),
    *("x_max", "W_max"),
)
_IN_ALPHA = tuple(
    Q[name].symbol
    for name in (
        *("q", "kappa", "sigma", "dimension", "class_size", "n", "width", "class_norm"),
        *("x_max", "W_max", "log_alpha", "t_1", "beta"),
    )
)
_PSI = {"Psi": ("theta_c", sp.acos)}

STATEMENTS = (
    Statement(
        name="direction_error",
        title="Error of a direction",
        left="E(v)",
        direction="equal",
        expression=_error(theta),
        quantities=chosen("kappa", "sigma", "theta"),
        place="theory.md 4.1",
        provenance="ours",
        hypotheses=(MIXTURE,),
        measure=laws.errors_of_directions,
        scale="absolute",
        tolerance=0.03,
    ),
    Statement(
        name="over_alignment",
        title="Over-alignment",
        left=r"\mathrm{OA}",
        direction="equal",
        expression=_error(CLOSEST) - Phi(-ratio),
        quantities=chosen("kappa", "sigma", "phi", "theta_c"),
        place="paper, Theorem 5.5; theory.md (4.1)",
        provenance="ours",
        hypotheses=(MIXTURE,),
        given_as=_PSI,
        numeric=excess_error.over_alignment,
        measure=cones.least_errors,
        floor=1e-12,
    ),
    Statement(
        name="distance_to_the_cone",
        title="OA is zero where the cone holds the signal",
        left=r"\angle(s,H)",
        direction="equal",
        expression=CLOSEST,
        quantities=chosen("phi", "theta_c"),
        place="paper, break condition; theory.md 4.1",
        provenance="ours",
        given_as=_PSI,
        hypotheses=(MIXTURE,),
        measure=cones.distances,
        scale="absolute",
        tolerance=1e-8,
    ),
    Statement(
        name="over_alignment_slope",
        title="Over-alignment falls as the cone opens",
        left=r"\mathrm{d}\,\mathrm{OA}/\mathrm{d}\theta_c",
        direction="equal",
        expression=-ratio * sp.sin(phi - theta_c) * density(ratio * sp.cos(phi - theta_c)),
        quantities=chosen("kappa", "sigma", "phi", "theta_c"),
        place="paper, Theorem 5.5; theory.md 4.1",
        provenance="ours",
        hypotheses=(MIXTURE, Hypothesis("theta_c < phi", theta_c < phi)),
        given_as=_PSI,
        measure=cones.slopes,
        tolerance=1e-4,
    ),
    Statement(
        name="over_fitting_at_most",
        title="Over-fitting is at most the spread of errors in the cone",
        left=r"\mathrm{OF}",
        direction="at_most",
        expression=_error(FARTHEST) - _error(CLOSEST),
        quantities=chosen("kappa", "sigma", "phi", "theta_c"),
        place="theory.md (4.2), B1",
        provenance="ours",
        hypotheses=(MIXTURE, IN_CONE),
        given_as=_PSI,
        numeric=excess_error.over_fitting_in_cone,
        measure=cones.over_fittings,
    ),
    Statement(
        name="over_fitting_lipschitz",
        title="Over-fitting is at most proportional to sin(theta_c)",
        left=r"\mathrm{OF}",
        direction="at_most",
        expression=LIPSCHITZ,
        quantities=chosen("kappa", "sigma", "phi", "theta_c"),
        place="theory.md (4.2), B1 for a narrow cone",
        provenance="ours",
        hypotheses=(
            MIXTURE,
            IN_CONE,
            Hypothesis("theta_c <= phi", theta_c <= phi),
            Hypothesis("phi + theta_c <= pi", phi + theta_c <= sp.pi),
        ),
        says_nothing=Hypothesis("the bound is at least 1", LIPSCHITZ >= 1),
        given_as=_PSI,
        measure=cones.over_fittings,
    ),
    Statement(
        name="rademacher_complexity",
        title="Rademacher complexity of a cone",
        left=r"\mathrm{Rad}(H)",
        direction="at_most",
        expression=RADEMACHER,
        quantities=chosen("kappa", "sigma", "phi", "theta_c", "dimension", "class_size"),
        place="theory.md (4.3), B2",
        provenance="ours",
        hypotheses=(MIXTURE, AXIS_APART, UNCONDITIONED, NARROW),
        says_nothing=Hypothesis(
            "the whole sphere has no more",
            sp.sqrt((kappa**2 + sigma**2 * d) / n_plus) <= RADEMACHER,
        ),
        given_as=_PSI,
        measure=laws.complexities,
        tolerance=0.02,
    ),
    Statement(
        name="over_fitting_concentration",
        title="Over-fitting by uniform deviation on the cone: g(alpha)",
        left=r"\mathrm{OF}_\ell-[\hat R(\hat v)-\hat R(v^\ast)]",
        direction="at_most",
        expression=2 * (2 * L * RADEMACHER + CONCENTRATION),
        quantities=chosen(
            *("kappa", "sigma", "phi", "theta_c", "dimension", "class_size"),
            *("lipschitz", "delta"),
        ),
        place="paper, Theorem 5.6; theory.md (4.4), B2",
        provenance="reconstructed",
        hypotheses=(MIXTURE, AXIS_APART, UNCONDITIONED, NARROW),
        defaults={"lipschitz": 1.0, "delta": 0.05},
        given_as=_PSI,
        short={r"\overline{\mathrm{Rad}}": RADEMACHER},
        measure=laws.uniform_deviations,
    ),
    Statement(
        name="margin_bound",
        title="Error by the margin",
        left=r"E(\hat w)",
        direction="at_most",
        expression=MARGIN_BOUND,
        quantities=chosen(
            *("kappa", "sigma", "phi", "theta_c", "dimension", "class_size", "margin", "delta")
        ),
        place="theory.md 4.2, B3",
        provenance="ours",
        hypotheses=(
            MIXTURE,
            AXIS_APART,
            UNCONDITIONED,
            NARROW,
            Hypothesis("the margin is fixed before the data, and reached by every sample"),
        ),
        says_nothing=Hypothesis("the bound is at least 1", MARGIN_BOUND >= 1),
        defaults={"delta": 0.05},
        given_as=_PSI,
        short={r"\overline{\mathrm{Rad}}": RADEMACHER},
        measure=laws.margin_errors,
    ),
    Statement(
        name="typical_error",
        title="Mean error of the directions at an angle to the class mean",
        left=r"\mathbb E[E(\hat w)]",
        direction="equal",
        expression=Phi(-ratio * sp.cos(phi) * sp.cos(theta)),
        quantities=chosen("kappa", "sigma", "phi", "theta", "dimension"),
        place="theory.md 4.2, B4",
        provenance="ours",
        hypotheses=(
            MIXTURE,
            Hypothesis("the direction's azimuth about the class mean is uniform"),
            Hypothesis("d is at least 10", d >= 10),
            Hypothesis(
                "d is large: (kappa/sigma sin(phi) sin(theta))^2 <= (d - 1) / 25",
                (ratio * sp.sin(phi) * sp.sin(theta)) ** 2 <= (d - 1) / 25,
            ),
        ),
        measure=cones.typical_errors,
        scale="absolute",
        tolerance=0.01,
    ),
    Statement(
        name="largest_slope",
        title="An interior optimum of OA + a sin(theta) needs a smaller slope a than this",
        left=r"\sup_{\theta\le\pi/2}(\mathrm{OA}(0)-\mathrm{OA}(\theta))/\sin\theta",
        direction="equal",
        expression=LARGEST_SLOPE,
        quantities=chosen("kappa", "sigma", "phi"),
        place="paper, Eq. 24; theory.md (5.1)",
        provenance="ours",
        hypotheses=(
            MIXTURE,
            *(ABOVE_ZERO, ACUTE),
            SIGNAL,
        ),
        measure=cones.largest_slopes,
        tolerance=1e-3,
    ),
    Statement(
        name="optimal_cone_angle",
        title="The cone angle up to pi / 2 that minimises OA + a sin(theta)",
        left=r"\theta^\ast",
        direction="equal",
        expression=OptimalConeAngle(ratio, phi, a),
        quantities=chosen("kappa", "sigma", "phi", "slope"),
        place="paper, Eq. 24; theory.md 5.2",
        provenance="ours",
        hypotheses=(
            MIXTURE,
            *(ABOVE_ZERO, ACUTE),
            Hypothesis("a > 0", a > 0),
            Hypothesis("a is below the largest slope, (5.1)", a < LARGEST_SLOPE),
        ),
        measure=cones.optimal_angle(LARGEST_SLOPE / 2, (kappa, sigma, phi)),
        tolerance=1e-3,
    ),
    Statement(
        name="class_mean_is_optimal",
        title="No rule that sees one class beats its mean, on average",
        left=r"\mathbb E[E(v)-E(\bar x_+)]/\mathbb E[E(\bar x_+)]",
        direction="at_least",
        expression=sp.Integer(0),
        quantities=(),
        place="theory.md 4.3",
        provenance="ours",
        hypotheses=(
            *(MIXTURE, UNCONDITIONED),
            Hypothesis("s is uniform on the sphere, or the rule commutes with rotations"),
        ),
        measure=laws.same_class_rules,
        scale="absolute",
        tolerance=0.02,
    ),
    Statement(
        name="optimal_log_alpha",
        title="The scale at which the cone reaches q phi",
        left=r"\log\alpha^*",
        direction="equal",
        expression=PHI_SQUARED + 2 * sp.log(q) - sp.log(4 * sp.sqrt(h)) - 2 * X * beta * t_1,
        quantities=chosen(*_OPTIMUM),
        place="theory.md 5.3, half-angle form",
        provenance="ours",
        hypotheses=(
            MIXTURE,
            SIGNAL,
            IN_SPACE,
            ORDER,
        ),
        defaults={"beta": 1.0, "q": 1.0},
        measure=cones.scale_that_reaches(ANGLE_AT_T_PLUS, q * SMALL_PHI, _IN_ALPHA),
        scale="log",
        tolerance=1e-2,
    ),
    Statement(
        name="optimal_log_alpha_of_the_paper",
        title="The scale at which the cone reaches q phi, by the paper's zeta",
        left=r"\log\alpha^*",
        direction="equal",
        expression=PHI_SQUARED
        + 2 * sp.log(q)
        + sp.log(X)
        - sp.log(4 * n * sp.sqrt(h))
        - 2 * sp.log(x_max)
        - 2 * sp.log(W),
        quantities=chosen(*_OPTIMUM_PAPER),
        place="paper, Eq. 24; theory.md 5.3",
        provenance="reconstructed",
        hypotheses=(
            MIXTURE,
            SIGNAL,
            IN_SPACE,
            ORDER,
        ),
        defaults={"q": 1.0},
        measure=cones.scale_that_reaches(sp.sqrt(E_LIT / X), q * SMALL_PHI, _IN_ALPHA),
        scale="log",
        tolerance=1e-2,
    ),
    *(
        Statement(
            name=name,
            title=title,
            left=r"\log\frac{c^\ast(n',h')}{c^\ast(n,h)}",
            direction="equal",
            expression=expression,
            quantities=chosen(*names),
            place=place,
            provenance=provenance,
            hypotheses=(
                Hypothesis(
                    "kappa / sigma, d, n_+ / n, x_max, W_max, q and X t_1 stay as they are, "
                    "and X grows like n"
                ),
            ),
        )
        for name, title, expression, names, place, provenance in _SCALING_LAWS
    ),
    Statement(
        name="output_multiplier",
        title="Scale of the initialisation and output multiplier are one knob",
        left=r"\log c",
        direction="equal",
        expression=degree * log_alpha,
        quantities=chosen("degree", "log_alpha"),
        place="paper, Proposition B.1; theory.md 5.1",
        provenance="paper",
        hypotheses=(Hypothesis("the network is homogeneous of this degree"),),
        defaults={"degree": 2.0},
        measure=descent.multipliers,
        scale="log",
        tolerance=1e-9,
    ),
    Statement(
        name="learning_rate_of_the_multiplier",
        title="The learning rate that goes with the output multiplier",
        left=r"\log(e_B/e)",
        direction="equal",
        expression=-2 * log_alpha,
        quantities=chosen("log_alpha"),
        place="paper, Proposition B.1 for L = 2; theory.md 5.1 for any L",
        provenance="ours",
        hypotheses=(Hypothesis("the network is homogeneous"),),
        measure=descent.rates,
        scale="log",
        tolerance=1e-6,
    ),
)
