"""Phase 2: the effective predictor, what it inherits, and when it stops (docs/theory.md, 3)."""

from __future__ import annotations

import sympy as sp
from sympy.codegen.cfunctions import expm1

from .hypotheses import BALANCED, LABEL_LOSS, LOGISTIC, SEPARABLE, TINY_SCALE, TWO_CLASSES
from .measures import flow, small_scales
from .parts import Hypothesis
from .quantities import QUANTITIES as Q
from .quantities import chosen
from .statement import Statement

__all__ = ["STATEMENTS"]

X, x_max, x_min, n_plus = (
    Q[name].symbol for name in ("class_norm", "x_max", "x_min", "class_size")
)
lam, mu, eta, log_size = (Q[name].symbol for name in ("separability", "mu", "eta", "log_size"))
beta, t_a, log_alpha = (Q[name].symbol for name in ("beta", "t_a", "log_alpha"))
psi_min, psi_sample, theta_max, rho = (
    Q[name].symbol for name in ("psi_min", "psi_sample", "theta_max", "rho")
)

AFTER_SORTING = Hypothesis("t is at least t_1")
POSITIVE = Hypothesis("lambda > 0", lam > 0)
STOPPED_LATER = Hypothesis(
    "the stop is over the class and comes after t_a, and t_a is at least t_1"
)
BELOW_START = Hypothesis("eta is below the risk at zero output", eta < 2 * n_plus * sp.log(2))

# log S(t_eta) is between these: margins lie between S mu x_min and S x_max
LOG_SIZE_LOW = sp.log(-sp.log(expm1(eta / (2 * n_plus))) / x_max)
LOG_SIZE_HIGH = sp.log(sp.log(2 * n_plus / eta) / (mu * x_min))
RISK_GROWS = Hypothesis("eta is below 2 n_+", eta < 2 * n_plus)


STATEMENTS = (
    Statement(
        name="conic_hull",
        title="The effective predictor is as aligned as its neurons",
        left=r"\Psi(t)",
        direction="at_least",
        expression=psi_min,
        quantities=chosen("psi_min"),
        place="paper, before Theorem 5.2; theory.md 3.2",
        provenance="reconstructed",
        hypotheses=(TWO_CLASSES, Hypothesis("min psi_j >= 0 over live neurons", psi_min >= 0)),
        measure=flow.hull,
    ),
    Statement(
        name="conic_hull_after_sorting",
        title="What the conic hull gives after sorting",
        left=r"\Psi(t)",
        direction="at_least",
        expression=sp.Min(psi_min, psi_sample),
        quantities=chosen("psi_min", "psi_sample"),
        place="theory.md (3.1)",
        provenance="ours",
        hypotheses=(
            *(LABEL_LOSS, SEPARABLE, BALANCED, AFTER_SORTING),
            Hypothesis("min psi_j(t_1) >= 0", psi_min >= 0),
        ),
        measure=flow.after_sorting,
    ),
    Statement(
        name="inheritance",
        title="Phase 2 inherits phase 1 up to the spread of the residuals",
        left=r"\Psi(t)",
        direction="at_least",
        expression=sp.Min(sp.cos(theta_max), sp.sqrt((1 - rho) * (1 + rho))),
        quantities=chosen("theta_max", "rho"),
        place="paper, Theorem 5.2; theory.md (3.2)",
        provenance="reconstructed",
        hypotheses=(LABEL_LOSS, BALANCED, AFTER_SORTING, SEPARABLE),
        says_nothing=Hypothesis("the bound is negative", sp.cos(theta_max) < 0),
        measure=flow.after_sorting,
    ),
    Statement(
        name="limit_of_small_scales",
        title="Alignment at the stop tends to a functional of the data",
        left=r"\Psi(t_\eta)",
        direction="equal",
        expression=Q["Psi_limit"].symbol,
        quantities=chosen("Psi_limit"),
        place="theory.md 3.5",
        provenance="ours",
        hypotheses=(LABEL_LOSS, SEPARABLE, BALANCED, TINY_SCALE),
        measure=small_scales.limit_of_alignment,
    ),
    Statement(
        name="stopping_time_at_least",
        title="The stop does not come before",
        left=r"t_\eta",
        direction="at_least",
        expression=t_a + (LOG_SIZE_LOW - log_size) / (2 * X * beta),
        quantities=chosen("class_norm", "x_max", "class_size", "eta", "t_a", "log_size", "beta"),
        place="theory.md (3.3)",
        provenance="ours",
        hypotheses=(LOGISTIC, SEPARABLE, BALANCED, STOPPED_LATER, BELOW_START),
        says_nothing=Hypothesis("the bound is at most t_a", log_size >= LOG_SIZE_LOW),
        defaults={"beta": 1.0},
        measure=flow.stopping_times,
    ),
    Statement(
        name="stopping_time_at_most",
        title="The stop comes before",
        left=r"t_\eta",
        direction="at_most",
        expression=t_a
        + sp.log(2) / (mu * sp.sqrt(lam) * x_min * eta * beta) * (LOG_SIZE_HIGH - log_size),
        quantities=chosen(
            *("x_min", "class_size", "eta", "t_a", "log_size"), *("separability", "mu", "beta")
        ),
        place="theory.md (3.4)",
        provenance="ours",
        hypotheses=(
            LOGISTIC,
            BALANCED,
            STOPPED_LATER,
            POSITIVE,
            RISK_GROWS,
            Hypothesis("every neuron has a positive cosine to every sample of the class", mu > 0),
        ),
        defaults={"beta": 1.0},
        measure=flow.stopping_times,
    ),
    Statement(
        name="stopping_time_by_the_rate",
        title="The risk falls at least like 1/t",
        left=r"t_\eta-t_a",
        direction="at_most",
        expression=4 * sp.log(2) ** 2 / (sp.exp(log_size) * lam * x_min**2 * eta * beta),
        quantities=chosen("x_min", "eta", "log_size", "separability", "beta"),
        place="theory.md (3.5)",
        provenance="ours",
        hypotheses=(LOGISTIC, BALANCED, STOPPED_LATER, POSITIVE),
        defaults={"beta": 1.0},
        measure=flow.times_since_sorting,
    ),
    Statement(
        name="stopping_time_slope",
        title="The stopping time per unit of log(1/alpha)",
        left=r"\mathrm{d}t_\eta/\mathrm{d}\log(1/\alpha)",
        direction="equal",
        expression=1 / (X * beta),
        quantities=chosen("class_norm", "beta"),
        place="theory.md 3.6",
        provenance="ours",
        hypotheses=(LOGISTIC, BALANCED, SEPARABLE, TINY_SCALE),
        defaults={"beta": 1.0},
        measure=small_scales.slope_of_stopping_time,
    ),
)
