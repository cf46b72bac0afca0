"""The search for the best output multiplier keeps its promises on noisy functions and networks."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import overalign as oa
from overalign.deepnet.search import (
    OutputMultiplierSearch,
    SearchResult,
    Trial,
    find_output_multiplier,
)
from overalign.deepnet.settings import Architecture, Task, Training


def run_search(
    search: OutputMultiplierSearch, value: Callable[[Trial], float], at_once: int | None = None
) -> list[Trial]:
    """All trials, in the order in which they were asked."""
    asked: list[Trial] = []
    while not search.is_done:
        trials = search.ask(at_once)
        assert trials, "it is not done, everything was told, and it asks nothing"
        asked += trials
        for trial in reversed(trials):
            search.tell(trial, value(trial))
    return asked


# ---------------------------------------------------------------------------- without noise


@pytest.mark.parametrize("at", [-10.0, -7.3, -4.0, -0.6, 1.4, 2.0, 5.0])
@pytest.mark.parametrize("at_once", [None, 1, 3])
def test_the_optimum_is_found_to_the_resolution(at: float, at_once: int | None) -> None:
    search = OutputMultiplierSearch(-10, 2)
    asked = run_search(search, lambda trial: -abs(trial.log2_output_multiplier - at), at_once)
    assert search.best is not None
    assert abs(search.best - min(at, 2.0)) <= 0.25 + 1e-9
    assert search.reason == "the resolution is reached"
    assert len(asked) == len(set(asked)) == search.trainings <= 11
    assert all(-10.0 <= trial.log2_output_multiplier <= 2.0 for trial in asked)


def test_a_finer_resolution_is_reached_on_a_grid_that_is_no_power_of_two() -> None:
    search = OutputMultiplierSearch(-9, 1.1, coarse=6, resolution=0.01)
    run_search(search, lambda trial: -((trial.log2_output_multiplier + math.pi) ** 2))
    assert search.best == pytest.approx(-math.pi, abs=0.02)


def test_an_optimum_beside_a_cliff() -> None:
    """Larger c diverge; the coarse grid shows the side on which to look."""
    search = OutputMultiplierSearch(-10, 2)
    run_search(
        search,
        lambda trial: (
            trial.log2_output_multiplier if trial.log2_output_multiplier <= -2.7 else math.nan
        ),
    )
    assert search.best == -3.0


@pytest.mark.parametrize("failure", [math.nan, -math.inf, math.inf])
def test_when_everything_fails_the_search_ends(failure: float) -> None:
    search = OutputMultiplierSearch(seeds=2)
    assert len(run_search(search, lambda _: failure)) == 14
    assert search.best is None
    assert "no network trained" in search.reason


def test_a_c_of_which_one_seed_failed_is_not_the_best() -> None:
    search = OutputMultiplierSearch(seeds=2)
    run_search(
        search,
        lambda t: math.nan if t == Trial(-4.0, 1) else -abs(t.log2_output_multiplier + 4.2),
    )
    assert search.best == -4.5


# ---------------------------------------------------------------------------------- noise


def noisy(at: float, noise: float, seed: int) -> Callable[[Trial], float]:
    generator = np.random.default_rng(seed)
    effects = generator.normal(0.0, 0.05, 10)  # what all networks of a seed share

    def value(trial: Trial) -> float:
        curve = -0.004 * (trial.log2_output_multiplier - at) ** 2
        return float(0.8 + curve + effects[trial.seed] + noise * generator.standard_normal())

    return value


def test_seeds_average_the_noise() -> None:
    errors = {}
    for seeds in (1, 8):
        searches = [OutputMultiplierSearch(seeds=seeds) for _ in range(200)]
        for number, search in enumerate(searches):
            run_search(search, noisy(-5.0, 0.01, number))
        errors[seeds] = np.mean([abs((search.best or 9.0) + 5.0) for search in searches])
    assert errors[8] < 0.75 * errors[1] < 0.75


def test_noise_ends_the_search_where_nothing_can_be_told() -> None:
    flat = OutputMultiplierSearch(seeds=4)
    generator = np.random.default_rng(0)
    run_search(flat, lambda _: generator.standard_normal())
    assert flat.reason == "the neighbours at 2^2 cannot be told from the best"
    assert flat.trainings == 28
    sharp = OutputMultiplierSearch(seeds=4)
    run_search(sharp, noisy(-5.0, 1e-6, 0))
    assert sharp.reason == "the resolution is reached"


@pytest.mark.parametrize("at", range(7))
@pytest.mark.parametrize(("low", "high"), [(-10.0, 2.0), (-10.0, 1.0), (-9.7, 2.0), (-1.0, 0.1)])
def test_neighbours_are_found_on_any_grid(low: float, high: float, at: int) -> None:
    def place(trial: Trial) -> float:
        return (trial.log2_output_multiplier - low) / (high - low) * 6

    def flat(trial: Trial) -> float:
        noise = (-1) ** (trial.seed + round(place(trial)))
        return noise + 0.1 * (abs(place(trial) - at) < 1e-6)

    def peaked(trial: Trial) -> float:
        return -abs(place(trial) - at) - 1e-3 * trial.seed

    search = OutputMultiplierSearch(low, high, seeds=4, resolution=0.01)
    assert len(run_search(search, flat)) == 28
    assert "neighbours" in search.reason
    search = OutputMultiplierSearch(low, high, seeds=4, resolution=0.01)
    asked = run_search(search, peaked)
    closer = [each for each in (at - 0.5, at + 0.5) if 0 <= each <= 6]
    found = [place(trial) for trial in asked[28 : 28 + len(closer)]]
    assert sorted(found) == pytest.approx(closer)


@pytest.mark.parametrize("budget", [14, 15, 17, 18, 21, 22, 40])
def test_the_budget_is_respected_and_used(budget: int) -> None:
    search = OutputMultiplierSearch(seeds=2, budget=budget)
    asked = run_search(search, noisy(-5.0, 0.001, 0))
    assert len(asked) == len(set(asked)) <= budget
    assert len(asked) == {14: 14, 15: 14, 17: 14, 18: 18, 21: 18}.get(budget, 22)
    assert search.reason == (
        "the budget is used up" if budget < 22 else "the resolution is reached"
    )


# ---------------------------------------------------------------------------------- misuse


def test_trials_are_told_once_and_only_if_asked() -> None:
    search = OutputMultiplierSearch()
    (trial,) = search.ask(1)
    search.tell(trial, 0.5)
    assert math.isnan(search.mean(-8.0))
    with pytest.raises(oa.ProblemError, match="told before"):
        search.tell(trial, 0.6)
    with pytest.raises(oa.ProblemError, match="not asked for"):
        search.tell(Trial(-8.0, 0), 0.6)
    assert search.trials == {Trial(-10.0, 0): 0.5}
    assert len(search.ask()) == 6
    assert search.ask() == ()  # waits to be told
    assert not search.is_done


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 2.0, "high": -2.0}, "low < high"),
        ({"resolution": 0.0}, "positive resolution"),
        ({"high": math.inf}, "low < high"),
        ({"coarse": 2}, "at least 3 points"),
        ({"seeds": 0}, "1 seed"),
        ({"seeds": 2, "budget": 13}, r"7 points on 2 seed.s. take 14"),
    ],
)
def test_what_means_nothing_is_said(options: dict[str, float], message: str) -> None:
    with pytest.raises(oa.ProblemError, match=message):
        OutputMultiplierSearch(**options)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------- networks


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """Networks this small are not worth a second one."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def search_of(**options: object) -> SearchResult:
    from overalign.deepnet.images import read_images
    from overalign.deepnet.models import build_model

    validation = int(options.pop("validation", 100))  # type: ignore[call-overload]
    data = read_images(Task(n=100, held_out=20, validation=validation), seed=0)
    training = options.pop("training", Training(epochs=8, stop_accuracy=None))
    architecture = Architecture(width=int(options.pop("width", 8)))  # type: ignore[call-overload]
    return find_output_multiplier(
        lambda: build_model(architecture, data.shape, data.classes),
        data,
        training=training,  # type: ignore[arg-type]
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.usefixtures("_one_thread")
def test_networks_are_searched_within_the_budget() -> None:
    found = search_of(budget=18, learning_rate=0.1, low=-6.0, high=6.0)
    assert len(found.trials) <= 18
    means: dict[float, list[float]] = {}
    for trial, value in found.trials:
        means.setdefault(trial.log2_output_multiplier, []).append(value)
    assert {len(values) for values in means.values()} == {2}
    best = max(np.mean(values) for values in means.values() if np.isfinite(values).all())
    assert found.validation_accuracy == pytest.approx(best)
    assert found.output_multiplier == 2.0**found.log2_output_multiplier
    assert f"after {len(found.trials)} trainings" in str(found)
    again = search_of(budget=18, learning_rate=0.1, low=-6.0, high=6.0)
    np.testing.assert_array_equal(
        [value for _, value in found.trials], [value for _, value in again.trials]
    )


@pytest.mark.parametrize(("best", "is_at_end"), [(-4.0, True), (-3.0, False), (2.0, True)])
def test_the_end_of_the_range_is_said(best: float, is_at_end: bool) -> None:
    trials = tuple((Trial(place, 0), 0.5) for place in (-4.0, -3.0, 2.0))
    found = SearchResult(best, 0.5, trials, "the budget is used up")
    assert found.is_at_end is is_at_end
    assert ("better one may lie beyond" in str(found)) is is_at_end


@pytest.mark.usefixtures("_one_thread")
def test_accuracies_are_those_of_train() -> None:
    from overalign.deepnet.images import read_images
    from overalign.deepnet.models import build_model
    from overalign.deepnet.settings import Cell
    from overalign.deepnet.training import train

    found = search_of(budget=7, seeds=1, learning_rate=0.1, seed=3)
    data = read_images(Task(n=100, held_out=20, validation=100), seed=0)
    run = train(
        lambda: build_model(Architecture(width=8), data.shape, data.classes),
        data,
        [Cell(log2_output_multiplier=-2.0, learning_rate=0.1)],
        Training(epochs=8, stop_accuracy=None, mechanism=False),
        3,
    )
    told = dict(found.trials)[Trial(-2.0, 0)]
    assert told == pytest.approx(float(run.validation_accuracy[0]), abs=0.011)


@pytest.mark.usefixtures("_one_thread")
def test_networks_that_missed_their_target_are_not_ranked() -> None:
    options = {"width": 16, "seeds": 1, "learning_rate": 0.3, "low": -6.0, "high": 6.0, "budget": 7}
    found = search_of(training=Training(epochs=13), **options)
    reached = [trial.log2_output_multiplier for trial, value in found.trials if value == value]
    assert reached == [4.0, 6.0]
    assert found.log2_output_multiplier == 4.0
    assert "after 7 trainings (5 missed their target, or were stuck)" in str(found)
    without = search_of(training=Training(epochs=13, stop_accuracy=None), **options)
    assert without.log2_output_multiplier < 4.0  # the budget is all that was asked for
    assert without.validation_accuracy > found.validation_accuracy


@pytest.mark.usefixtures("_one_thread")
def test_when_no_network_reaches_its_target_there_is_no_best() -> None:
    message = "no network trained between .*All 2 epochs.*raise the epochs, or lower the target"
    with pytest.raises(oa.ProblemError, match=message):
        search_of(learning_rate=0.1, low=-2.0, high=2.0, training=Training(epochs=2))


def test_the_test_set_is_not_chosen_by() -> None:
    with pytest.raises(oa.ProblemError, match="no validation images"):
        search_of(validation=0)


@pytest.mark.usefixtures("_one_thread")
def test_when_no_network_trains_it_is_said() -> None:
    with pytest.raises(oa.ProblemError, match=r"no network trained between.*learning rate"):
        search_of(learning_rate=1e30, budget=14)
