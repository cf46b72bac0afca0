"""Phase 1: neurons align before they fit (docs/theory.md, sections 1 and 2)."""

from __future__ import annotations

from typing import Any

import sympy as sp

from .hypotheses import (
    BALANCED,
    IN_CLASS,
    LABEL_LOSS,
    LOGISTIC,
    SEPARABLE,
    SORTED,
    TINY_SCALE,
    TWO_CLASSES,
)
from .measures import flow, small_scales
from .parts import Hypothesis
from .quantities import QUANTITIES as Q
from .quantities import chosen
from .statement import Provenance, Statement

__all__ = ["STATEMENTS"]

n, h, X, x_max, x_min, W = (
    Q[name].symbol for name in ("n", "width", "class_norm", "x_max", "x_min", "W_max")
)
log_alpha, beta, t, t_1 = (Q[name].symbol for name in ("log_alpha", "beta", "time", "t_1"))
lam, n_plus, G, m_plus = (
    Q[name].symbol for name in ("separability", "class_size", "largest_class_norm", "active")
)
alpha = sp.exp(log_alpha)

# F bounds every output up to the end of the window
LOG_F = log_alpha + sp.log(h) / 2 + sp.log(x_max) + 2 * sp.log(W)
F = alpha * sp.sqrt(h) * x_max * W**2
folds = -log_alpha - sp.log(h) / 2  # log(1 / (sqrt(h) alpha))

SMALL = Hypothesis("sqrt(h) alpha < 1", folds > 0)
TURNING = Hypothesis("some live neuron of the class is not along its mean at t_1, in the limit")
SAME_PATTERN = Hypothesis("both neurons are of one class and sorted")
TINY_LEVEL = Hypothesis("alpha and the output go to zero, output^(3/2) << alpha << output^(1/2)")
IN_WINDOW = Hypothesis("t <= T_G (`longer_window`)")


E_LIT = 4 * alpha * n * sp.sqrt(h) * x_max**2 * W**2
E_LOG = E_LIT / 8
E_CLS = sp.tanh(F / 2) * X

# zeta = 1 - E / X; that of a class written without a difference: 1 - tanh(F / 2)
ZETA_LIT, ZETA_LOG, ZETA_CLS = 1 - E_LIT / X, 1 - E_LOG / X, 2 / (1 + sp.exp(F))


def _riccati(zeta: Any) -> Any:
    """sqrt(zeta) tanh(sqrt(zeta) X beta (t - t_1))."""
    root = sp.sqrt(zeta)
    return root * sp.tanh(root * X * beta * (t - t_1))


# (1 - sqrt(zeta)) + 2 sqrt(zeta) e^(-2A); the first part without its difference
_MISALIGNMENT = E_LIT / X / (1 + sp.sqrt(ZETA_LIT)) + 2 * sp.sqrt(ZETA_LIT) * sp.exp(
    -2 * sp.sqrt(ZETA_LIT) * X * beta * (t - t_1)
)

ERROR_QUANTITIES = ("width", "x_max", "W_max", "log_alpha")
WINDOW_QUANTITIES = ("largest_class_norm", *ERROR_QUANTITIES, "beta")
_OF_ALIGNMENT = ("width", "class_norm", "x_max", "W_max", "log_alpha", "time", "t_1", "beta")


def _alignment(name: str, title: str, zeta: Any, provenance: Provenance, place: str) -> Statement:
    names = ("n", *_OF_ALIGNMENT) if n in zeta.free_symbols else _OF_ALIGNMENT
    loss = LABEL_LOSS if zeta is ZETA_LIT else LOGISTIC
    return Statement(
        name=name,
        title=title,
        left=r"\psi_j(t)",
        direction="at_least",
        expression=_riccati(zeta),
        quantities=chosen(*names),
        place=place,
        provenance=provenance,
        hypotheses=(
            *(loss, SEPARABLE, BALANCED, SORTED, IN_WINDOW),
            *(SMALL, *((Hypothesis("zeta > 0", zeta > 0),) if zeta is not ZETA_CLS else ())),
        ),
        says_nothing=Hypothesis("t is t_1: the bound is 0, as for any sorted neuron", t <= t_1),
        defaults={"beta": 1.0},
        short={"F": F} if zeta is ZETA_CLS else {r"\zeta": zeta},
        measure=flow.cosines,
    )


_HALF_ANGLE = (
    sp.exp(-X * beta * (t - t_1))
    + x_max * sp.exp(Q["log_size"].symbol + 2 * X * beta * (t - t_1)) / 6
)
# one exponent for each term: factors alone may leave float64
ANGLE_AT_T_PLUS = (
    2 * sp.exp(X * beta * t_1 + log_alpha / 2 + sp.log(h) / 4)
    + sp.exp(LOG_F + F * X * beta * t_1) / 3
)
# what is left to turn, and how long the bound (2.5) takes
_SORTED_BY = 1 / (beta * (lam * x_min * m_plus - E_LOG))
_WINDOW = folds / (2 * (1 + sp.tanh(F / 2)) * G * beta)

STATEMENTS = (
    Statement(
        name="class_norm_at_least",
        title="The class sum is long",
        left=r"\lVert x_+\rVert",
        direction="at_least",
        expression=x_min * sp.sqrt(n_plus + lam * n_plus * (n_plus - 1)),
        quantities=chosen("class_size", "x_min", "separability"),
        place="theory.md 1.1",
        provenance="ours",
        hypotheses=(
            TWO_CLASSES,
            Hypothesis("pairs of the class have cosines >= lambda >= 0", lam >= 0),
        ),
        measure=flow.class_norms,
        tolerance=1e-12,
    ),
    Statement(
        name="class_norm_at_most",
        title="The class sum is no longer than its parts",
        left=r"\lVert x_+\rVert",
        direction="at_most",
        expression=n_plus * x_max,
        quantities=chosen("class_size", "x_max"),
        place="theory.md 1.1",
        provenance="ours",
        measure=flow.class_norms,
        hypotheses=(TWO_CLASSES,),
        tolerance=1e-12,
    ),
    Statement(
        name="separability_of_the_sample",
        title="Orthogonal separability",
        left=r"\min_{i<k}y_iy_k\cos(x_i,x_k)",
        direction="equal",
        expression=lam,
        quantities=chosen("separability"),
        place="paper, Assumption 4.1; theory.md 1.1",
        provenance="paper",
        measure=flow.separability,
        scale="absolute",
        tolerance=1e-12,
    ),
    Statement(
        name="balancedness",
        title="The imbalance of a neuron is conserved",
        left=r"\frac{v_j^2-\lVert w_j\rVert^2}{v_j^2+\lVert w_j\rVert^2}(t)",
        direction="equal",
        expression=Q["imbalance"].symbol * sp.exp(-Q["log_growth"].symbol),
        quantities=chosen("imbalance", "log_growth"),
        place="theory.md 1.2 and 3.4",
        provenance="paper",
        measure=flow.imbalance,
        scale="absolute",
    ),
    Statement(
        name="gram_conservation",
        title="Sorted neurons of a class close up like one over the product of their norms",
        left=r"1-\cos(w_j,w_k)(t)",
        direction="equal",
        expression=Q["gap"].symbol * sp.exp(-Q["log_growth"].symbol),
        quantities=chosen("gap", "log_growth"),
        place="theory.md 3.4",
        provenance="ours",
        hypotheses=(LABEL_LOSS, SEPARABLE, BALANCED, SAME_PATTERN),
        measure=flow.closing_pairs,
        tolerance=1e-5,
    ),
    Statement(
        name="switches_at_most_once",
        title="Each pair of a neuron and a sample switches at most once",
        left=r"\text{switches of a pair}",
        direction="at_most",
        expression=sp.Integer(1),
        quantities=(),
        place="theory.md 2.4",
        provenance="ours",
        hypotheses=(LABEL_LOSS, SEPARABLE, BALANCED),
        measure=flow.switches,
    ),
    Statement(
        name="norm_growth",
        title="A neuron grows no faster than the class sum lets it",
        left=r"\log\lVert w_j(t)\rVert",
        direction="at_most",
        expression=log_alpha + sp.log(W) + 2 * beta * t * X,
        quantities=chosen("class_norm", "W_max", "log_alpha", "time", "beta"),
        place="theory.md 2.1, Lemma 1",
        provenance="ours",
        hypotheses=(LOGISTIC, BALANCED, IN_CLASS),
        defaults={"beta": 1.0},
        measure=flow.log_norms,
        scale="log",
    ),
    Statement(
        name="norm_in_the_window",
        title="Norms stay small up to the end of the window",
        left=r"\log\max_j\lVert w_j(t)\rVert",
        direction="at_most",
        expression=sp.log(W) + log_alpha / 2 - sp.log(h) / 4,
        quantities=chosen("width", "W_max", "log_alpha"),
        place="theory.md (2.1)",
        provenance="ours",
        hypotheses=(LOGISTIC, BALANCED, SEPARABLE, SMALL, IN_WINDOW),
        measure=flow.largest_log_norm,
        scale="log",
    ),
    Statement(
        name="output_in_the_window",
        title="Outputs stay small up to the end of the window",
        left=r"\max_i\lvert f(x_i)\rvert",
        direction="at_most",
        expression=F,
        quantities=chosen("width", "x_max", "W_max", "log_alpha"),
        place="theory.md (2.1)",
        provenance="ours",
        hypotheses=(LOGISTIC, BALANCED, SEPARABLE, SMALL, IN_WINDOW),
        measure=flow.largest_output,
    ),
    Statement(
        name="window",
        title="The paper's window of alignment",
        left="T",
        direction="equal",
        expression=folds / (4 * n * x_max * beta),
        quantities=chosen("n", "width", "x_max", "log_alpha", "beta"),
        place="paper, t_alpha; theory.md 2.1",
        provenance="reconstructed",
        hypotheses=(TWO_CLASSES, SMALL),
        defaults={"beta": 1.0},
        measure=flow.phase_time("T"),
        tolerance=1e-12,
    ),
    Statement(
        name="longer_window",
        title="The window in which the bounds on norms and outputs hold",
        left="T_G",
        direction="equal",
        expression=_WINDOW,
        quantities=chosen(*WINDOW_QUANTITIES),
        place="theory.md (2.2)",
        provenance="ours",
        hypotheses=(LOGISTIC, TWO_CLASSES, SMALL),
        defaults={"beta": 1.0},
        short={"F": F},
        measure=flow.phase_time("T_G"),
        tolerance=1e-12,
    ),
    Statement(
        name="transient_time",
        title="The time at which the angle is of order sqrt(alpha)",
        left="T_+",
        direction="equal",
        expression=folds / (2 * X * beta),
        quantities=chosen("width", "class_norm", "log_alpha", "beta"),
        place="theory.md 2.5 (b)",
        provenance="ours",
        hypotheses=(TWO_CLASSES, SMALL),
        defaults={"beta": 1.0},
        measure=flow.phase_time("T_plus"),
        tolerance=1e-12,
    ),
    Statement(
        name="directional_error_literature",
        title="Error of the directional flow, as in the literature",
        left=r"\lVert u_j'-\mathrm{sign}(v_j)\,P\,x_a(u_j)\rVert",
        direction="at_most",
        expression=E_LIT,
        quantities=chosen("n", *ERROR_QUANTITIES),
        place="theory.md 2.2, E_lit",
        provenance="reconstructed",
        hypotheses=(
            *(LABEL_LOSS, BALANCED, SEPARABLE, SMALL, IN_WINDOW),
            Hypothesis("alpha sqrt(h) x_max W_max^2 <= 1", F <= 1),
        ),
        says_nothing=Hypothesis("the bound is at least n x_max", n * x_max <= E_LIT),
        measure=flow.directional_errors,
    ),
    Statement(
        name="directional_error_logistic",
        title="Error of the directional flow for the logistic loss",
        left=r"\lVert u_j'-\mathrm{sign}(v_j)\,P\,x_a(u_j)\rVert",
        direction="at_most",
        expression=E_LOG,
        quantities=chosen("n", *ERROR_QUANTITIES),
        place="theory.md 2.2, E_log",
        provenance="ours",
        hypotheses=(LOGISTIC, BALANCED, SEPARABLE, SMALL, IN_WINDOW),
        says_nothing=Hypothesis("the bound is at least n x_max", n * x_max <= E_LOG),
        measure=flow.directional_errors,
    ),
    Statement(
        name="directional_error_of_a_class",
        title="Error of the directional flow of a sorted neuron",
        left=r"\lVert u_j'-\mathrm{sign}(v_j)\,P\,x_+\rVert",
        direction="at_most",
        expression=E_CLS,
        quantities=chosen("class_norm", *ERROR_QUANTITIES),
        place="theory.md 2.2, E_cls",
        provenance="ours",
        hypotheses=(LOGISTIC, BALANCED, SEPARABLE, SMALL, *(Hypothesis("t_1 <= t"), IN_WINDOW)),
        measure=flow.directional_errors_of_sorted,
    ),
    _alignment(
        "phase1_alignment",
        "Neurons align in phase 1",
        ZETA_LIT,
        "paper",
        "paper, Theorem 5.1; theory.md (2.3)",
    ),
    _alignment(
        "phase1_alignment_logistic",
        "Neurons align in phase 1, logistic loss",
        ZETA_LOG,
        "ours",
        "theory.md (2.3) with E_log",
    ),
    _alignment(
        "phase1_alignment_of_a_class",
        "Neurons align in phase 1, after sorting",
        ZETA_CLS,
        "ours",
        "theory.md (2.3) with E_cls",
    ),
    Statement(
        name="misalignment_in_the_window",
        title="What is left of the angle is C alpha and a transient",
        left=r"1-\psi_j(t)",
        direction="at_most",
        expression=_MISALIGNMENT,
        quantities=chosen("n", *_OF_ALIGNMENT),
        place="paper, Corollary 5.3; theory.md (2.6)",
        provenance="reconstructed",
        hypotheses=(
            *(LABEL_LOSS, SEPARABLE, BALANCED, SORTED, IN_WINDOW),
            *(SMALL, Hypothesis("zeta > 0", ZETA_LIT > 0)),
        ),
        says_nothing=Hypothesis("the bound is at least 1", _MISALIGNMENT >= 1),
        defaults={"beta": 1.0},
        short={r"\zeta": ZETA_LIT},
        measure=flow.misalignments,
    ),
    Statement(
        name="sorting_time",
        title="Every neuron is sorted or dead soon",
        left="t_1",
        direction="at_most",
        expression=_SORTED_BY,
        quantities=chosen(
            *(
                "n",
                "width",
                "x_max",
                "x_min",
                "W_max",
                "log_alpha",
                "separability",
                "active",
                "largest_class_norm",
                "beta",
            )
        ),
        place="theory.md (2.5)",
        provenance="ours",
        hypotheses=(
            LOGISTIC,
            BALANCED,
            SEPARABLE,
            Hypothesis("the neuron starts with sign(v) <u, x_a(u)> >= 0"),
            Hypothesis("E < lambda x_min m_+", lam * x_min * m_plus > E_LOG),
            SMALL,
            Hypothesis(
                "the bound is at most T_G, the time of `longer_window`", _SORTED_BY <= _WINDOW
            ),
        ),
        defaults={"beta": 1.0},
        short={"E": E_LOG},
        measure=flow.sorting_times,
    ),
    Statement(
        name="angle_exponent_at_the_window",
        title="Power of alpha in the angle at the paper's window",
        left=r"\mathrm{d}\log\theta(T)/\mathrm{d}\log\alpha",
        direction="equal",
        expression=X / (4 * n * x_max),
        quantities=chosen("n", "class_norm", "x_max"),
        place="paper, Corollary 5.3; theory.md 2.5 (a)",
        provenance="ours",
        hypotheses=(LOGISTIC, BALANCED, SEPARABLE, TURNING, TINY_SCALE),
        measure=small_scales.power_at_window,
        tolerance=1e-2,
    ),
    Statement(
        name="angle_exponent_at_the_transient_time",
        title="Power of alpha in the angle at T_+",
        left=r"\mathrm{d}\log\theta(T_+)/\mathrm{d}\log\alpha",
        direction="equal",
        expression=sp.Rational(1, 2),
        quantities=(),
        place="paper, Corollary 5.3; theory.md 2.5 (b)",
        provenance="reconstructed",
        hypotheses=(LOGISTIC, BALANCED, SEPARABLE, TURNING, TINY_SCALE),
        measure=small_scales.power_at_transient_time,
        tolerance=1e-2,
    ),
    Statement(
        name="angle_exponent_at_the_onset",
        title="Power of alpha in the angle at a fixed small output",
        left=r"\mathrm{d}\log\theta/\mathrm{d}\log\alpha",
        direction="equal",
        expression=sp.Integer(1),
        quantities=(),
        place="theory.md 2.5 (c)",
        provenance="ours",
        hypotheses=(LOGISTIC, BALANCED, SEPARABLE, TURNING, TINY_LEVEL),
        measure=small_scales.power_at_onset,
        tolerance=1e-2,
    ),
    Statement(
        name="angle_at_the_transient_time",
        title="The angle at T_+ is of order sqrt(alpha)",
        left=r"\theta_j(T_+)",
        direction="at_most",
        expression=ANGLE_AT_T_PLUS,
        quantities=chosen("width", "class_norm", "x_max", "W_max", "log_alpha", "t_1", "beta"),
        place="paper, Corollary 5.3; theory.md (2.7)",
        provenance="reconstructed",
        hypotheses=(
            LOGISTIC,
            BALANCED,
            SEPARABLE,
            SMALL,
            Hypothesis(
                "t_1 is at most T_G and T_+, the times of `longer_window` and `transient_time`"
            ),
        ),
        says_nothing=Hypothesis("the bound is at least pi / 2", sp.pi / 2 <= ANGLE_AT_T_PLUS),
        defaults={"beta": 1.0},
        short={"F": F},
        measure=flow.angles_at_transient_time,
    ),
    Statement(
        name="half_angle",
        title="The half angle falls exponentially to a floor of order alpha",
        left=r"\tan(\theta_j(t)/2)",
        direction="at_most",
        expression=_HALF_ANGLE,
        quantities=chosen("class_norm", "x_max", "log_size", "time", "t_1", "beta"),
        place="theory.md (2.4)",
        provenance="ours",
        hypotheses=(LOGISTIC, BALANCED, SEPARABLE, SORTED),
        says_nothing=Hypothesis(
            "the bound is at least 1, as for any sorted neuron", _HALF_ANGLE >= 1
        ),
        defaults={"beta": 1.0},
        measure=flow.half_angles,
    ),
)
