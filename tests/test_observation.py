"""What statements are held against: problems as code, their facts, their scales, measurements."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import overalign
import overalign.observation
from overalign import ExponentialLoss, GaussianMixture, LogisticLoss, Network, Sample
from overalign.errors import ProblemError, ScopeError
from overalign.observation import Measured, Population, Problem
from overalign.testing import problems

SAMPLE = Sample([[3.0, 1.0], [1.0, 2.0], [-1.0, -0.5], [-2.0, 0.0]], [1.0, 1.0, -1.0, -1.0])
NETWORK = Network.balanced(weights=[[1.0, 2.0], [-3.0, 0.5]], sign=[1.0, -1.0])
NAMES = {
    **vars(overalign.observation),
    **{name: getattr(overalign, name) for name in dir(overalign)},
}


def again(problem: Problem) -> Problem:
    """The problem that its repr makes."""
    made = eval(repr(problem), dict(NAMES))
    assert isinstance(made, Problem)
    return made


def require_same(made: Problem, problem: Problem) -> None:
    np.testing.assert_array_equal(made.sample.x, problem.sample.x)
    np.testing.assert_array_equal(made.sample.y, problem.sample.y)
    np.testing.assert_array_equal(made.network.weights, problem.network.weights)
    np.testing.assert_array_equal(made.network.output, problem.network.output)
    same = ("log_alpha", "eta", "loss", "seed")
    assert [getattr(made, k) for k in same] == [getattr(problem, k) for k in same]
    assert (made.mixture is None) == (problem.mixture is None)
    if made.mixture is not None and problem.mixture is not None:
        law = (made.mixture.kappa, made.mixture.sigma)
        assert law == (problem.mixture.kappa, problem.mixture.sigma)
        np.testing.assert_array_equal(made.mixture.direction, problem.mixture.direction)


# ---------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("eta", [0.0, -1.0, math.nan, math.inf])
def test_a_stop_that_is_no_risk_is_refused(eta: float) -> None:
    with pytest.raises(ProblemError, match=r"eta is .*must be positive"):
        Problem(SAMPLE, NETWORK, -9.0, eta=eta)


def test_dimensions_must_agree() -> None:
    with pytest.raises(ProblemError, match="sample has dimension 2 and the network 3"):
        Problem(SAMPLE, Network.random(4, 3, seed=0), -9.0)
    with pytest.raises(ProblemError, match="sample has dimension 2 and the mixture 5"):
        Problem(SAMPLE, NETWORK, -9.0, mixture=GaussianMixture(5, 1.0, 1.0))


def test_what_a_sample_does_not_have_is_out_of_scope() -> None:
    one_class = Problem(Sample([[1.0, 0.0], [1.0, 1.0]], [1.0, 1.0]), NETWORK, -9.0)
    for attribute in ("alignment", "phases"):
        with pytest.raises(ScopeError):
            getattr(one_class, attribute)
    with pytest.raises(ScopeError, match="the flow cannot be solved"):
        one_class.run_of(-1)


# ------------------------------------------------------------------------------- as code


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"log_alpha": -5000.0, "eta": 1 / 3},
        {"loss": LogisticLoss(factor=2.0, reduction="sum")},
        {"loss": ExponentialLoss()},
        {"mixture": GaussianMixture(2, 1.5, 0.3, [0.6, 0.8]), "seed": 7},
        {"network": Network([[1.0, 0.1]], [-0.3])},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_the_repr_is_code_that_makes_it_again(changes: dict[str, Any]) -> None:
    problem = Problem(**{"sample": SAMPLE, "network": NETWORK, "log_alpha": -9.0} | changes)
    require_same(again(problem), problem)


@settings(max_examples=40)
@given(problems(separable=False, balanced=False, logistic=False, log_alpha=(-60.0, 1.0)))
def test_so_is_that_of_any_problem(problem: Problem) -> None:
    require_same(again(problem), problem)
    require_same(again(problem.at_scale(-3.25)), problem.at_scale(-3.25))


def test_a_population_makes_the_same_problem_for_the_same_seed() -> None:
    population = Population(n=5, dimension=4, width=3, log_alpha=-7.0, eta=0.2, tolerance=1e-7)
    first, second, other = (population.problem(seed) for seed in (3, 3, 4))
    require_same(second, first)
    assert (first.tolerance, first.eta, first.seed) == (1e-7, 0.2, 3)
    assert not np.any(first.sample.x == other.sample.x)
    assert not np.any(first.network.weights == other.network.weights)
    assert first.sample.separability >= 0.0
    assert repr(first) == f"{population!r}.problem(3)"


def test_a_population_may_be_left_as_it_is_drawn() -> None:
    drawn = Population(dimension=3, kappa=0.1, separability=None)
    assert min(drawn.problem(seed).sample.separability for seed in range(3)) < 0.0


# ------------------------------------------------------------------------------- solved once


def test_a_scale_is_solved_once() -> None:
    problem = Population(n=4, width=4).problem(0)
    other = problem.at_scale(-30.0)
    assert other is problem.at_scale(-30.0)
    assert other is not problem.at_scale(-31.0)
    assert other.run is problem.at_scale(-30.0).run
    assert (other.log_alpha, other.run.log_alpha) == (-30.0, -30.0)
    assert "log_alpha=-30.0" in repr(other)
    assert problem.run is problem.run
    assert problem.run_of(1) is problem.run_of(1)
    assert problem.run_of(1).time != problem.run_of(-1).time


def test_times_run_from_the_start_to_the_stop_through_the_phases() -> None:
    problem = Population(n=6, width=8).problem(1)
    times, phases = problem.times, problem.phases
    assert (times[0], times[-1]) == (0.0, problem.run.time)
    assert np.all(np.diff(times) > 0.0)
    for time in (phases.T, phases.T_G, phases.T_plus, phases.T_minus):
        assert time in times
    just_after = times[times >= phases.t_1][0]  # on the kink rounding decides over its sign
    assert phases.t_1 < just_after < phases.t_1 * (1.0 + 1e-7)
    assert problem.states.log_norm.shape == (times.size, 8)
    at_the_stop = replace(problem, eta=10.0)
    assert at_the_stop.times.tolist() == [0.0]


# ---------------------------------------------------------------------------------- its facts


@pytest.mark.parametrize("label", [1, -1])
def test_facts_are_what_data_and_network_say(label: int) -> None:
    mixture = GaussianMixture(2, 1.5, 0.3)
    problem = Problem(SAMPLE, NETWORK, -9.0, mixture=mixture)
    facts = problem.facts(label)
    rows = SAMPLE.x[SAMPLE.y == label]
    other = SAMPLE.x[SAMPLE.y != label]
    cosine = rows.sum(axis=0)[0] * label / np.linalg.norm(rows.sum(axis=0))
    signed = SAMPLE.x * SAMPLE.y[:, None] / np.linalg.norm(SAMPLE.x, axis=1)[:, None]
    pairs = (signed @ signed.T)[np.triu_indices(4, 1)]
    expected = {
        "n": 4,
        "dimension": 2,
        "width": 2,
        "x_max": math.sqrt(10.0),
        "x_min": math.sqrt(1.25),
        "W_max": math.sqrt(9.25),
        "log_alpha": -9.0,
        "beta": 1 / 8,
        "class_size": 2,
        "class_norm": np.linalg.norm(rows.sum(axis=0)),
        "largest_class_norm": max(np.linalg.norm(part.sum(axis=0)) for part in (rows, other)),
        "separability": pairs.min(),
        "eta": 2 * 2 * 0.05,  # of the class
        "kappa": 1.5,
        "sigma": 0.3,
        "phi": math.acos(cosine),
    }
    assert facts == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "expected", "beta"),
    [  # R_+ = 2 sum over the class of log(1 + e^-m); the stop is on the loss over the same class
        (LogisticLoss(), 2 * 2 * 0.3, 1 / 8),
        (LogisticLoss(reduction="sum"), 2 * 0.3, 1 / 2),
        (LogisticLoss(factor=2.0, reduction="sum"), 0.3, 1.0),
        (LogisticLoss(factor=4.0), 2 * 2 / 4 * 0.3, 1 / 2),
    ],
)
def test_eta_becomes_the_risk_of_the_theory(
    loss: LogisticLoss, expected: float, beta: float
) -> None:
    problem = Problem(SAMPLE, NETWORK, -9.0, eta=0.3, loss=loss)
    facts, run = problem.facts(-1), problem.run_of(-1)
    margins = SAMPLE.y * run.final.outputs
    risk = 2.0 * np.logaddexp(0.0, -margins)[SAMPLE.y == -1].sum()
    assert facts["beta"] == beta
    if loss.reduction == "sum":
        assert facts["eta"] == pytest.approx(expected, rel=1e-12)
    assert facts["eta"] == pytest.approx(risk, rel=1e-6)


def test_facts_that_are_not_there_are_left_out() -> None:
    real = Problem(Sample([[1.0, 0.0], [0.0, 1.0]], [0.5, 2.0]), NETWORK, -9.0)
    assert not {"class_size", "class_norm", "separability", "eta", "phi"} & set(real.facts())
    single = Problem(Sample([[1.0, 0.0]], [1.0]), NETWORK, -9.0)
    assert "separability" not in single.facts()
    exponential = Problem(SAMPLE, NETWORK, -9.0, loss=ExponentialLoss())
    assert "eta" not in exponential.facts()


# ------------------------------------------------------------------------------------ its error


def test_the_error_grows_for_a_neuron_that_shrinks_along_its_own_force() -> None:
    sample = Sample([[3.0, 1.0], [-1.0, 0.0]], [1.0, -1.0])
    network = Network.balanced(weights=[[3.0, 1.0]], sign=[-1.0])
    shrinking = Problem(sample, network, -9.0)
    steady = replace(shrinking, network=Network.balanced(weights=[[3.0, 1.0]], sign=[1.0]))
    folds = shrinking.states.log_norm[0, 0] - shrinking.states.log_norm.min()
    assert folds > 3.0
    assert shrinking.error > 1e-16 * math.exp(2.0 * folds)
    assert steady.error == pytest.approx(steady.run.error_estimate + 4e-15, rel=1e-6)


# --------------------------------------------------------------------------------- measurements


def test_a_measurement_broadcasts_to_its_points() -> None:
    found = Measured([[1.0, 2.0], [3.0, 4.0]], {"n": 3, "time": [0, 1, 2, 3]}, 0.5, {"label": -1})
    assert found.value.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert found.error.tolist() == [0.5] * 4
    assert {name: array.tolist() for name, array in found.parameters.items()} == {
        "n": [3.0] * 4,
        "time": [0.0, 1.0, 2.0, 3.0],
    }
    assert found.where["label"].tolist() == [-1.0] * 4
    assert Measured(2).value.shape == (1,)
    with pytest.raises(ValueError, match="broadcast"):
        Measured([1.0, 2.0, 3.0], {"n": [1.0, 2.0]})


def test_measurements_are_joined_point_by_point() -> None:
    first = Measured([1.0, 2.0], {"n": 3}, 0.1, {"label": 1}, "draws")
    second = Measured([5.0], {"n": 4}, 0.2, {"label": -1})
    found = Measured.joined([first, second])
    assert found.value.tolist() == [1.0, 2.0, 5.0]
    assert found.error.tolist() == [0.1, 0.1, 0.2]
    assert found.parameters["n"].tolist() == [3.0, 3.0, 4.0]
    assert found.where["label"].tolist() == [1.0, 1.0, -1.0]
    assert found.how == "draws"
