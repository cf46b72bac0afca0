"""Samples, mixture and its conditional law, networks, losses."""

import math
import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from overalign import sampling
from overalign.errors import OveralignError, ProblemError, SamplingError
from overalign.problem import (
    ExponentialLoss,
    GaussianMixture,
    LogisticLoss,
    Network,
    Sample,
    SquareLoss,
    as_generator,
)

quick = settings(deadline=None, max_examples=60)
seeds = st.integers(0, 2**32 - 1)


def random_sample(seed, n, dimension):
    generator = np.random.default_rng(seed)
    return Sample(generator.standard_normal((n, dimension)), generator.choice([-1.0, 1.0], size=n))


# ---------------------------------------------------------------- samples


class TestSample:
    def test_it_keeps_a_read_only_float64_copy(self):
        x = np.asfortranarray(np.array([[1.0, 2.0], [3.0, 4.0]]))
        sample = Sample(x, [1, -1])
        x[0, 0] = 7.0
        assert sample.x[0, 0] == 1.0
        assert sample.x.flags.c_contiguous
        for array in (sample.x, sample.y):
            assert array.dtype == np.float64
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0.0
        with pytest.raises(FrozenInstanceError):
            sample.x = x

    @pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.float16, np.float32])
    def test_exact_conversions_are_made(self, dtype):
        x = np.array([[1, 3], [5, 7]], dtype=dtype)
        assert (Sample(x, np.array([1, 2], dtype=dtype)).x == x.astype(np.float64)).all()

    def test_it_survives_pickling_read_only(self):
        for thing in (random_sample(0, 3, 2), Network.random(3, 2, 0), GaussianMixture(2, 1, 1)):
            copy = pickle.loads(pickle.dumps(thing))
            for name, value in vars(thing).items():
                assert np.array_equal(getattr(copy, name), value)
            arrays = [v for v in vars(copy).values() if isinstance(v, np.ndarray)]
            assert not any(array.flags.writeable for array in arrays)

    @quick
    @given(seed=seeds, n=st.integers(2, 9), dimension=st.integers(1, 6))
    def test_pair_quantities_match_their_definition(self, seed, n, dimension):
        sample = random_sample(seed, n, dimension)
        cosines, negative = [], 0
        for i in range(n):
            for k in range(i + 1, n):
                product = sample.y[i] * sample.y[k] * float(sample.x[i] @ sample.x[k])
                cosines.append(product / np.linalg.norm(sample.x[i]) / np.linalg.norm(sample.x[k]))
                negative += product < 0
        assert sample.separability == pytest.approx(min(cosines), abs=1e-14)
        assert sample.violating_pairs == pytest.approx(negative / len(cosines), abs=1e-14)
        assert sample.max_norm == max(sample.norms)
        assert (sample.signed == sample.y[:, None] * sample.x).all()

    @quick
    @given(seed=seeds, scale=st.floats(1e-3, 1e3), n=st.integers(2, 9))
    def test_separability_ignores_scale_rotation_order_and_a_swap_of_classes(self, seed, scale, n):
        sample = random_sample(seed, n, 4)
        rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((4, 4)))[0]
        order = np.random.default_rng(seed).permutation(n)
        moved = Sample(scale * (sample.x @ rotation)[order], -sample.y[order])
        assert moved.separability == pytest.approx(sample.separability, abs=1e-12)

    def test_pairs_are_counted_across_blocks(self):
        sample = random_sample(1, 1500, 3)
        products = sample.signed @ sample.signed.T
        upper = np.triu_indices(1500, 1)
        assert sample.violating_pairs == np.mean(products[upper] < 0)
        lengths = np.outer(sample.norms, sample.norms)
        assert sample.separability == pytest.approx((products / lengths)[upper].min(), abs=1e-14)

    @quick
    @given(seed=seeds, n=st.integers(1, 9))
    def test_class_sums_add_up(self, seed, n):
        sample = random_sample(seed, n, 3)
        total = sample.class_sum(+1) + sample.class_sum(-1)
        assert total == pytest.approx(sample.x.sum(axis=0), abs=1e-12)
        signed = sample.class_sum(+1) - sample.class_sum(-1)
        assert signed == pytest.approx(sample.signed.sum(axis=0), abs=1e-12)
        assert sorted([*sample.positives, *sample.negatives]) == list(range(n))

    def test_repeated_rows_are_listed_up_to_a_few(self):
        x = [[1.0, 0.0], [2.0, 1.0], [1.0, -0.0], [2.0, 1.0], [3.0, 3.0]]
        assert Sample(x, [1, 1, 1, -1, 1]).repeated == ((0, 2), (1, 3))
        assert len(Sample(np.ones((50, 2)), np.ones(50)).repeated) == 8
        assert random_sample(0, 20, 2).repeated == ()

    @pytest.mark.parametrize(
        ("x", "y", "says"),
        [
            ([[1.0, 2.0], [3.0, np.nan]], [1, -1], r"x\[1, 1\] is nan \(row 1\)"),
            ([[np.inf, 2.0]], [1], r"x\[0, 0\] is inf"),
            ([[1.0], [2.0]], [1, np.nan], r"y\[1\] is nan"),
            ([1.0, 2.0], [1, -1], r"x has shape \(2,\), expected 2 dimension"),
            ([[1.0], [2.0]], [[1], [-1]], r"y has shape \(2, 1\), expected 1 dimension"),
            ([[1.0], [2.0]], [1], "x has 2 rows and y has 1 entries"),
            (np.empty((0, 3)), np.empty(0), "x is empty"),
            (np.empty((3, 0)), [1, 1, 1], "x is empty"),
            ([[1.0 + 1j]], [1], "x has dtype complex128"),
            ([[1.0]], [True], "y has dtype bool"),
            ([["a"]], [1], "x has dtype <U1"),
            (np.array([[None]]), [1], "x has dtype object"),
            ([[1.0, 2.0], [3.0]], [1, 1], "x is not an array of numbers"),
            ([[2**60]], [1], r"integers beyond 2\*\*53"),
            ([[1.0], [0.0], [0.0]], [1, 1, 1], r"row 1 is zero \(2 such in all\)"),
            ([[1e200]], [1], r"row 0 has its largest entry at 1e\+200"),
            ([[1.0], [1e-200]], [1, 1], "row 1 has its largest entry at 1e-200"),
            (np.ma.masked_array([[1.0]], mask=[[True]]), [1], "masked"),
            (np.ones((1, 1), dtype=np.longdouble), [1], "does not convert to float64 exactly"),
        ],
    )
    def test_bad_input_is_named(self, x, y, says):
        with pytest.raises(ProblemError, match=says):
            Sample(x, y)

    @pytest.mark.parametrize("name", ["separability", "violating_pairs", "signed", "positives"])
    def test_classification_quantities_need_labels(self, name):
        sample = Sample([[1.0], [2.0], [3.0]], [1, 0.5, 2])
        assert not sample.is_classification
        assert not sample.has_both_classes
        with pytest.raises(ProblemError, match=r"y\[1\] is 0.5 \(row 1\); map the two classes"):
            getattr(sample, name)

    def test_require_classification(self):
        random_sample(0, 20, 2).require_classification("anything")
        with pytest.raises(ProblemError, match=r"the margin needs labels .* y\[1\] is 3"):
            Sample([[1.0], [2.0]], [1, 3]).require_classification("the margin")
        with pytest.raises(ProblemError, match=r"all 2 labels are -1; add samples of label \+1"):
            Sample([[1.0], [2.0]], [-1, -1]).require_classification("the margin")

    def test_one_row_has_no_pair_and_a_class_is_plus_or_minus_one(self):
        sample = Sample([[1.0]], [1])
        with pytest.raises(ProblemError, match="about pairs"):
            _ = sample.separability
        with pytest.raises(ProblemError, match="label is 0"):
            sample.class_sum(0)

    def test_errors_belong_to_the_package_and_to_python(self):
        assert issubclass(ProblemError, OveralignError)
        assert issubclass(ProblemError, ValueError)


# ---------------------------------------------------------------- the mixture


class TestMixture:
    def test_labels_alternate_unless_given(self):
        mixture = GaussianMixture(3, 1.0, 1.0)
        for n in (1, 4, 7):
            assert np.sum(mixture.sample(n, 0).y == 1) == math.ceil(n / 2)
        assert (mixture.sample(3, 0, labels=[-1, -1, 1]).y == [-1, -1, 1]).all()

    @pytest.mark.parametrize("separability", [None, 0.0, 0.3])
    def test_labels_only_flip_the_points(self, separability):
        mixture = GaussianMixture(4, 1.0, 0.5)
        alternating = mixture.sample(5, 3, separability)
        positive = mixture.sample(5, 3, separability, labels=np.ones(5))
        assert (alternating.signed == positive.x).all()

    @pytest.mark.parametrize(("separability", "kappa"), [(None, 1.5), (0.0, 3.0), (0.0, 1.5)])
    def test_same_seed_same_numbers(self, separability, kappa):
        mixture = GaussianMixture(20, kappa, 1.0)
        first = mixture.sample(12, 5, separability)
        again = mixture.sample(12, np.random.default_rng(5), separability)
        other = mixture.sample(12, 6, separability)
        assert (first.x == again.x).all()
        assert (first.x != other.x).all()

    def test_moments_along_a_direction(self):
        direction = np.array([3.0, 0.0, 4.0])
        mixture = GaussianMixture(3, kappa=2.0, sigma=0.5, direction=direction)
        points = mixture.sample(20_000, 0).signed
        # five standard errors of a mean and of a standard deviation over 20 000 draws
        assert points.mean(axis=0) == pytest.approx(2.0 * direction / 5, abs=5 * 0.5 / 20_000**0.5)
        assert points.std(axis=0) == pytest.approx(np.full(3, 0.5), abs=5 * 0.5 / 40_000**0.5)

    @quick
    @given(
        seed=seeds,
        n=st.integers(1, 8),
        dimension=st.integers(1, 10),
        kappa=st.floats(0.5, 3.0),
        level=st.floats(-0.5, 0.5),
    )
    def test_the_condition_holds(self, seed, n, dimension, kappa, level):
        sample, report = GaussianMixture(dimension, kappa, 1.0).sample_with_report(n, seed, level)
        assert report.method in {"rejection", "gibbs"}
        assert 0.0 < report.acceptance_rate <= 1.0
        if n > 1:
            assert sample.separability >= level - 1e-12

    @pytest.mark.parametrize(
        ("n", "dimension", "kappa", "level"),
        [
            (1, 3, 1.0, 0.0),
            (2, 1, 0.5, 0.0),
            (24, 20, 1.5, 0.0),
            (12, 20, 0.0, 0.1),
            (6, 8, 1, 0.8),
        ],
    )
    def test_gibbs_holds_and_reports(self, n, dimension, kappa, level):
        mixture = GaussianMixture(dimension, kappa, 1.0)
        sample, report = mixture.sample_with_report(n, 0, level, method="gibbs")
        if n > 1:
            assert sample.separability >= level - 1e-12
        assert report.method == "gibbs"
        assert report.separability == level
        assert report.effective_draws >= 20
        assert set(report.autocorrelation) == {"smallest cosine", "mean norm", "signal cosine"}
        assert all(len(curve) == 10 for curve in report.autocorrelation.values())
        assert "lag-1 autocorrelation" in str(report)

    def test_cheap_cases_use_rejection_and_dear_ones_gibbs(self):
        cheap = GaussianMixture(20, 3.0, 1.0).sample_with_report(6, 0, 0.0)[1]
        assert cheap.method == "rejection"
        # .469 by plain Monte Carlo; five standard errors over >= 4096 samples
        assert cheap.acceptance_rate == pytest.approx(0.469, abs=5 * 0.5 / 4096**0.5)
        assert GaussianMixture(20, 1.5, 1.0).sample_with_report(12, 0, 0.0)[1].method == "gibbs"
        assert GaussianMixture(20, 1.5, 1.0).sample_with_report(12, 0)[1].method == "unconditioned"

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"dimension": 0}, "dimension is 0"),
            ({"dimension": 2.5}, "dimension is 2.5"),
            ({"kappa": -1.0}, "kappa is -1"),
            ({"kappa": math.nan}, "kappa is nan"),
            ({"sigma": 0.0}, "sigma is 0"),
            ({"direction": [0.0, 0.0, 0.0]}, "vector 0 is zero"),
            ({"direction": [1.0]}, "direction has 1 entries"),
        ],
    )
    def test_bad_parameters_are_named(self, arguments, says):
        with pytest.raises(ProblemError, match=says):
            GaussianMixture(**({"dimension": 3, "kappa": 1.0, "sigma": 1.0} | arguments))

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"n": 0}, "n is 0"),
            ({"seed": None}, "seed is None"),
            ({"seed": -1}, "seed is -1"),
            ({"labels": [1, 1]}, "labels has 2 entries, n is 3"),
            ({"labels": [1, 0, 1]}, r"labels\[1\] is 0"),
            ({"separability": 1.0}, "separability is 1"),
            ({"separability": math.nan}, "separability is nan"),
            ({"sweeps": 5}, "sweeps is 5"),
            ({"method": "magic"}, "method is 'magic'"),
        ],
    )
    def test_bad_requests_are_named(self, arguments, says):
        with pytest.raises(ProblemError, match=says):
            GaussianMixture(3, 1.0, 1.0).sample_with_report(**({"n": 3, "seed": 0} | arguments))

    def test_impossible_rejection_says_how_often_it_accepted(self):
        with pytest.raises(SamplingError, match=r"accepted 0 of \d+ samples .*use method='gibbs'"):
            GaussianMixture(20, 0.0, 1.0).sample_with_report(20, 0, 0.0, method="rejection")

    def test_a_chain_that_does_not_mix_is_an_error(self, monkeypatch):
        monkeypatch.setattr(sampling, "_MOST_EXTENSION", 1)
        with pytest.raises(SamplingError, match=r"50 would not cover the 20 wanted .*acceptance"):
            GaussianMixture(10, 1.0, 1.0).sample(8, 0, 0.95, sweeps=50)

    def test_no_start_below_zero_is_an_error(self, monkeypatch):
        monkeypatch.setattr(sampling, "_POINT_BATCHES", (1,))
        mixture = GaussianMixture(2, 0.0, 1.0)
        with pytest.raises(SamplingError, match="no start found for point"):
            mixture.sample_with_report(60, 0, -0.01, method="gibbs")


class TestPairLaw:
    """theory.md 6.2: P(<u, u'> <= 0) = F_ncF(1; d, d, 2 kappa^2/sigma^2)."""

    @pytest.mark.parametrize(("dimension", "kappa", "sigma"), [(20, 3.0, 1.0), (5, 1.0, 0.5)])
    def test_disjoint_pairs(self, dimension, kappa, sigma):
        pairs = 40_000
        points = GaussianMixture(dimension, kappa, sigma).sample(2 * pairs, 0).signed
        first, second = points[::2], points[1::2]
        products = np.sum(first * second, axis=1)
        cosines = products / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
        noncentrality = 2 * kappa**2 / sigma**2
        exact = stats.ncf.cdf(1.0, dimension, dimension, noncentrality)
        error = math.sqrt(exact * (1 - exact) / pairs)
        assert np.mean(products <= 0) == pytest.approx(exact, abs=4 * error)
        level = 0.1
        bound = stats.ncf.cdf((1 + level) / (1 - level), dimension, dimension, noncentrality)
        assert np.mean(cosines <= level) <= bound + 4 * error

    def test_the_reported_acceptance_of_two_points(self):
        report = GaussianMixture(5, 1.0, 0.5).sample_with_report(2, 0, 0.0)[1]
        exact = 1 - stats.ncf.cdf(1.0, 5, 5, 8.0)
        # four standard errors over the 4096 whole samples that rejection tries at once
        assert report.acceptance_rate == pytest.approx(exact, abs=4 * 0.5 / 4096**0.5)

    def test_violating_pairs_average_to_the_law(self):
        mixture = GaussianMixture(8, 1.5, 1.0)
        shares = [mixture.sample(20, seed).violating_pairs for seed in range(300)]
        exact = stats.ncf.cdf(1.0, 8, 8, 4.5)
        assert np.mean(shares) == pytest.approx(exact, abs=4 * np.std(shares) / 300**0.5)


class TestConditionalLaw:
    """Gibbs against rejection, which is exact, where both work.

    Five statistics by two-sample Kolmogorov-Smirnov tests with fixed seeds. A p-value below 1e-3
    fails: at ten comparisons a change of seeds alone would fail one time in a hundred, while the
    sequential start, which is the law a broken sampler would be left with, lies below 1e-6
    (`test_the_comparison_would_see_the_sequential_start`).
    """

    draws = 500
    n, level = 5, 0.25
    mixture = GaussianMixture(3, 0.7, 1.0)
    smallest_p = 1e-3

    @classmethod
    def statistics(cls, points):
        norms = np.linalg.norm(points, axis=1)
        cosines = (points / norms[:, None]) @ (points / norms[:, None]).T
        total = points.sum(axis=0)
        smallest = cosines[np.triu_indices(cls.n, 1)].min()
        return [smallest, norms.mean(), total[0] / np.linalg.norm(total), norms[0], points[-1, 0]]

    @classmethod
    def draw(cls, method, first_seed, draws=draws):
        rows = []
        for seed in range(first_seed, first_seed + draws):
            sample = cls.mixture.sample_with_report(cls.n, seed, cls.level, None, 50, method)[0]
            rows.append(cls.statistics(sample.signed))
        return np.array(rows)

    def p_values(self, left, right):
        columns = range(left.shape[1])
        return [stats.ks_2samp(left[:, k], right[:, k]).pvalue for k in columns]

    @pytest.fixture(scope="class")
    @classmethod
    def rejection(cls):
        return cls.draw("rejection", 0)

    def test_gibbs_by_rejection_of_single_points(self, rejection):
        assert min(self.p_values(rejection, self.draw("gibbs", 10_000))) > self.smallest_p

    def test_gibbs_by_slice_steps_alone(self, rejection, monkeypatch):
        monkeypatch.setattr(sampling._Chain, "tune", lambda chain: setattr(chain, "batches", ()))
        assert min(self.p_values(rejection, self.draw("gibbs", 20_000, 300))) > self.smallest_p

    def test_the_comparison_would_see_the_sequential_start(self, rejection):
        law = sampling.ConditionalLaw(self.n, 0.7 * np.eye(3)[0], 1.0, self.level)
        starts = [sampling._Chain(law, as_generator(seed)).points for seed in range(self.draws)]
        start = np.array([self.statistics(points) for points in starts])
        assert min(self.p_values(rejection, start)) < 1e-6

    def test_autocorrelation_time_of_a_known_process(self):
        # AR(1) with coefficient r has integrated time (1 + r)/(1 - r) = 9 at r = 0.8; the estimate
        # from 1e5 steps scatters by about 2 % and Geyer's cut adds as much again
        noise = np.random.default_rng(0).standard_normal(100_000)
        series = np.zeros(100_000)
        for step in range(1, 100_000):
            series[step] = 0.8 * series[step - 1] + noise[step]
        curve = sampling._autocorrelation(series)
        assert curve[1] == pytest.approx(0.8, abs=0.01)
        assert sampling._integrated_time(curve) == pytest.approx(9.0, rel=0.1)
        assert sampling._integrated_time(sampling._autocorrelation(np.full(100, 0.3))) == 1.0


# ---------------------------------------------------------------- networks


class TestNetwork:
    @quick
    @given(
        seed=seeds,
        width=st.integers(1, 12).map(lambda half: 2 * half),
        dimension=st.integers(1, 6),
        row_law=st.sampled_from(["sphere", "gaussian"]),
        paired=st.booleans(),
    )
    def test_random_networks_are_balanced(self, seed, width, dimension, row_law, paired):
        network = Network.random(width, dimension, seed, row_law=row_law, paired=paired)
        assert (network.width, network.dimension) == (width, dimension)
        assert network.is_balanced
        assert np.abs(network.output) == pytest.approx(network.row_norms, rel=1e-14)
        assert (network.sign == np.resize([1.0, -1.0], width)).all()
        if row_law == "sphere":
            assert network.row_norms == pytest.approx(np.ones(width), rel=1e-14)

    @quick
    @given(seed=seeds, half=st.integers(1, 20))
    def test_paired_networks_start_at_zero(self, seed, half):
        network = Network.random(2 * half, 3, seed, paired=True)
        x = np.random.default_rng(seed).standard_normal((7, 3))
        largest = np.abs(x).sum() * network.max_row_norm**2
        assert np.abs(network.outputs(x)).max() <= 1e-15 * 2 * half * largest
        assert (network.weights[::2] == network.weights[1::2]).all()

    def test_row_laws(self):
        rows = Network.random(20_000, 10, 0, row_law="gaussian").weights
        # N(0, I/d): mean square norm 1, of standard deviation sqrt(2/d) a row; five standard errors
        assert np.mean(np.sum(rows**2, axis=1)) == pytest.approx(1.0, abs=5 * (0.2 / 20_000) ** 0.5)
        sphere = Network.random(20_000, 3, 0).weights
        # a coordinate of a uniform point of the 2-sphere is uniform on [-1, 1]
        assert stats.kstest(sphere[:, 0], stats.uniform(-1, 2).cdf).pvalue > 1e-3

    def test_random_signs_are_fair_and_seeded(self):
        sign = Network.random(20_000, 2, 0, signs="random").sign
        assert abs(sign.mean()) < 5 / 20_000**0.5
        again = Network.random(20_000, 2, 0, signs="random")
        assert (again.sign == sign).all()

    @quick
    @given(seed=seeds, log_alpha=st.floats(-20, 20))
    def test_outputs_match_their_definition(self, seed, log_alpha):
        generator = np.random.default_rng(seed)
        network = Network(generator.standard_normal((5, 3)), generator.standard_normal(5))
        x = generator.standard_normal((4, 3))
        alpha = math.exp(log_alpha)
        for row, value in zip(x, network.outputs(x, log_alpha), strict=True):
            terms = alpha * network.output * np.maximum(alpha * network.weights @ row, 0.0)
            assert value == pytest.approx(terms.sum(), abs=1e-13 * np.abs(terms).sum())

    def test_very_small_and_very_large_alpha(self):
        network = Network.balanced(weights=[[1.0]], sign=[1])
        assert network.outputs([[1.0]], log_alpha=-5000.0) == 0.0
        with pytest.raises(ProblemError, match="overflows float64 at log_alpha=5000"):
            network.outputs([[1.0]], log_alpha=5000.0)

    def test_unbalanced_and_silent_neurons_are_allowed(self):
        network = Network(weights=[[3.0, 4.0], [1.0, 0.0]], output=[2, 0])
        assert not network.is_balanced
        assert (network.sign == [1.0, 0.0]).all()
        assert network.max_row_norm == 5.0

    @pytest.mark.parametrize(
        ("make", "says"),
        [
            (lambda: Network([[1.0], [0.0]], [1, 1]), "neuron 1 is zero"),
            (lambda: Network([[np.nan]], [1]), r"weights\[0, 0\] is nan"),
            (lambda: Network([[1.0]], [np.inf]), r"output\[0\] is inf"),
            (lambda: Network([[1.0]], [1, 2]), "weights has 1 rows and output has 2 entries"),
            (lambda: Network([1.0], [1]), "weights has shape"),
            (lambda: Network([[1j]], [1]), "weights has dtype complex128"),
            (lambda: Network.balanced(weights=[[1.0]], sign=[0]), r"sign\[0\] is 0"),
            (lambda: Network.balanced(weights=[[1.0]], sign=[1, 1]), "sign has 2 entries"),
            (lambda: Network.balanced(weights=[[0.0]], sign=[1]), "neuron 0 is zero"),
            (lambda: Network.random(3, 2, 0, paired=True), "width is 3, .* even"),
            (
                lambda: Network.random(4, 2, 0, paired=True, signs="random"),
                "signs is 'random', but",
            ),
            (lambda: Network.random(0, 2, 0), "width is 0"),
            (lambda: Network.random(2, 2, 0, row_law="cube"), "row_law is 'cube', .*'sphere'"),
            (lambda: Network.random(2, 2, 0, signs="odd"), "signs is 'odd'"),
            (lambda: Network.random(2, 2, "zero"), "seed is 'zero'"),
            (lambda: Network.random(2, 2, 0).outputs([[1.0]]), "x has 1 columns"),
            (lambda: Network.random(2, 2, 0).outputs([[1.0, 1.0]], math.inf), "log_alpha is inf"),
        ],
    )
    def test_bad_input_is_named(self, make, says):
        with pytest.raises(ProblemError, match=says):
            make()


# ---------------------------------------------------------------- losses

LOSSES = [LogisticLoss, ExponentialLoss, SquareLoss]


class TestLosses:
    @quick
    @given(
        f=hnp.arrays(np.float64, st.integers(1, 6), elements=st.floats(-5, 5)),
        seed=seeds,
        factor=st.floats(0.1, 10.0),
        reduction=st.sampled_from(["mean", "sum"]),
        family=st.sampled_from(LOSSES),
    )
    def test_residuals_are_minus_the_gradient(self, f, seed, factor, reduction, family):
        loss, step = family(factor, reduction), 1e-5
        y = np.random.default_rng(seed).choice([-1.0, 1.0], size=len(f))
        for index, residual in enumerate(loss.residuals(f, y)):
            shift = step * np.eye(len(f))[index]
            difference = (loss.risk(f + shift, y) - loss.risk(f - shift, y)) / (2 * step)
            # truncation step^2 f'''/6 and rounding 1e-16/step, both times the size of the risk
            assert residual == pytest.approx(-difference, abs=1e-9 * (1 + loss.risk(f, y)))

    @pytest.mark.parametrize("n", [1, 7, 40])
    def test_time_factor_is_the_table_of_the_theory(self, n):
        # theory.md 1.3: R, sum of log, mean of log
        assert LogisticLoss(2.0, "sum").time_factor(n) == 1.0
        assert LogisticLoss(1.0, "sum").time_factor(n) == 1 / 2
        assert LogisticLoss().time_factor(n) == pytest.approx(1 / (2 * n), rel=1e-15)
        for family in (ExponentialLoss, SquareLoss):
            assert family(3.0, "sum").time_factor(n) == 3.0
            assert family(3.0, "mean").time_factor(n) == pytest.approx(3.0 / n, rel=1e-15)

    @quick
    @given(seed=seeds, n=st.integers(1, 9), factor=st.floats(0.1, 10.0))
    def test_the_field_is_beta_times_the_field_of_r(self, seed, n, factor):
        generator = np.random.default_rng(seed)
        f, y = 3 * generator.standard_normal(n), generator.choice([-1.0, 1.0], size=n)
        reference, loss = LogisticLoss(2.0, "sum"), LogisticLoss(factor)
        beta = loss.time_factor(n)
        assert loss.residuals(f, y) == pytest.approx(beta * reference.residuals(f, y), rel=1e-13)
        assert loss.risk(f, y) == pytest.approx(beta * reference.risk(f, y), rel=1e-13)

    @pytest.mark.parametrize("family", LOSSES)
    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    def test_a_silent_network_is_pulled_at_rate_beta(self, family, reduction):
        loss, y = family(1.7, reduction), np.array([1.0, -1.0, 1.0])
        assert loss.residuals(np.zeros(3), y) == pytest.approx(loss.time_factor(3) * y, rel=1e-15)

    def test_large_margins_keep_their_digits(self):
        loss = LogisticLoss(2.0, "sum")
        for m in (1e4, 700.0, 40.0):
            assert loss.risk([m], [1]) == 2 * math.exp(-m)
            assert loss.residuals([-m], [-1]) == pytest.approx([-2 * math.exp(-m)], rel=1e-15)
            assert loss.risk([-m], [1]) == pytest.approx(2 * m, rel=1e-15)
            assert loss.residuals([-m], [1]) == pytest.approx([2.0], rel=1e-15)
        small = 1e-12  # g - 1 = -tanh(m/2), theory.md 2.1
        assert loss.residuals([small], [1])[0] - 1 == pytest.approx(-small / 2, rel=1e-3)
        assert ExponentialLoss().risk([1e4], [1]) == 0.0
        assert ExponentialLoss().risk([-1e4], [1]) == math.inf

    @quick
    @given(m=st.floats(0, 700), family=st.sampled_from(LOSSES[:2]))
    def test_losses_see_only_the_margin(self, m, family):
        loss = family()
        assert loss.risk([m], [1]) == loss.risk([-m], [-1])
        assume(m > 1e-3)
        assert loss.risk([m], [1]) < loss.risk([-m], [1])

    def test_what_the_solver_is_told(self):
        assert [family.kind for family in LOSSES] == [0, 1, 2]
        assert [family.needs_labels for family in LOSSES] == [True, True, False]
        assert LogisticLoss(2, "sum") == LogisticLoss(2.0, "sum")
        assert str(LogisticLoss()) == "mean of 1 * log(1 + exp(-y f))"
        assert LogisticLoss(3.0).weight(6) == 0.5
        assert LogisticLoss(3.0, "sum").weight(6) == 3.0

    @pytest.mark.parametrize("family", LOSSES)
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ((0.0,), "factor is 0"),
            ((-1.0,), "factor is -1"),
            ((math.nan,), "factor is nan"),
            (("2",), "factor is '2'"),
            ((1.0, "average"), "reduction is 'average', expected one of 'mean', 'sum'"),
        ],
    )
    def test_bad_parameters_are_named(self, family, arguments, says):
        with pytest.raises(ProblemError, match=says):
            family(*arguments)

    def test_bad_arguments_are_named(self):
        with pytest.raises(
            ProblemError, match=r"LogisticLoss needs labels .* y\[1\] is 0.3; .*Squ"
        ):
            LogisticLoss().risk([0.0, 0.0], [1, 0.3])
        with pytest.raises(ProblemError, match="outputs has 2 entries and y has 1"):
            SquareLoss().residuals([0.0, 0.0], [1])
        with pytest.raises(ProblemError, match=r"outputs\[0\] is nan"):
            SquareLoss().risk([np.nan], [1])
        with pytest.raises(ProblemError, match="n is 0"):
            SquareLoss().weight(0)


def test_a_sample_and_a_network_of_one_seed_share_no_noise() -> None:
    sample = GaussianMixture(20, kappa=0.0, sigma=1.0).sample(8, seed=0)
    network = Network.random(8, 20, seed=0)
    cosines = network.weights @ sample.signed.T / sample.norms
    assert np.max(np.abs(cosines)) < 0.9
