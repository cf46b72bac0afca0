"""The training loop against a plain one, one by one against stacked, cut off against whole."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from msgspec.structs import replace as changed
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout, one_hot
from torch.nn.utils import parametrizations

from overalign.deepnet.course import Course, require_device
from overalign.deepnet.images import ImageData, Images, read_images
from overalign.deepnet.mechanism import MECHANISM
from overalign.deepnet.models import build_model
from overalign.deepnet.scaling import scaled_learning_rate, with_output_multiplier
from overalign.deepnet.seeds import Purpose, initialised, torch_stream
from overalign.deepnet.settings import Architecture, Cell, Sweep, Task, Training
from overalign.deepnet.training import Checkpoint, train
from overalign.errors import ConfigError, OutputError, ProblemError

DATA = read_images(Task(n=60, held_out=100, validation=30), seed=0)
DIGITS = read_images(Task(data="digits", n=40, held_out=50, classes=4), seed=0)
CNN5 = Architecture(model="cnn5", width=2)
RESNET = Architecture(model="resnet18", width=2)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """More would wait for each other: the networks are small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def maker(architecture: Architecture, data: ImageData = DATA) -> Callable[[], nn.Module]:
    return partial(build_model, architecture, data.shape, data.classes)


MLP = maker(Architecture(width=16))


def cells(*log2_c: float, rate: float = 0.1) -> list[Cell]:
    return [Cell(log2_output_multiplier=each, learning_rate=rate) for each in log2_c]


def same(a: xr.Dataset, b: xr.Dataset) -> bool:
    """Bit for bit."""
    return bool(a.identical(b))


# ------------------------------------------------------------------- against a plain loop


def plain_loop(
    make: Callable[[], nn.Module], cell: Cell, training: Training, seed: int, data: ImageData
) -> tuple[int, list[float], list[float]]:
    """Epochs at the stop, training risks and test accuracies, with torch's optimiser."""
    c = cell.output_multiplier
    model = with_output_multiplier(initialised(make, seed).double(), c)
    lr, decay = cell.learning_rate, training.weight_decay
    rate = scaled_learning_rate(lr, c, training.homogeneous_degree)
    optimiser: torch.optim.Optimizer = torch.optim.SGD(
        model.parameters(), rate, training.momentum, weight_decay=decay * lr / rate
    )
    if training.optimiser == "adam":
        optimiser = torch.optim.AdamW(model.parameters(), lr, weight_decay=decay)

    def loss(f: Tensor, y: Tensor) -> Tensor:
        if training.loss == "cross_entropy":
            return cross_entropy(f, y)
        return 0.5 * ((f - one_hot(y, data.classes)) ** 2).sum(1).mean()

    x, held_out = (data.normalised(s.x, torch.float64) for s in (data.train, data.test))
    risks, accuracies = [], []
    for epoch in range(training.epochs + 1):
        if epoch:
            generator = torch_stream(seed, Purpose.BATCHES, epoch)
            for chosen in torch.randperm(len(x), generator=generator).split(training.batch_size):
                optimiser.zero_grad()
                loss(model(x[chosen]), data.train.y[chosen]).backward()
                optimiser.step()
        with torch.no_grad():
            f = model(x)
            risks.append(float(loss(f, data.train.y)))
            accuracies.append(float((model(held_out).argmax(1) == data.test.y).double().mean()))
            if float((f.argmax(1) == data.train.y).double().mean()) >= training.stop_accuracy:
                return epoch, risks, accuracies
    return training.epochs, risks, accuracies


LOOPS: list[dict[str, Any]] = [
    {},
    {"momentum": 0.5, "weight_decay": 1e-3},
    {"loss": "squared"},
    {"optimiser": "adam", "weight_decay": 0.1},
]


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("options", LOOPS)
def test_training_is_that_of_a_plain_loop(options: dict[str, Any], stacked: bool) -> None:
    training = Training(
        mechanism=False, precision="float64", batch_size=16, epochs=20, stop_accuracy=0.6, **options
    )
    rate = 0.01 if training.optimiser == "adam" else 0.1
    grid = cells(-3.0, 0.0, 2.0, rate=rate)
    run = train(MLP, DATA, grid, training, 0, stacked=stacked)
    for k, cell in enumerate(grid):
        epochs, risks, accuracies = plain_loop(MLP, cell, training, 0, DATA)
        assert int(run.epochs[k]) == epochs
        assert int(run.steps[k]) == 4 * epochs
        ours = run.train_risk_history.values[k, : epochs + 1]
        np.testing.assert_allclose(ours, risks, rtol=1e-8)
        np.testing.assert_allclose(run.test_accuracy_history.values[k, : epochs + 1], accuracies)
        assert np.isnan(run.train_risk_history.values[k, epochs + 1 :]).all()
    assert len(set(run.epochs.values.tolist())) > 1, "networks should leave the stack at times"


@pytest.mark.parametrize("options", LOOPS)
@pytest.mark.parametrize("degree", [None, 3.0])
def test_stacked_and_one_by_one_agree(options: dict[str, Any], degree: float | None) -> None:
    for make, data, rate in (
        (maker(Architecture(width=16, bias=False)), DATA, 0.05),
        (maker(CNN5, DIGITS), DIGITS, 0.02),
    ):
        training = Training(
            precision="float64",
            epochs=12,
            stop_accuracy=0.7,
            homogeneous_degree=None if "optimiser" in options else degree,
            **options,
        )
        grid = cells(-4.0, -1.0, 1.0, rate=rate)
        one, all_ = (train(make, data, grid, training, 1, stacked=s) for s in (False, True))
        assert one.outcome.values.tolist() == all_.outcome.values.tolist()
        for name in one:
            if one[name].dtype.kind == "f":
                np.testing.assert_allclose(one[name], all_[name], rtol=1e-8, atol=1e-12)


def test_what_cannot_be_stacked_is_trained_one_by_one_or_refused() -> None:
    make = maker(RESNET, DIGITS)
    run = train(make, DIGITS, cells(-1.0, 0.0), Training(epochs=1, mechanism=False), 0)
    alone = train(make, DIGITS, cells(0.0), Training(epochs=1, mechanism=False), 0)
    assert float(run.train_risk[1]) == float(alone.train_risk[0])
    with pytest.raises(ProblemError, match="normalises batches"):
        train(make, DIGITS, cells(-1.0, 0.0), Training(epochs=1), 0, stacked=True)
    with pytest.raises(ProblemError, match="no cell"):
        train(make, DIGITS, [], Training(), 0)


class Dropping(nn.Module):
    """A network that draws without a layer for it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = MLP()

    def forward(self, x: Tensor) -> Tensor:
        return dropout(self.network(x), 0.2, self.training)


def with_one_activation() -> nn.Module:
    """A network of the user's that has one ReLU in two places."""
    relu, features = nn.ReLU(), DATA.train.x[0].numel()
    layers = (nn.Linear(features, 16), relu, nn.Linear(16, 16), relu, nn.Linear(16, DATA.classes))
    return nn.Sequential(nn.Flatten(), *layers)


def normalised_weights(weight_norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """A network whose first weights are computed from others."""
    network = with_one_activation()
    assert isinstance(network, nn.Sequential)
    network[1] = weight_norm(network[1])
    return network


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize(
    "make",
    [Dropping, with_one_activation, partial(normalised_weights, parametrizations.weight_norm)],
)
def test_networks_of_any_make_are_trained_as_they_would_be_alone(
    make: Callable[[], nn.Module],
) -> None:
    training, grid = Training(epochs=3, precision="float64"), cells(-2.0, 0.0)
    together = train(make, DATA, grid, training, 0)
    for k, cell in enumerate(grid):
        alone = train(make, DATA, [cell], training, 0)
        for name in ("train_risk", "test_risk", *MECHANISM):
            np.testing.assert_allclose(together[name][k], alone[name][0], rtol=1e-8, atol=1e-12)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_a_network_that_cannot_be_copied_is_refused() -> None:
    make = partial(normalised_weights, nn.utils.weight_norm)
    for stacked in (None, False):
        with pytest.raises(ProblemError, match=r"cannot be copied.*parametrizations"):
            train(make, DATA, cells(-2.0, 0.0), Training(epochs=1), 0, stacked=stacked)


def test_a_small_network_is_a_small_initialisation_with_weight_decay_and_momentum() -> None:
    """Proposition B.1: c f from theta_0, against f from c^(1/L) theta_0."""
    plain = maker(Architecture(width=16, bias=False))

    def scaled() -> nn.Module:
        model = plain().double()  # before they are multiplied: 2^-0.5 is no float32
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(2.0**-0.5)
        return model

    decays = {"momentum": 0.9, "weight_decay": 0.02}
    training = Training(
        mechanism=False,
        precision="float64",
        epochs=30,
        stop_accuracy=None,
        homogeneous_degree=3.0,
        **decays,
    )
    run = train(plain, DATA, cells(-1.5), training, 0)
    other = train(scaled, DATA, cells(0.0), training, 0)
    without = train(plain, DATA, cells(-1.5), changed(training, weight_decay=0.0), 0)
    risks = other.train_risk_history
    np.testing.assert_allclose(run.train_risk_history, risks, rtol=0, atol=1e-10)
    np.testing.assert_allclose(
        run.logit_scale_history, other.logit_scale_history, rtol=0, atol=1e-10
    )
    assert risks[0, 0] - risks[0, -1] > 0.1, "something should be learned"
    assert abs(without.train_risk[0] - run.train_risk[0]) > 1e-3, "the decay should be felt"


def test_the_first_step_of_adam_is_the_same_for_all_c() -> None:
    make = maker(Architecture(width=16, centered=True))
    training = Training(
        optimiser="adam", weight_decay=0.1, precision="float64", batch_size=None, epochs=1
    )
    run = train(make, DATA, cells(-4.0, 0.0, 4.0, rate=1e-3), training, 0)
    displacement = run.weight_displacement.values
    np.testing.assert_allclose(displacement, displacement[1], rtol=1e-3)  # but for epsilon


def test_a_rest_of_one_image_is_trained_on_with_batch_normalisation() -> None:
    data = read_images(Task(data="digits", n=41, held_out=50, classes=4), seed=0)
    training = Training(mechanism=False, batch_size=40, epochs=2, stop_accuracy=None)
    run = train(maker(RESNET, data), data, cells(0.0), training, 0)
    assert run.steps.item() == 2


def test_a_degree_of_homogeneity_is_not_for_adam() -> None:
    training = Training(optimiser="adam", homogeneous_degree=3.0)
    sweep = Sweep(architecture=Architecture(bias=False), training=training)
    with pytest.raises(ProblemError, match="same for all c; leave the degree out"):
        sweep.check()
    changed(sweep, training=changed(training, optimiser="sgd")).check()


@pytest.mark.parametrize(
    ("training", "error", "message"),
    [
        (Training(optimiser="adam", momentum=0.9), ProblemError, "momentum belongs to"),
        (Training(epochs=0), ConfigError, "epochs' is 0: Expected `int` >= 1"),
        (Training(stop_accuracy=None, epochs=10**6), ProblemError, "at most 100,000 epochs"),
    ],
)
def test_a_training_that_means_nothing_is_refused_whoever_asks(
    training: Training, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(MLP, DATA, cells(0.0), training, 0)
    with pytest.raises(error, match=message):
        Sweep(training=training).check()


def test_settings_alone_say_whether_the_mechanism_is_measured() -> None:
    run = train(MLP, DATA, cells(0.0), Training(epochs=1, mechanism=False), 0)
    assert "weight_displacement" not in run


# ------------------------------------------------------------------- what is reported


def test_quantities_at_the_stop_are_those_of_the_network() -> None:
    """The logit scale and the validation set by hand, at the start, where the network is known."""
    training = Training(mechanism=False, precision="float64", epochs=2, stop_accuracy=None)
    run = train(MLP, DATA, cells(-2.0), training, 3)
    model = initialised(MLP, 3).double()
    with torch.no_grad():
        f = 0.25 * model(DATA.normalised(DATA.train.x, torch.float64)).numpy()
        validated = 0.25 * model(DATA.normalised(DATA.validation.x, torch.float64))
    scale = math.sqrt(((f - f.mean(axis=1, keepdims=True)) ** 2).mean())
    assert float(run.logit_scale_history[0, 0]) == pytest.approx(scale, rel=1e-12)
    risk = float(cross_entropy(validated, DATA.validation.y))
    assert float(run.validation_risk_history[0, 0]) == pytest.approx(risk, rel=1e-12)
    best = int(run.validation_risk_history.values[0].argmin())
    assert float(run.validation_risk_stop_epoch[0]) == best
    assert float(run.validation_risk_stop_test_accuracy[0]) == run.test_accuracy_history[0, best]
    assert set(run.dims) == {"cell", "epoch"}


def test_evaluations_come_every_so_often() -> None:
    training = Training(mechanism=False, epochs=5, evaluate_every=2, stop_accuracy=None)
    run = train(MLP, DATA, cells(0.0, 1.0), training, 0)
    assert run.epoch.values.tolist() == [0, 2, 4, 5]
    each = train(MLP, DATA, cells(0.0, 1.0), changed(training, evaluate_every=1), 0)
    assert np.array_equal(each.test_risk_history[:, [0, 2, 4, 5]], run.test_risk_history)


@pytest.mark.parametrize("stacked", [False, True])
def test_training_ends_when_the_validation_risk_has_turned_for_long_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stacked: bool
) -> None:
    training = Training(
        mechanism=False, epochs=40, stop_accuracy=None, patience=3, precision="float64"
    )
    grid = cells(-3.0, -1.0, 1.0, rate=0.3)
    without = train(MLP, DATA, grid, changed(training, patience=None), 0)
    run = partial(train, MLP, DATA, grid, training, 0, stacked=stacked)
    table = run()
    assert len(set(table.epochs.values.tolist())) > 1, "networks should end at different times"
    for k, risks in enumerate(without.validation_risk_history.values):
        ends = (e for e in range(41) if e - int(risks[: e + 1].argmin()) >= 3)
        end = next(ends, 40)
        assert table.epochs[k] == end
        assert table.validation_risk_stop_epoch[k] == risks[: end + 1].argmin()
        assert table.outcome[k] == ("REACHED" if end < 40 else "BUDGET")
    assert "not lower for 3 epochs" in str(table.reason[0].item())
    checkpoint = Checkpoint(tmp_path, interval=0.0)
    killed_after(monkeypatch, 2, partial(run, checkpoint=checkpoint))
    assert same(run(checkpoint=checkpoint), table)


def test_patience_needs_validation_images() -> None:
    with pytest.raises(ProblemError, match="validation = 500, or leave the patience out"):
        train(MLP, DIGITS, cells(0.0), Training(patience=3), 0)
    with pytest.raises(ProblemError, match="no validation images"):
        Sweep(training=Training(patience=3)).check()


def test_the_mechanism_is_measured_at_the_end_of_each_network() -> None:
    training = Training(precision="float64", batch_size=16, epochs=25, stop_accuracy=0.8)
    run = train(MLP, DATA, cells(-3.0, 2.0), training, 0)
    assert set(MECHANISM) <= set(run)
    displacement = []
    for cell in cells(-3.0, 2.0):
        alone = train(MLP, DATA, [cell], training, 0)
        displacement.append(float(alone.weight_displacement[0]))
    np.testing.assert_allclose(run.weight_displacement, displacement, rtol=1e-8)
    assert run.weight_displacement[0] > run.weight_displacement[1]


def test_a_diverged_network_does_not_poison_the_others() -> None:
    training = Training(epochs=4, stop_accuracy=None, loss="squared")
    sound, wild = cells(-1.0, 1.0, rate=0.02), cells(0.0, rate=1e6)
    alone = train(MLP, DATA, sound, training, 0)
    run = train(MLP, DATA, [sound[0], *wild, sound[1]], training, 0)
    assert run.outcome.values.tolist() == ["BUDGET", "DIVERGED", "BUDGET"]
    assert "not finite after epoch 1" in str(run.reason.values[1])
    assert int(run.epochs[1]) == 1
    for name in ("test_accuracy", "train_risk", *MECHANISM):
        assert math.isnan(float(run[name][1]))
        np.testing.assert_allclose(run[name][[0, 2]], alone[name], rtol=1e-4, atol=1e-6)
    assert float(run.epoch_peak[1]) == 0.0


def test_all_may_diverge() -> None:
    run = train(MLP, DATA, cells(0.0, 1.0, rate=1e30), Training(epochs=4), 0)
    assert run.outcome.values.tolist() == ["DIVERGED", "DIVERGED"]
    assert run.epoch.values.tolist() == [0, 1]


def test_a_dead_network_is_stuck() -> None:
    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(DATA.shape[0], DATA.classes)

        def forward(self, x: Tensor) -> Tensor:
            outputs: Tensor = 0.0 * self.linear(x)
            return outputs

    run = train(Dead, DATA, cells(0.0, 1.0), Training(epochs=3, mechanism=False), 0)
    assert run.outcome.values.tolist() == ["STUCK", "STUCK"]
    assert "from 2.303 to 2.303" in str(run.reason.values[0])


def test_a_network_that_is_there_already_takes_no_step() -> None:
    run = train(MLP, DATA, cells(0.0), Training(stop_risk=100.0), 0)
    assert (run.outcome.item(), run.epochs.item(), run.steps.item()) == ("REACHED", 0, 0)


# ------------------------------------------------------------------- random numbers


def test_same_seed_same_numbers_and_torchs_own_state_is_left_alone() -> None:
    training = Training(epochs=3, augmentation=True)
    make = lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 4))  # noqa: E731
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    first = train(make, DIGITS, cells(0.0), training, 0)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(1)
    assert same(first, train(make, DIGITS, cells(0.0), training, 0))
    assert not same(first, train(make, DIGITS, cells(0.0), training, 1))


def test_generators_of_cards_are_left_alone_where_the_processor_trains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(_: int) -> None:
        raise AssertionError("a card was seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", never)
    train(MLP, DATA, cells(0.0), Training(epochs=1), 0)


def test_crops_and_dropout_draw_from_streams_of_their_own() -> None:
    seen: dict[str, Tensor] = {}

    class Probe(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 4)

        def forward(self, x: Tensor) -> Tensor:
            if self.training and "drawn" not in seen:
                seen["drawn"] = torch.rand(8)
            outputs: Tensor = self.linear(x.flatten(1))
            return outputs

    training = Training(mechanism=False, epochs=1, augmentation=True)
    train(Probe, DIGITS, cells(0.0), training, 0, stacked=False)
    crops, dropout = (
        torch.rand(8, generator=torch_stream(0, purpose, 1))
        for purpose in (Purpose.AUGMENTATION, Purpose.DROPOUT)
    )
    assert torch.equal(seen["drawn"], dropout)
    assert not torch.equal(dropout, crops)


def test_a_cell_does_not_depend_on_its_neighbours() -> None:
    training = Training(epochs=3, stop_accuracy=None)
    together = train(MLP, DATA, cells(-2.0, 0.0, 2.0), training, 0, stacked=False)
    alone = train(MLP, DATA, cells(0.0), training, 0)
    assert same(together.isel(cell=[1]), alone)


# ------------------------------------------------------------------- cut off and gone on


class Killed(BaseException):
    """Nobody catches this."""


def killed_after(monkeypatch: pytest.MonkeyPatch, epochs: int, run: Callable[[], object]) -> None:
    """Do a training that is cut off after so many epochs, of all its networks together."""
    taken = 0
    advance = Course.advance

    def count(course: Course) -> None:
        nonlocal taken
        if taken == epochs:
            raise Killed
        taken += 1
        advance(course)

    with monkeypatch.context() as patch:
        patch.setattr(Course, "advance", count)
        with pytest.raises(Killed):
            run()


COURSES: list[tuple[Architecture, ImageData, dict[str, Any], Sequence[float]]] = [
    (Architecture(width=16), DATA, {"momentum": 0.5}, (-3.0, 0.0, 2.0)),
    (Architecture(width=16), DATA, {"optimiser": "adam", "evaluate_every": 3}, (-3.0, 0.0)),
    (Architecture(width=16, centered=True), DATA, {}, (-3.0, 0.0)),
    (RESNET, DIGITS, {"augmentation": True}, (-1.0, 0.0)),
]


@pytest.mark.parametrize(("architecture", "data", "options", "log2_c"), COURSES)
@pytest.mark.parametrize("epochs", [0, 1, 5])
def test_what_was_cut_off_ends_bit_for_bit_as_what_was_not(
    architecture: Architecture,
    data: ImageData,
    options: dict[str, Any],
    log2_c: Sequence[float],
    epochs: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = Training(epochs=4, stop_accuracy=0.6, **options)
    (whole_folder := tmp_path / "whole").mkdir()
    (cut_folder := tmp_path / "cut").mkdir()

    def run(folder: Path) -> xr.Dataset:
        checkpoint = Checkpoint(folder, interval=0.0)
        grid = cells(*log2_c, rate=0.01)
        return train(maker(architecture, data), data, grid, training, 0, checkpoint=checkpoint)

    whole = run(whole_folder)
    total = int(whole.epochs.sum()) if architecture is RESNET else int(whole.epochs.max())
    killed_after(monkeypatch, min(epochs, total - 1), lambda: run(cut_folder))
    killed_after(monkeypatch, 0, lambda: run(cut_folder))
    assert same(run(cut_folder), whole)
    assert {path.name for path in cut_folder.iterdir()} == {"history.jsonl", "checkpoint.pt"}
    history = (cut_folder / "history.jsonl").read_text("utf-8")
    assert history == (whole_folder / "history.jsonl").read_text("utf-8")
    lines = [json.loads(line) for line in history.splitlines()]
    assert len(lines) == int(whole.train_risk_history.notnull().sum())


@pytest.mark.parametrize("architecture", [Architecture(model="cnn5", width=2), RESNET])
def test_what_was_cut_off_between_two_networks_goes_on_with_the_second(
    architecture: Architecture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(mechanism=False, epochs=2, stop_accuracy=None)
    run = partial(
        train, maker(architecture, DIGITS), DIGITS, cells(-1.0, 0.0, 1.0), training, 0,
        stacked=False,
    )  # fmt: skip
    checkpoint = Checkpoint(tmp_path, interval=0.0)
    for _ in range(2):  # the first is killed when one network has ended, the second when two have
        killed_after(monkeypatch, 2, partial(run, checkpoint=checkpoint))
    assert same(run(checkpoint=checkpoint), run())


def test_a_training_that_has_ended_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint(tmp_path)
    run = partial(
        train,
        MLP,
        DATA,
        cells(0.0, 1.0),
        training=Training(epochs=3),
        seed=0,
        checkpoint=checkpoint,
    )
    first, history = run(), checkpoint.history.read_bytes()
    monkeypatch.setattr(Course, "__init__", None)  # whatever would train
    assert same(run(), first)
    assert checkpoint.history.read_bytes() == history
    with pytest.raises(OutputError, match="of another training"):
        run(training=Training(epochs=3, mechanism=False))


def test_a_damaged_checkpoint_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    training = Training(mechanism=False, epochs=4, stop_accuracy=None)
    checkpoint = Checkpoint(tmp_path, interval=0.0)
    run = partial(train, MLP, DATA, cells(0.0, 1.0), training, 0)
    killed_after(monkeypatch, 2, partial(run, checkpoint=checkpoint))
    content = checkpoint.path.read_bytes()
    whole = run()
    for damaged in (b"", content[:100], content[: len(content) // 2], b"\x80\x04N.", b"text"):
        checkpoint.path.write_bytes(damaged)
        assert same(run(checkpoint=checkpoint), whole)
        assert "damaged" in caplog.text
        caplog.clear()


def test_a_checkpoint_of_another_training_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint(tmp_path, interval=0.0)
    run = partial(train, MLP, DATA, cells(0.0), checkpoint=checkpoint)
    killed_after(monkeypatch, 2, lambda: run(training=Training(), seed=0))
    with pytest.raises(OutputError, match="of another training"):
        run(training=Training(), seed=1)
    with pytest.raises(OutputError, match="of another training"):
        run(training=Training(momentum=0.5), seed=0)


def test_checkpoints_keep_their_distance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint(tmp_path, interval=1000.0)
    run = partial(train, MLP, DATA, cells(0.0), Training(mechanism=False), 0)
    killed_after(monkeypatch, 2, lambda: run(checkpoint=checkpoint))
    assert not checkpoint.path.exists()
    assert len(checkpoint.history.read_text("utf-8").splitlines()) == 3
    with pytest.raises(OutputError, match="does not exist"):
        run(checkpoint=Checkpoint(tmp_path / "missing"))


# ------------------------------------------------------------------- bad requests


def test_a_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cpux", "meta", ""):
        with pytest.raises(ProblemError, match="'cpu', 'cuda' or 'cuda:N'"):
            require_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ProblemError, match=r"no CUDA device.*set device = 'cpu'"):
        train(MLP, DATA, cells(0.0), Training(device="cuda"), 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ProblemError, match=r"'cuda:2'.*2 CUDA device\(s\)"):
        require_device("cuda:2")
    assert require_device("cuda:1") == torch.device("cuda:1")


def test_vectors_are_not_augmented() -> None:
    with pytest.raises(ProblemError, match="vectors"):
        train(MLP, DATA, cells(0.0), Training(augmentation=True), 0)


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    few = replace(DATA, train=Images(DATA.train.x[:7], DATA.train.y[:7]))
    run = train(MLP, few, cells(0.0), Training(epochs=2, stop_accuracy=None, mechanism=False), 0)
    assert run.steps.item() == 2
