"""Deliberately false variants of the statements, each with the reason why it is false.

The search that users run must refute every one on its own (tests/properties/test_falsehoods.py): a
checker that lets one pass would let a wrong theorem pass too. A variant differs from its original
in the formula, the direction, a hypothesis that is left out, or what is measured.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp
from hypothesis.strategies import SearchStrategy, builds, integers

from overalign import Network, Sample, statements
from overalign.observation import Measured, Population, Problem
from overalign.special import NoncentralFCdf, NoncentralTSurvival, OptimalConeAngle, Phi
from overalign.statements import Hypothesis, Statement
from overalign.statements import alignment_phase as phase
from overalign.statements.generalisation import CLOSEST, RADEMACHER
from overalign.statements.quantities import QUANTITIES
from overalign.testing import problems


@dataclass(frozen=True)
class Falsehood:
    """A false statement, why it is false, and the problems among which to look."""

    statement: Statement
    why: str
    among: SearchStrategy[Problem] | None = None


def symbols(*names: str) -> Any:
    return tuple(QUANTITIES[name].symbol for name in names)


kappa, sigma, phi, theta_c, theta, d, n_plus, n = symbols(
    "kappa", "sigma", "phi", "theta_c", "theta", "dimension", "class_size", "n"
)
X, beta, t, t_1, log_alpha, x_min, lam, m_plus = symbols(
    "class_norm", "beta", "time", "t_1", "log_alpha", "x_min", "separability", "active"
)
t_a, log_size, eta, degree, slope = symbols("t_a", "log_size", "eta", "degree", "slope")
ratio = kappa / sigma
S = statements


def variant(name: str, **changes: Any) -> Statement:
    original = statements.find(name)
    return replace(original, name=f"{name}_but_false", says_nothing=None, **changes)


def without(name: str, *left_out: Hypothesis) -> tuple[Hypothesis, ...]:
    return tuple(h for h in statements.find(name).hypotheses if h not in left_out)


def measured_otherwise(
    name: str, change: Callable[[Measured], Measured]
) -> Callable[[Problem], Measured]:
    measure = statements.find(name).measure
    if measure is None:
        raise ValueError(name)
    return lambda problem: change(measure(problem))


def with_degree(found: Measured) -> Measured:
    """The measured rates with the degree of each network as a parameter."""
    return replace(found, parameters={**found.parameters, "degree": found.where["degree"]})


def plus_for_minus(found: Measured) -> Measured:
    """1 + cos for 1 - cos."""
    return replace(
        found,
        value=2.0 - found.value,
        parameters={**found.parameters, "gap": 2.0 - found.parameters["gap"]},
    )


def max_margin_only(found: Measured) -> Measured:
    """The last of the rules."""
    return Measured(found.value[-1], {}, found.error[-1], how=found.how)


def any_data(**others: Any) -> SearchStrategy[Problem]:
    return problems(separable=False, log_alpha=(-20.0, 0.0), **others)


def late_in_phase_2() -> SearchStrategy[Problem]:
    """Wide enough, and trained long enough, for residuals to turn a predictor off its mean."""
    population = Population(n=8, dimension=6, width=6, log_alpha=-30.0, eta=0.01)
    return integers(0, 9999).map(population.problem)


def few_inputs() -> SearchStrategy[Problem]:
    """Samples on the verge of separability."""
    population = Population(n=4, dimension=6, width=16, kappa=1.0, log_alpha=-20.0)
    return integers(0, 9999).map(population.problem)


def many_samples() -> SearchStrategy[Problem]:
    """Classes large enough for a few samples to be a bad summary of them."""
    population = Population(
        n=50, dimension=20, width=2, kappa=1.0, separability=None, log_alpha=-20.0
    )
    return integers(0, 9999).map(population.problem)


def almost_orthogonal() -> SearchStrategy[Problem]:
    """A neuron that starts at a small cosine 10^-k to its mean: the bound has no lead to lose."""
    sample = Sample([[1.0, 0.0], [-1.0, 0.0]], [1.0, -1.0])

    def problem(k: int, log_alpha: int) -> Problem:
        network = Network.balanced(weights=[[10.0**-k, 1.0]], sign=[1.0])
        return Problem(sample, network, float(log_alpha))

    return builds(problem, integers(0, 9), integers(-9, -3))


FALSEHOODS = [
    Falsehood(
        variant("angle_exponent_at_the_window", expression=sp.Rational(1, 2)),
        "theta(T) = O(sqrt(alpha)): the exponent is X / (4 n x_max) <= n_+ / (4 n) < 1/2",
    ),
    Falsehood(
        variant("angle_exponent_at_the_onset", expression=sp.Rational(1, 2)),
        "theta falls like alpha while the output grows to a fixed level, as exp(-X t) = alpha",
    ),
    Falsehood(
        variant("angle_exponent_at_the_transient_time", expression=sp.Integer(1)),
        "T_+ is half of the time to the onset",
    ),
    Falsehood(
        variant(
            "learning_rate_of_the_multiplier",
            expression=-degree * log_alpha,
            quantities=(QUANTITIES["log_alpha"], QUANTITIES["degree"]),
            measure=measured_otherwise("learning_rate_of_the_multiplier", with_degree),
        ),
        "lr / c for every L: it is c^(-2/L), the same for L = 2 only",
    ),
    Falsehood(
        variant("output_multiplier", expression=log_alpha),
        "c = alpha for L = 2: two factors alpha multiply the output",
    ),
    Falsehood(
        variant(
            "over_alignment",
            expression=Phi(-ratio * sp.cos(sp.Min(sp.pi, phi + theta_c))) - Phi(-ratio),
            numeric=None,
        ),
        "phi + theta_c is the farthest point of the cone, OA is at the closest",
    ),
    Falsehood(
        variant("over_alignment", expression=Phi(-ratio * sp.cos(phi)) - Phi(-ratio), numeric=None),
        "OA does not stay at its value for a ray when the cone opens",
    ),
    Falsehood(
        variant("distance_to_the_cone", expression=sp.Abs(phi - theta_c)),
        "a cone that holds the signal is at distance zero",
        any_data(),
    ),
    Falsehood(
        variant("conic_hull", direction="at_most"),
        "the predictor of two neurons at opposite sides of the mean is better aligned than either",
    ),
    Falsehood(
        variant("conic_hull_after_sorting", expression=QUANTITIES["psi_min"].symbol),
        "in phase 2 the predictor leaves the mean: Psi falls below min psi_j(t_1) = 1 - tiny",
        late_in_phase_2(),
    ),
    Falsehood(
        variant("inheritance", expression=sp.cos(QUANTITIES["theta_max"].symbol)),
        "the same: the spread of the residuals turns neurons away",
        late_in_phase_2(),
    ),
    Falsehood(
        variant(
            "gram_conservation", measure=measured_otherwise("gram_conservation", plus_for_minus)
        ),
        "<w_j, w_k> + v_j v_k grows like the norms: 1 + cos tends to 2",
    ),
    Falsehood(
        variant("balancedness", expression=QUANTITIES["imbalance"].symbol),
        "v^2 - ||w||^2 is conserved, not its share of a growing sum",
        problems(balanced=False),
    ),
    Falsehood(
        variant(
            "switches_at_most_once",
            hypotheses=without("switches_at_most_once", phase.SEPARABLE),
        ),
        "without separability samples push a neuron across a kink and back",
        any_data(),
    ),
    Falsehood(
        variant(
            "phase1_alignment",
            expression=sp.tanh(X * beta * (t - t_1)),
            hypotheses=without("phase1_alignment"),
        ),
        "psi >= tanh(X (t - t_1)) takes residuals for 1, but they fall below it",
        almost_orthogonal(),
    ),
    Falsehood(
        variant("misalignment_in_the_window", expression=phase.E_LIT / X),
        "at t_1 the angle may still be large: the transient cannot be left out",
    ),
    Falsehood(
        variant("norm_growth", expression=log_alpha + sp.log(phase.W) + beta * t * X / 2),
        "an aligned neuron grows at the full rate X",
    ),
    Falsehood(
        variant("half_angle", expression=sp.exp(-2 * X * beta * (t - t_1))),
        "tan(theta / 2) falls like exp(-X t), and to a floor",
    ),
    Falsehood(
        variant(
            "angle_at_the_transient_time",
            expression=sp.sqrt(phase.alpha) * phase.h ** sp.Rational(1, 4) / 2,
        ),
        "the constant is up to 2 exp(X t_1)",
    ),
    Falsehood(
        variant(
            "sorting_time",
            expression=1 / (2 * beta * x_min * m_plus),
            hypotheses=without("sorting_time"),
        ),
        "sorting takes the longer the smaller lambda is",
        few_inputs(),
    ),
    Falsehood(
        variant("class_norm_at_least", expression=x_min * n_plus),
        "inputs that are not parallel do not add up to n_+ x_min",
    ),
    Falsehood(
        variant(
            "limit_of_small_scales",
            expression=sp.Integer(1),
            quantities=(),
            measure=measured_otherwise(
                "limit_of_small_scales", lambda found: replace(found, parameters={})
            ),
        ),
        "Psi_0(eta) = 1: phase 2 turns towards the hard-margin direction whatever alpha was",
    ),
    Falsehood(
        variant("stopping_time_slope", expression=2 / (X * beta)),
        "outputs grow like alpha^2 exp(2 X t): log(1/alpha) / X, not twice that",
    ),
    Falsehood(
        variant(
            "stopping_time_at_least",
            expression=t_a + 2 * (statements.find("stopping_time_at_least").expression - t_a),
        ),
        "S grows at the rate 2 X, not X",
    ),
    Falsehood(
        variant("direction_error", expression=Phi(-ratio * sp.cos(theta / 2))),
        "at theta = pi a direction errs on almost everything",
    ),
    Falsehood(
        variant(
            "over_fitting_at_most",
            numeric=None,
            expression=Phi(-ratio * sp.cos(phi)) - Phi(-ratio * sp.cos(CLOSEST)),
        ),
        "the predictor may lie beyond the class mean, farther than phi from the signal",
        any_data(),
    ),
    Falsehood(
        variant("typical_error", expression=Phi(-ratio * sp.cos(phi + theta))),
        "a random azimuth does not turn away from the signal by all of theta",
    ),
    Falsehood(
        variant(
            "largest_slope", expression=statements.find("largest_slope").expression / sp.tan(phi)
        ),
        "cos for sin in front of the density",
    ),
    Falsehood(
        variant("optimal_cone_angle", expression=OptimalConeAngle(ratio, phi, slope / 2)),
        "half the slope has another optimum",
    ),
    Falsehood(
        variant("rademacher_complexity", expression=RADEMACHER.subs(sp.sin(theta_c), 0)),
        "without the term in sin(theta) a narrow cone would cost theta^2, but it costs theta",
    ),
    Falsehood(
        variant(
            "class_mean_is_optimal",
            direction="at_most",
            measure=measured_otherwise("class_mean_is_optimal", max_margin_only),
        ),
        "class-wise max-margin better than the class mean: the mean is optimal on average",
        many_samples(),
    ),
    Falsehood(
        variant(
            "class_mean_angle",
            expression=NoncentralTSurvival(
                sp.sqrt(d) * sp.cot(phi), d, kappa * sp.sqrt(n_plus) / sigma
            ),
        ),
        "d - 1 coordinates are orthogonal to the signal",
    ),
    Falsehood(
        variant("class_mean_angle_centre", expression=sp.atan(sigma * sp.sqrt(d - 1) / kappa)),
        "the mean of n_+ samples has 1 / sqrt(n_+) of the noise",
    ),
    Falsehood(
        variant("pair_violates_at_zero", expression=NoncentralFCdf(1, d, d, kappa**2 / sigma**2)),
        "(u + u') / sqrt(2) has mean sqrt(2) kappa s: the noncentrality is 2 (kappa / sigma)^2",
    ),
    Falsehood(
        variant(
            "sample_is_separable",
            expression=1 - n * NoncentralFCdf((1 + lam) / (1 - lam), d, d, 2 * ratio**2) / 2,
        ),
        "P(sep) >= 1 - n p / 2: there are n (n - 1) / 2 pairs, not as many as samples",
    ),
]

NAMES = [f"{k:02d}_{falsehood.statement.name}" for k, falsehood in enumerate(FALSEHOODS)]
