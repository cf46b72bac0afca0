"""Where alignment ends as alpha -> 0."""

import math

import numpy as np
import pytest
from flows import separable
from scipy.optimize import minimize

import overalign as oa
from overalign.alignment import alignment_of
from overalign.flow import Over
from overalign.limit import limit_alignment


@pytest.mark.parametrize("loss", [oa.LogisticLoss(), oa.ExponentialLoss(2.0, "sum")])
@pytest.mark.parametrize("label", [1, -1])
def test_the_limit_is_one_neuron_that_starts_aligned(loss: oa.LogisticLoss, label: int) -> None:
    sample = separable()
    rows = sample.x[sample.y == label]
    alone, neuron = (
        oa.Sample(rows, np.ones(6)),
        oa.Network.balanced(weights=[rows.sum(axis=0)], sign=[1]),
    )
    etas = [0.5, 0.05, 1e-3, 1e-8]
    limit = limit_alignment(sample, etas, label, loss)
    assert limit.Psi.shape == (4,)
    for k, eta in enumerate(etas):
        run = oa.solve(alone, neuron, -24.0, oa.stop_at_risk(eta), loss, tolerance=1e-11)
        np.testing.assert_allclose(limit.predictor[k], run.final.direction[0], atol=1e-10)
        assert float(limit.log_norm[k]) == pytest.approx(2 * run.final.log_norm[0], abs=1e-10)
        margins = math.exp(limit.log_norm[k]) * rows @ limit.predictor[k]
        assert loss.risk(margins, np.ones(6)) == pytest.approx(eta, rel=1e-11)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("over", "label"), [("positive", 1), ("negative", -1)])
def test_networks_stop_at_the_limit(seed: int, over: Over, label: int) -> None:
    sample, etas = separable(seed), (0.3, 0.05, 0.01)
    limit = limit_alignment(sample, etas, label)
    network = oa.Network.random(16 if seed else 64, 20, seed)
    for alpha in (1e-4, 1e-30):
        for k, eta in enumerate(etas):
            run = oa.solve(sample, network, math.log(alpha), oa.stop_at_risk(eta, over=over))
            found = alignment_of(run.final, sample)
            part = found.positive if label == 1 else found.negative
            assert float(part.Psi) == pytest.approx(float(limit.Psi[k]), abs=1e-5)
            assert float(part.log_norm) == pytest.approx(float(limit.log_norm[k]), abs=1e-2)
            if alpha == 1e-30:
                np.testing.assert_allclose(part.predictor, limit.predictor[k], atol=1e-7)
    assert limit.cone_angle.max() > 0.02


def test_a_stop_over_all_samples_is_slow_for_one_class_and_not_for_the_other() -> None:
    """The slower class is left with all of the risk; the faster one goes on turning."""
    sample, network = separable(), oa.Network.random(32, 20, seed=0)
    assert np.linalg.norm(sample.class_sum(1)) > np.linalg.norm(sample.class_sum(-1))
    faster, slower = [], []
    for log_alpha in (-20.0, -200.0, -2000.0, -20000.0):
        run = oa.solve(sample, network, log_alpha, oa.stop_at_risk(0.05))
        found = alignment_of(run.final, sample)
        faster.append(float(found.positive.Psi))
        slower.append(float(found.negative.Psi))
    np.testing.assert_array_less(np.diff(faster), -0.002)
    assert faster[-1] > 0.9  # its max-margin direction, far away still
    limit = float(limit_alignment(sample, 0.05 * sample.n / 6, label=-1).Psi)
    gaps = np.abs(np.array(slower) - limit)
    np.testing.assert_array_less(gaps[1:], 0.15 * gaps[:-1])
    assert gaps[-1] < 1e-6


def test_one_sample_in_closed_form() -> None:
    sample = oa.Sample([[3.0, 4.0]], [-1])
    limit = limit_alignment(sample, [[0.6], [1e-12]], label=-1)
    np.testing.assert_allclose(limit.cone_angle, np.zeros((2, 1)), rtol=0, atol=1e-15)
    np.testing.assert_allclose(limit.predictor, [[[0.6, 0.8]]] * 2)
    margins = -np.log(np.expm1(limit.eta))
    np.testing.assert_allclose(limit.log_norm, np.log(margins / 5), atol=1e-11)
    assert limit_alignment(sample, 0.6, -1).cone.half_angle < 1e-15


def test_the_limit_at_the_ends_of_eta() -> None:
    sample = separable()
    near = limit_alignment(sample, math.log(2) * (1 - 1e-9))
    assert float(near.cone_angle) < 1e-8
    at_start = limit_alignment(sample, [math.log(2) - 1e-14, math.log(2) * (1 - 1e-15), 0.05])
    assert np.all(at_start.cone_angle[:2] < 1e-8)
    assert at_start.cone_angle[2] > 0.05
    late = limit_alignment(sample, [1e-6, 1e-100])
    assert late.cone_angle[1] > late.cone_angle[0] > 0.1
    scaled = limit_alignment(oa.Sample(1e5 * sample.x, sample.y), 0.05)
    assert float(scaled.Psi) == pytest.approx(float(limit_alignment(sample, 0.05).Psi), abs=1e-11)


@pytest.mark.parametrize("eta", [math.log(2), 0.7, 0.0, -1.0, math.nan, [0.1, 0.7], []])
def test_risks_outside_the_limit(eta: object) -> None:
    with pytest.raises(oa.ProblemError, match="below the risk at f = 0"):
        limit_alignment(separable(), eta)  # type: ignore[arg-type]


def test_risks_that_no_linear_function_reaches() -> None:
    x = [[1.0, 0.0], [-1.0, 1.0], [-1.0, -1.5], [0.5, 3.0]]
    sample = oa.Sample(x, [1, 1, 1, 1])
    with pytest.raises(oa.ProblemError, match="comes to rest near") as raised:
        limit_alignment(sample, 0.1)
    loss = oa.LogisticLoss()
    best = minimize(lambda v: loss.risk(sample.x @ v, np.ones(4)), np.zeros(2), tol=1e-12).fun
    assert f"{best:g}"[:6] in str(raised.value)
    assert float(limit_alignment(sample, 0.5 * (best + math.log(2))).Psi) < 1.0


def test_other_losses_and_labels_have_no_limit() -> None:
    with pytest.raises(oa.ProblemError, match="SquareLoss"):
        limit_alignment(separable(), 0.1, loss=oa.SquareLoss())
    with pytest.raises(oa.ProblemError, match="expected -1 or"):
        limit_alignment(separable(), 0.1, label=0)
