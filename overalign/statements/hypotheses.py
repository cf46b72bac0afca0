"""The hypotheses that statements share, each once."""

from __future__ import annotations

import numpy as np
import sympy

from ..observation import Problem
from ..problem import ExponentialLoss, LogisticLoss
from .parts import Hypothesis
from .quantities import QUANTITIES as Q

__all__ = [
    "ABOVE_ZERO",
    "ACUTE",
    "BALANCED",
    "IN_CLASS",
    "IN_SPACE",
    "LABEL_LOSS",
    "LOGISTIC",
    "MIXTURE",
    "NOT_NEGATIVE",
    "SEPARABLE",
    "SIGNAL",
    "SORTED",
    "TINY_SCALE",
    "TWO_CLASSES",
    "UNCONDITIONED",
]


def _is_separable(problem: Problem) -> bool:
    sample = problem.sample
    return bool(sample.is_classification and sample.n > 1 and sample.separability > 0.0)


def _agrees_in_class(problem: Problem) -> bool:
    x, y = problem.sample.x, problem.sample.y
    return bool(np.all((x @ x.T)[y[:, None] == y] >= 0.0))


SEPARABLE = Hypothesis("the sample is orthogonally separable, lambda > 0", holds=_is_separable)
IN_CLASS = Hypothesis("inner products inside a class are >= 0", holds=_agrees_in_class)
TWO_CLASSES = Hypothesis(
    "the labels are -1 and +1, and the inputs of either class do not sum to zero",
    holds=lambda problem: problem.sample.has_class_directions,
)
BALANCED = Hypothesis(
    "the network starts balanced, |v_j(0)| = ||w_j(0)||",
    holds=lambda problem: problem.network.is_balanced,
)
LOGISTIC = Hypothesis(
    "the loss is logistic", holds=lambda problem: isinstance(problem.loss, LogisticLoss)
)
LABEL_LOSS = Hypothesis(
    "the loss is logistic or exponential",
    holds=lambda problem: isinstance(problem.loss, LogisticLoss | ExponentialLoss),
)
MIXTURE = Hypothesis(
    "the data are the symmetric Gaussian mixture",
    holds=lambda problem: problem.mixture is not None,
)
UNCONDITIONED = Hypothesis("the data are not conditioned on separability")
IN_SPACE = Hypothesis("d >= 2", Q["dimension"].symbol >= 2)
SIGNAL = Hypothesis("kappa > 0", Q["kappa"].symbol > 0)
ABOVE_ZERO = Hypothesis("phi > 0", Q["phi"].symbol > 0)
ACUTE = Hypothesis("phi < pi / 2", Q["phi"].symbol < sympy.pi / 2)
NOT_NEGATIVE = Hypothesis("lambda >= 0", Q["separability"].symbol >= 0)
SORTED = Hypothesis("t is at least t_1", Q["time"].symbol >= Q["t_1"].symbol)
TINY_SCALE = Hypothesis("alpha goes to zero")
