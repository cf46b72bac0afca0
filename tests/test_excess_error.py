"""Errors of directions in closed form, their parts, the law of phi, and the error of a network."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import binomtest, kstest, multivariate_normal

import overalign as oa
from overalign.excess_error import (
    ClassMeanAngleLaw,
    angle_excess_error,
    bayes_error,
    class_mean_angle,
    direction_error,
    held_out_error,
    network_error,
    over_alignment,
    over_fitting,
    reference_directions,
    reference_errors,
)
from overalign.ucurve import UCurve, problem_of

MIXTURE = oa.GaussianMixture(20, kappa=1.5, sigma=1.0)


def phi_of(x: mpmath.mpf) -> mpmath.mpf:
    """The normal distribution function at many digits."""
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def unit(generator: np.random.Generator, dimension: int) -> np.ndarray:
    v = generator.standard_normal(dimension)
    return v / np.linalg.norm(v)


# ------------------------------------------------------------------------- error of a direction


def test_the_error_of_a_direction_is_the_share_of_wrong_points() -> None:
    generator = np.random.default_rng(0)
    mixture = oa.GaussianMixture(4, 1.2, 0.8, direction=[1.0, -1.0, 0.5, 2.0])
    for label in (1, -1):
        v = label * mixture.direction + 0.4 * generator.standard_normal(4)
        x = label * mixture.kappa * mixture.direction + 0.8 * generator.standard_normal(
            (200_000, 4)
        )
        wrong = int(np.sum(x @ v <= 0.0))
        low, high = binomtest(wrong, 200_000).proportion_ci(0.9999)
        assert low < float(direction_error(v, mixture, label)) < high


def test_the_error_depends_on_the_direction_alone_and_is_smallest_at_the_signal() -> None:
    generator = np.random.default_rng(1)
    v = generator.standard_normal((50, 20))
    errors = direction_error(v, MIXTURE)
    np.testing.assert_allclose(direction_error(1e100 * v, MIXTURE), errors, rtol=1e-14)
    assert errors.min() > bayes_error(MIXTURE) == pytest.approx(0.0668072, rel=1e-6)
    assert float(direction_error(MIXTURE.direction, MIXTURE)) == bayes_error(MIXTURE)
    np.testing.assert_allclose(direction_error(-v, MIXTURE), 1.0 - errors, rtol=1e-12)
    tiny = oa.GaussianMixture(2, 30.0, 1.0)
    assert float(direction_error([1.0, 0.0], tiny)) == pytest.approx(4.906713927148e-198, rel=1e-11)


# ----------------------------------------------------------------------- OA and OF in closed form


@given(st.floats(-100.0, 0.4), st.floats(0.0, 1.0), st.floats(-4.0, 1.55))
def test_over_alignment_to_its_last_digits(log_phi: float, share: float, log_a: float) -> None:
    phi, a = min(10.0**log_phi, math.pi), 10.0**log_a
    theta_c = share * phi
    with mpmath.workdps(330):
        best = mpmath.mpf(phi - theta_c)
        exact = phi_of(-a * mpmath.cos(best)) - phi_of(-mpmath.mpf(a))
        expected = float(exact)
    found = float(over_alignment(phi, theta_c, a, 1.0))
    assert found == pytest.approx(expected, rel=4e-13, abs=1e-305)


@given(st.integers(0, 10_000))
def test_over_fitting_to_its_last_digits(seed: int) -> None:
    generator = np.random.default_rng(seed)
    phi, theta_c, a = generator.uniform(0, 3.1), generator.uniform(0, 1.5), generator.uniform(0, 8)
    away = max(0.0, phi - theta_c) * (1.0 + 10.0 ** generator.uniform(-12, 0))
    away = min(max(away, 1e-9), math.pi)
    with mpmath.workdps(60):
        best = mpmath.mpf(max(0.0, phi - theta_c))
        exact = phi_of(-a * mpmath.cos(mpmath.mpf(away))) - phi_of(-a * mpmath.cos(best))
    assert float(over_fitting(away, phi, theta_c, a, 1.0)) == pytest.approx(float(exact), rel=1e-11)


@given(st.integers(0, 10_000))
def test_the_parts_add_up_to_the_excess_error(seed: int) -> None:
    generator = np.random.default_rng(seed)
    away, phi, theta_c = generator.uniform(0.0, math.pi, 3)
    kappa, sigma = generator.uniform(0.1, 6.0), generator.uniform(0.3, 3.0)
    parts = over_alignment(phi, theta_c, kappa, sigma) + over_fitting(
        away, phi, theta_c, kappa, sigma
    )
    assert float(parts) == pytest.approx(float(angle_excess_error(away, kappa, sigma)), abs=1e-15)


@pytest.mark.parametrize("seed", range(12))
def test_over_alignment_is_the_minimum_over_the_cap(seed: int) -> None:
    """Numerical minimisation over {v : <v, xbar> >= Psi}, with no use of the closed form."""
    generator = np.random.default_rng(seed)
    dimension = int(generator.integers(3, 20))
    mixture = oa.GaussianMixture(
        dimension, generator.uniform(0.3, 4.0), generator.uniform(0.5, 2.0)
    )
    axis = mixture.direction + generator.uniform(0.3, 1.5) * unit(generator, dimension)
    axis /= np.linalg.norm(axis)
    theta_c = generator.uniform(0.02, 0.8)
    constraints = [
        {"type": "ineq", "fun": lambda v: v @ axis - math.cos(theta_c) * np.linalg.norm(v)},
        {"type": "eq", "fun": lambda v: v @ v - 1.0},
    ]
    ends = [
        minimize(
            lambda v: math.log(float(direction_error(v, mixture))),
            axis + 0.2 * unit(generator, dimension),
            method="SLSQP",
            constraints=constraints,
            options={"ftol": 1e-15, "maxiter": 500},
        ).x
        for _ in range(4)
    ]
    found = [
        float(direction_error(v, mixture))
        for v in ends
        if oa.Cone(axis, theta_c + 1e-9).contains(v)
    ]
    assert found
    phi = float(oa.angle(axis, mixture.direction))
    expected = float(over_alignment(phi, theta_c, mixture.kappa, mixture.sigma))
    assert min(found) - bayes_error(mixture) == pytest.approx(expected, abs=1e-8)


def test_over_alignment_vanishes_exactly_where_the_cone_holds_the_signal() -> None:
    theta_c = np.linspace(0.0, 1.2, 241)
    values = over_alignment(0.6, theta_c, 1.5, 1.0)
    assert np.all((values == 0.0) == (theta_c >= 0.6))
    assert np.all(np.diff(values[theta_c <= 0.6]) < 0.0)
    assert 0.0 < float(over_alignment(0.6, 0.6 * (1 - 1e-15), 1.5, 1.0)) < 1e-29
    assert float(over_alignment(0.6, 0.1, 0.0, 1.0)) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_over_fitting_on_the_cone_is_not_negative_and_bounded_by_B1(seed: int) -> None:
    generator = np.random.default_rng(seed)
    dimension, kappa, sigma = 6, 1.7, 0.9
    mixture = oa.GaussianMixture(dimension, kappa, sigma)
    for _ in range(40):
        axis = unit(generator, dimension)
        phi = float(oa.angle(axis, mixture.direction))
        theta_c = generator.uniform(0.0, 1.5)
        cone = oa.Cone(axis, theta_c)
        points = [cone.closest(unit(generator, dimension)) for _ in range(5)]
        points.append(cone.closest(mixture.direction))
        for v in points:
            away = float(oa.angle(v, mixture.direction))
            value = float(over_fitting(away, phi, theta_c, kappa, sigma))
            worst = min(math.pi, phi + theta_c)
            bound = float(over_fitting(worst, phi, theta_c, kappa, sigma))  # (4.2)
            assert 0.0 <= value <= bound + 1e-14
    assert float(over_fitting(0.1, 0.9, 0.2, kappa, sigma)) < 0.0  # outside the cone


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, 0.2, 1.0, 1.0), "phi must be an angle"),
        ((0.1, 3.3, 1.0, 1.0), "theta_c must be an angle"),
        ((0.1, math.nan, 1.0, 1.0), "theta_c must be an angle"),
        ((0.1, 0.2, -1.0, 1.0), "kappa is -1"),
        ((0.1, 0.2, 1.0, 0.0), "sigma is 0"),
        ((0.1, 0.2, math.inf, 1.0), "kappa is inf"),
    ],
)
def test_parts_without_meaning(arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(oa.ProblemError, match=message):
        over_alignment(*arguments)


# ------------------------------------------------------------------------------------ phi


@pytest.mark.parametrize(
    ("n", "d", "kappa"), [(5, 20, 3.0), (4, 10, 1.0), (6, 5, 1.5), (3, 4, 0.0)]
)
def test_phi_follows_the_noncentral_t_law(n: int, d: int, kappa: float) -> None:
    mixture, law = oa.GaussianMixture(d, kappa, 1.0), ClassMeanAngleLaw(d, n, kappa, 1.0)
    labels = np.ones(n)
    generator = np.random.default_rng(0)
    drawn = [
        class_mean_angle(mixture.sample(n, generator, labels=labels), mixture) for _ in range(3000)
    ]
    assert kstest(drawn, law.cdf).pvalue > 1e-3
    other = ClassMeanAngleLaw(d, n, kappa + 0.4, 1.0)
    assert kstest(drawn, other.cdf).pvalue < 1e-6


def test_quantiles_of_phi() -> None:
    law = ClassMeanAngleLaw(20, 5, 3.0, 1.0)
    np.testing.assert_allclose(law.quantile([0.05, 0.5, 0.95]), [0.4158, 0.5691, 0.7484], atol=6e-5)
    law = ClassMeanAngleLaw(10, 4, 1.0, 1.0)
    np.testing.assert_allclose(law.quantile([0.05, 0.5, 0.95]), [0.5935, 0.9691, 1.4516], atol=6e-5)
    shares = np.linspace(0.001, 0.999, 57)
    wide = ClassMeanAngleLaw(3, 2, 0.2, 1.0)
    np.testing.assert_allclose(wide.cdf(wide.quantile(shares)), shares, atol=1e-9)
    assert wide.quantile(0.99) > math.pi / 2
    assert (float(law.cdf(0.0)), float(law.cdf(math.pi))) == (0.0, 1.0)
    assert law.centre == pytest.approx(float(law.quantile(0.5)), rel=0.02)


def test_the_law_of_phi_against_an_integral() -> None:
    """P(phi <= p) = E Phi(tau - chi cot p) over chi with d - 1 degrees of freedom."""
    for d, n, kappa, p in [
        (20, 6, 1.5, 0.9),
        (5, 3, 0.5, 2.2),
        (2, 1, 2.0, 0.3),
        (50, 10, 2.0, 0.4),
    ]:
        law, k = ClassMeanAngleLaw(d, n, kappa, 1.0), d - 1

        def density(c: mpmath.mpf, k: int = k) -> mpmath.mpf:
            return c ** (k - 1) * mpmath.exp(-c * c / 2) / (2 ** (k / 2 - 1) * mpmath.gamma(k / 2))

        tau, cot = law.noncentrality, 1.0 / math.tan(p)
        top = math.sqrt(k) + 12.0
        expected = mpmath.quad(
            lambda c, tau=tau, cot=cot: density(c) * phi_of(tau - c * cot),
            mpmath.linspace(0, top, 9),
        )
        assert float(law.cdf(p)) == pytest.approx(float(expected), rel=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 5, 1.0, 1.0), "phi needs 2 or more"),
        ((3, 0, 1.0, 1.0), "class_size is 0"),
        ((3, 5, -1.0, 1.0), "kappa"),
    ],
)
def test_laws_without_meaning(arguments: tuple, message: str) -> None:
    with pytest.raises(oa.ProblemError, match=message):
        ClassMeanAngleLaw(*arguments)
    with pytest.raises(oa.ProblemError, match="q is"):
        ClassMeanAngleLaw(3, 5, 1.0, 1.0).quantile(1.5)


# --------------------------------------------------------------------- reference directions


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_max_margin_meets_its_optimality_conditions(seed: int, scale: float) -> None:
    sample = MIXTURE.sample(12, seed, separability=0.0)
    sample = oa.Sample(scale * sample.x, sample.y)
    found = reference_directions(sample)
    for name, rows, v in [
        ("class_max_margin", sample.x[sample.y > 0], found["class_max_margin"][0]),
        ("class_max_margin", sample.x[sample.y < 0], found["class_max_margin"][1]),
        ("max_margin", sample.signed, found["max_margin"][0]),
    ]:
        margins = rows @ v / scale
        support = margins < margins.min() + 1e-9
        shares = np.linalg.lstsq(rows[support].T / scale, v, rcond=None)[0]
        rest = rows[support].T @ shares / scale - v
        assert np.linalg.norm(v) == pytest.approx(1.0)
        assert np.linalg.norm(rest) < 1e-8, name  # v lies in the span of its support ...
        assert shares.min() > -1e-8, name  # ... with shares that are not negative
        assert margins.min() > 0.0


def test_reference_directions_of_a_small_case() -> None:
    sample = oa.Sample([[3.0, 0.0], [0.0, 1.0], [-1.0, -1.0]], [1, 1, -1])
    found = reference_directions(sample)
    np.testing.assert_allclose(found["class_mean"][0], np.array([3.0, 1.0]) / math.sqrt(10.0))
    np.testing.assert_allclose(found["pooled_mean"][1], -np.array([4.0, 2.0]) / math.sqrt(20.0))
    # min(3 a, b) over the circle
    expected = np.array([1.0, 3.0]) / math.sqrt(10.0)
    np.testing.assert_allclose(found["class_max_margin"][0], expected, atol=1e-12)
    assert "bayes" not in found


def test_what_no_direction_separates_is_not_a_number() -> None:
    sample = oa.Sample([[1.0, 0.0], [-1.0, 0.1], [-1.0, -0.2], [0.5, -3.0]], [1, 1, 1, -1])
    found = reference_directions(sample, oa.GaussianMixture(2, 1.0, 1.0))
    assert np.isnan(found["class_max_margin"][0]).all()
    assert np.isfinite(found["class_max_margin"][1]).all()
    errors = reference_errors(sample, oa.GaussianMixture(2, 1.0, 1.0))
    assert math.isnan(errors["class_max_margin"])
    assert errors["bayes"] == pytest.approx(bayes_error(oa.GaussianMixture(2, 1.0, 1.0)))
    with pytest.raises(oa.ProblemError, match="both classes"):
        reference_directions(oa.Sample([[1.0]], [1]))


def test_the_class_mean_is_the_best_same_class_rule_on_average() -> None:
    """theory.md 4.3, on unconditioned data; the pooled mean, which uses both classes, beats it."""
    errors = [reference_errors(MIXTURE.sample(12, k), MIXTURE) for k in range(400)]
    table = {name: np.array([e[name] for e in errors]) for name in errors[0]}
    gap = table["class_max_margin"] - table["class_mean"]
    assert np.nanmean(gap) > 4.0 * np.nanstd(gap) / math.sqrt(len(errors))
    gap = table["class_mean"] - table["pooled_mean"]
    assert gap.mean() > 4.0 * gap.std() / math.sqrt(len(errors))


# ------------------------------------------------------------------------ error of a network


def state_of(weights: object, output: object, log_scale: float = 0.0) -> oa.Snapshot:
    w, v = np.asarray(weights, dtype=float), np.asarray(output, dtype=float)
    norm = np.linalg.norm(w, axis=1)
    with np.errstate(divide="ignore"):
        log_output = np.log(np.abs(v)) + log_scale
    return oa.Snapshot(
        0.0, np.log(norm) + log_scale, w / norm[:, None], log_output, np.sign(v), np.zeros(1)
    )


def trained(seed: int, log_alpha: float, kappa: float = 1.5, paired: bool = False) -> oa.Snapshot:
    mixture = oa.GaussianMixture(20, kappa, 1.0)
    sample = mixture.sample(12, seed, separability=0.0)
    network = oa.Network.random(32, 20, seed, paired=paired)
    return oa.solve(sample, network, log_alpha, oa.stop_at_risk(0.05), tolerance=1e-4).final


def counted(state: oa.Snapshot, mixture: oa.GaussianMixture, points: int) -> tuple[float, float]:
    """Error by counting signs of plain points, with its standard error."""
    generator = np.random.default_rng(7)
    size = state.log_norm + state.log_output
    weights = state.sign * np.exp(size - size.max())
    shares = []
    for label in (1, -1):
        x = label * mixture.kappa * mixture.direction + mixture.sigma * generator.standard_normal(
            (points, mixture.dimension)
        )
        margin = label * (np.maximum(x @ state.direction.T, 0.0) @ weights)
        shares.append(np.where(margin == 0.0, 0.5, margin < 0.0))
    values = np.stack(shares)
    return float(values.mean()), float(values.std() / math.sqrt(values.size))


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("log_alpha", [-12.0, -3.0, -1.0, 1.0])
def test_the_error_of_a_network_against_counting(log_alpha: float, paired: bool) -> None:
    state = trained(3, log_alpha, paired=paired)
    found = network_error(state, MIXTURE, relative_error=0.01)
    value, error = counted(state, MIXTURE, 200_000)
    assert found.value == pytest.approx(value, abs=4.0 * math.hypot(error, found.standard_error))
    assert found.relative_error <= 0.01
    assert found.value == pytest.approx(0.5 * (found.positive + found.negative))


def test_a_linear_network_needs_one_line() -> None:
    generator = np.random.default_rng(0)
    v = MIXTURE.direction + 0.3 * generator.standard_normal(20)
    found = network_error(state_of([v, -v], [1.0, -1.0]), MIXTURE)
    expected = float(direction_error(v, MIXTURE))
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert found.standard_error < 1e-9 * expected


@pytest.mark.parametrize(("kappa", "log_ratio"), [(1.5, 0.0), (3.0, 0.4), (5.0, -0.3), (7.0, 0.1)])
def test_a_collapsed_network_against_two_dimensional_probabilities(
    kappa: float, log_ratio: float
) -> None:
    """f = a relu(<p, x>) - relu(<q, x>): its sign is decided by two Gaussian products."""
    mixture = oa.GaussianMixture(20, kappa, 1.0)
    generator = np.random.default_rng(int(10 * kappa))
    p = mixture.direction + 0.15 * generator.standard_normal(20)
    q = -mixture.direction + 0.15 * generator.standard_normal(20)
    a = math.exp(log_ratio)
    found = network_error(state_of([p, q], [a, -1.0]), mixture, relative_error=0.005)

    def below(rows: list[np.ndarray], label: int) -> float:
        """P(all rows . x <= 0) on a class."""
        mean = [label * kappa * float(row @ mixture.direction) for row in rows]
        cov = [[float(r @ s) for s in rows] for r in rows]
        return float(multivariate_normal.cdf(np.zeros(len(rows)), mean, cov, abseps=1e-14))

    # positive class: wrong when q.x > 0 and a p.x < q.x, a coin when both products are negative
    scaled = a * np.linalg.norm(p) * p / np.linalg.norm(p)
    positive = below([-q, scaled - q], 1) + 0.5 * below([p, q], 1)
    negative = below([-p, q - scaled], -1) + 0.5 * below([p, q], -1)
    assert found.positive == pytest.approx(positive, rel=0.03)
    assert found.negative == pytest.approx(negative, rel=0.03)
    both = 0.5 * (positive + negative)
    assert found.value == pytest.approx(both, abs=4.0 * found.standard_error + 1e-15)
    dead = 0.5 * (below([p, q], 1) + below([p, q], -1))
    assert found.undecided == pytest.approx(dead, rel=0.05)


def test_the_standard_error_is_honest() -> None:
    """Student's interval at 60 cheap estimates of six networks; the study has 200 networks."""
    inside, total = 0, 0
    for seed, log_alpha, paired in [
        (0, -9.0, False), (1, -4.0, True), (2, -2.0, False), (3, -1.0, True), (4, -0.5, False),
        (5, 1.0, False),
    ]:  # fmt: skip
        state = trained(seed, log_alpha, paired=paired)
        truth = network_error(state, MIXTURE, relative_error=1e-9, seed=1000, most_lines=2**16)
        for k in range(10):
            found = network_error(state, MIXTURE, relative_error=0.2, seed=k)
            spread = math.hypot(found.standard_error, truth.standard_error)
            inside += abs(found.value - truth.value) <= 2.131 * spread
            total += 1
    assert binomtest(inside, total, 0.95).pvalue > 1e-3
    assert inside >= 0.85 * total


def test_scales_that_underflow_decide_where_no_large_neuron_is_active() -> None:
    generator = np.random.default_rng(3)
    w = generator.standard_normal((8, 4))
    v = np.array([1.0, -1.0] * 4)
    mixture = oa.GaussianMixture(4, 1.0, 1.0)
    plain = network_error(state_of(w, v), mixture, seed=2)
    tiny = network_error(state_of(w, v, log_scale=-5000.0), mixture, seed=2)
    assert tiny.value == pytest.approx(plain.value, rel=1e-12)
    # one neuron e^-2000 times smaller than the rest still decides alone
    large = state_of([[1.0, 0.0, 0.0, 0.0]], [1.0])
    both = state_of([[1.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0]], [1.0, -1.0])
    size = np.array([0.0, -2000.0])
    small = oa.Snapshot(0.0, size, both.direction, size, both.sign, np.zeros(1))
    assert network_error(large, mixture).undecided == pytest.approx(0.5, abs=0.02)
    assert network_error(small, mixture).undecided == 0.0
    expected = float(direction_error([1.0, 0.0, 0.0, 0.0], mixture))
    assert network_error(small, mixture).value == pytest.approx(expected, rel=1e-9)


def test_networks_that_have_no_answer_or_only_one() -> None:
    mixture = oa.GaussianMixture(3, 2.0, 1.0)
    nothing = network_error(state_of(np.eye(3), np.zeros(3)), mixture)
    assert (nothing.value, nothing.undecided, nothing.standard_error) == (0.5, 1.0, 0.0)
    always = network_error(state_of([[1.0, 0, 0], [-1.0, 0, 0]], [1.0, 1.0]), mixture)
    assert (always.positive, always.negative) == (0.0, 1.0)
    line = oa.GaussianMixture(1, 2.0, 1.0)
    one = network_error(state_of([[1.0], [-1.0]], [1.0, -2.0]), line)
    assert one.value == pytest.approx(bayes_error(line), rel=1e-12)


def test_estimates_repeat_and_share_their_noise() -> None:
    first, second = trained(1, -4.0), trained(1, -3.5)
    a, b = (network_error(state, MIXTURE, seed=5) for state in (first, second))
    assert a == network_error(first, MIXTURE, seed=5)
    assert a != network_error(first, MIXTURE, seed=6)
    assert abs(a.value - b.value) < 0.5 * math.hypot(a.standard_error, b.standard_error) + 2e-3


def test_more_lines_until_the_accuracy_is_met() -> None:
    state = trained(2, 0.5)
    rough, fine = (network_error(state, MIXTURE, relative_error=e) for e in (0.5, 0.002))
    assert rough.draws < fine.draws
    assert fine.relative_error <= 0.002
    limited = network_error(state, MIXTURE, relative_error=1e-9, most_lines=5000)
    assert 5000 <= limited.draws < 10_000


def test_estimates_without_meaning() -> None:
    state = trained(1, -4.0)
    with pytest.raises(oa.ProblemError, match="relative_error is 0"):
        network_error(state, MIXTURE, relative_error=0.0)
    with pytest.raises(oa.ProblemError, match="most_lines is 0"):
        network_error(state, MIXTURE, most_lines=0)
    with pytest.raises(oa.ProblemError, match="dimension 20, the inputs 3"):
        network_error(state, oa.GaussianMixture(3, 1.0, 1.0))
    sample = MIXTURE.sample(4, 0)
    run = oa.solve(sample, oa.Network.random(4, 20, 0), -1.0, oa.stop_at_time(0.1))
    with pytest.raises(oa.ProblemError, match="several times"):
        network_error(run.at([0.0, 0.1]), MIXTURE)


def test_held_out_rows() -> None:
    state = state_of([[1.0, 0.0], [0.0, 1.0]], [1.0, -1.0], log_scale=-3000.0)
    sample = oa.Sample([[1.0, 0.5], [0.5, 1.0], [-1.0, -1.0], [0.2, 0.9]], [1, 1, 1, -1])
    found = held_out_error(state, sample)
    assert found.positive == pytest.approx((0.0 + 1.0 + 0.5) / 3.0)
    assert found.negative == 0.0
    assert found.value == pytest.approx(0.25)
    assert found.undecided == pytest.approx(1.0 / 6.0)
    right = held_out_error(state, oa.Sample([[1.0, 0.5], [0.2, 0.9]], [1, -1]))
    assert (right.value, right.standard_error) == (0.0, 0.5)
    with pytest.raises(oa.ProblemError, match="both classes"):
        held_out_error(state, oa.Sample([[1.0, 0.5]], [1]))


def test_held_out_rows_of_the_mixture_agree_with_lines() -> None:
    split, networks = problem_of(UCurve(width=16).runs[0])
    run = oa.solve(split.train, networks["paired"], -2.0, oa.stop_at_risk(0.05), tolerance=1e-4)
    fresh = MIXTURE.sample(40_000, seed=5)
    rows, lines = held_out_error(run.final, fresh), network_error(run.final, MIXTURE)
    spread = math.hypot(rows.standard_error, lines.standard_error)
    assert rows.value == pytest.approx(lines.value, abs=4.0 * spread)
