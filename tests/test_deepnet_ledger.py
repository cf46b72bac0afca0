"""Outcomes, peaks and stops from histories that are known."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from overalign.deepnet.ledger import OUTCOMES, Ledger
from overalign.deepnet.settings import Cell, Training

CELLS = tuple(Cell(log2_output_multiplier=log2_c, learning_rate=0.1) for log2_c in (-4.0, 0.0, 4.0))


def look(accuracy: float = 0.5, risk: float = 1.0, test: float = 0.4, **more: float) -> Any:
    return {
        "train_accuracy": accuracy,
        "train_risk": risk,
        "logit_scale": 1.0,
        "test_accuracy": test,
        "test_risk": 2.0,
        "validation_accuracy": math.nan,
        "validation_risk": math.nan,
    } | more


def ended(ledger: Ledger, cell: int, epoch: int, **values: float) -> str:
    ledger.note(cell, epoch, look(**values))
    end = ledger.end_of(cell, epoch, 10 * epoch)
    if end is None:
        return ""
    ledger.ends[cell] = end
    return f"{end.outcome}: {end.reason}"


def test_evaluations_are_at_the_start_every_so_often_and_at_the_end() -> None:
    assert Ledger(CELLS, Training(epochs=7, evaluate_every=3), False).epochs == [0, 3, 6, 7]
    assert Ledger(CELLS, Training(epochs=6, evaluate_every=3), False).epochs == [0, 3, 6]
    ledger = Ledger(CELLS, Training(epochs=7, evaluate_every=3), False)
    assert [epoch for epoch in range(8) if ledger.is_due(epoch)] == ledger.epochs


def test_targets_end_training_and_are_named() -> None:
    ledger = Ledger(CELLS, Training(stop_accuracy=0.99, stop_risk=0.1), False)
    assert ended(ledger, 0, 3, accuracy=0.98, risk=0.2) == ""
    accurate = ended(ledger, 0, 4, accuracy=0.99, risk=0.2)
    assert accurate == "REACHED: The training accuracy reached 0.99 in epoch 4."
    small = ended(ledger, 1, 4, accuracy=0.5, risk=0.1)
    assert small == "REACHED: The training risk fell to 0.1 in epoch 4."
    assert (ledger.ends[0].epochs, ledger.ends[0].steps) == (4, 40)


def test_the_end_of_the_budget_tells_slow_from_stuck() -> None:
    ledger = Ledger(CELLS, Training(epochs=5, evaluate_every=2), False)
    for cell in range(3):
        assert ended(ledger, cell, 0, risk=9.0) == ended(ledger, cell, 2, risk=2.0) == ""
        assert ended(ledger, cell, 4, risk=1.0) == ""
    assert ended(ledger, 0, 5, risk=1.97).startswith("BUDGET: All 5 epochs")
    assert "since epoch 2" in ended(ledger, 1, 5, risk=1.99)
    assert ended(ledger, 2, 5, risk=50.0).startswith("STUCK")
    assert [ledger.ends[cell].outcome for cell in range(3)] == ["BUDGET", "STUCK", "STUCK"]


@pytest.mark.parametrize("loss", ["cross_entropy", "squared"])
def test_what_converged_before_the_budget_is_not_stuck(loss: Any) -> None:
    ledger = Ledger(CELLS, Training(loss=loss, epochs=4, stop_accuracy=None), False)
    for cell, accuracy in enumerate((1.0, 0.99)):
        assert ended(ledger, cell, 2, accuracy=accuracy, risk=1e-16) == ""
    assert ended(ledger, 0, 4, accuracy=1.0, risk=1e-16).startswith("BUDGET")
    assert ended(ledger, 1, 4, accuracy=0.99, risk=1e-16).startswith("STUCK")


@pytest.mark.parametrize("risk", [math.nan, math.inf])
def test_what_is_not_finite_diverged_whatever_its_accuracy(risk: float) -> None:
    ledger = Ledger(CELLS, Training(), False)
    assert ended(ledger, 0, 3, accuracy=1.0, risk=risk).startswith("DIVERGED")


def test_the_dataset_has_the_stop_the_peak_and_the_best_validation() -> None:
    ledger = Ledger(CELLS, Training(epochs=50, stop_accuracy=0.9), True)
    for epoch, (test, risk) in enumerate([(0.1, 3.0), (0.6, 1.0), (0.5, 2.0), (0.6, 1.5)]):
        ended(ledger, 0, epoch, accuracy=0.31 * epoch, test=test, validation_risk=risk)
    for epoch in range(2):
        ended(ledger, 1, epoch, accuracy=0.95 * epoch, test=0.2, validation_risk=1.0 - epoch)
    ended(ledger, 2, 0, test=0.3)
    ended(ledger, 2, 1, risk=math.nan, test=math.nan)
    table = ledger.dataset()
    assert table.outcome.values.tolist() == ["REACHED", "REACHED", "DIVERGED"]
    assert set(table.outcome.values) <= set(OUTCOMES)
    assert table.epoch.values.tolist() == [0, 1, 2, 3]
    assert table.epochs.values.tolist() == [3, 1, 1]
    assert table.steps.values.tolist() == [30, 10, 10]
    nan = math.nan
    np.testing.assert_equal(table.test_accuracy.values, [0.6, 0.2, nan])
    np.testing.assert_equal(table.test_accuracy_peak.values, [0.6, 0.2, 0.3])
    np.testing.assert_equal(table.epoch_peak.values, [1.0, 0.0, 0.0])
    np.testing.assert_equal(table.validation_risk_stop_epoch.values, [1.0, 1.0, nan])
    np.testing.assert_equal(table.validation_risk_stop_test_accuracy.values, [0.6, 0.2, nan])
    expected = [[0.1, 0.6, 0.5, 0.6], [0.2, 0.2, nan, nan], [0.3, nan, nan, nan]]
    np.testing.assert_equal(table.test_accuracy_history.values, expected)
    assert table.log2_output_multiplier.values.tolist() == [-4.0, 0.0, 4.0]
    assert all(variable.attrs["long_name"] for variable in table.variables.values())


@pytest.mark.parametrize(
    ("training", "steps"),
    [
        (Training(epochs=1), "lr / c"),
        (Training(epochs=1, homogeneous_degree=3.0), "lr c^(-2/3)"),
        (Training(epochs=1, optimiser="adam"), "lr"),
    ],
)
def test_the_learning_rate_is_described_with_the_steps(training: Training, steps: str) -> None:
    ledger = Ledger(CELLS[:1], training, False)
    ended(ledger, 0, 1)
    described = ledger.dataset().learning_rate.attrs["long_name"]
    assert described == f"learning rate lr; the step size is {steps}"


def test_without_a_validation_set_nothing_is_said_of_it() -> None:
    ledger = Ledger(CELLS[:1], Training(epochs=1), False)
    ended(ledger, 0, 0)
    ended(ledger, 0, 1)
    assert not [name for name in ledger.dataset() if "validation" in str(name)]


def test_what_was_noted_is_told_once_as_json_and_comes_back_from_a_state() -> None:
    ledger = Ledger(CELLS, Training(), False)
    ledger.note(1, 0, look(accuracy=0.25))
    ledger.note(0, 0, look(test_risk=math.inf))
    lines = ledger.new_lines()
    first, second = map(json.loads, lines)
    assert (first["cell"], first["epoch"], first["log2_output_multiplier"]) == (1, 0, 0.0)
    assert first["train_accuracy"] == 0.25
    assert "test_risk" not in second, "JSON has no infinity"
    assert ledger.new_lines() == []
    ended(ledger, 0, 1, risk=math.nan)
    other = Ledger(CELLS, Training(), False)
    other.load(ledger.state())
    assert other.ends == ledger.ends
    assert other.new_lines() == lines + ledger.new_lines()
    for name, values in ledger.history.items():
        np.testing.assert_equal(other.history[name], values)


@pytest.mark.parametrize(
    ("risks", "outcome", "reason"),
    [
        ([1.0, 1.0, 1.0], "STUCK", "was least in epoch 0, and not lower for 2 epochs"),
        ([1.0, 2.0, math.nan], "STUCK", "was least in epoch 0"),
        ([1.0, 0.5, 0.5, 0.6], "REACHED", "was least in epoch 1, and not lower for 2 epochs"),
        ([1.0, 0.5, 0.6, 0.4], None, ""),
    ],
)
def test_patience_is_counted_from_the_least_validation_risk(
    risks: list[float], outcome: str | None, reason: str
) -> None:
    ledger = Ledger(CELLS[:1], Training(patience=2), True)
    for epoch, risk in enumerate(risks):
        ledger.note(0, epoch, look(accuracy=0.5) | {"validation_risk": risk})
        end = ledger.end_of(0, epoch, epoch)
        assert end is None or epoch == len(risks) - 1
    assert (end and end.outcome) == outcome
    assert end is None or reason in end.reason
