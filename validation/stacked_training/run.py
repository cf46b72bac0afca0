"""Time of stacked training beside plain loops, and equality of the two; see criterion.md."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from overalign.deepnet.calibration import stack_size
from overalign.deepnet.images import ImageData, read_images
from overalign.deepnet.models import build_model
from overalign.deepnet.scaling import scaled_learning_rate, with_output_multiplier
from overalign.deepnet.seeds import Purpose, initialised, torch_stream
from overalign.deepnet.settings import Architecture, Cell, Sweep, Task, Training
from overalign.deepnet.training import train
from validation import common

METHODS = ("plain", "one by one", "stacked")
HELD_OUT = (1000, 4000)  # the first is judged
CELLS = Sweep().cells
WORKERS = 2


class Scope(NamedTuple):
    """How large the study is."""

    thresholds: dict[int, float]  # by width
    epochs: int
    rounds: int
    equality_epochs: int


FULL = Scope({32: 2.0, 64: 2.0, 128: 2.0, 512: 0.95}, 15, 3, 60)
QUICK = Scope({64: 1.0}, 2, 1, 6)
LINES = {32: "C1", 64: "C2", 128: "C3", 512: "C4"}


class Job(NamedTuple):
    """What one process does."""

    method: str
    width: int
    seed: int
    epochs: int
    size: int
    held_out: int


# ---------------------------------------------------------------------------------------- times


@lru_cache
def images(seed: int, held_out: int) -> ImageData:
    """Of a process, read once."""
    return read_images(Task(held_out=held_out), seed)


def maker(architecture: Architecture, data: ImageData) -> Callable[[], torch.nn.Module]:
    """Makes the network."""
    return partial(build_model, architecture, data.shape, data.classes)


def do(job: Job) -> float:
    """Seconds of a job, its data read before."""
    data = images(job.seed, job.held_out)
    make = maker(Architecture(width=job.width), data)
    training = Training(epochs=job.epochs, stop_accuracy=None, mechanism=False)
    begin = time.perf_counter()
    if job.method == "plain":
        for cell in CELLS:
            plain_loop(make, data, cell, training, job.seed)
    elif job.method == "one by one":
        train(make, data, CELLS, training, job.seed, stacked=False)
    else:
        for start in range(0, len(CELLS), job.size):
            group = CELLS[start : start + job.size]
            train(make, data, group, training, job.seed)
    return time.perf_counter() - begin


def plain_loop(
    make: Callable[[], torch.nn.Module], data: ImageData, cell: Cell, training: Training, seed: int
) -> list[tuple[float, float]]:
    """An ordinary loop: accuracies on both sets after each epoch."""
    model = with_output_multiplier(initialised(make, seed), cell.output_multiplier)
    rate = scaled_learning_rate(cell.learning_rate, cell.output_multiplier)
    optimiser = torch.optim.SGD(model.parameters(), rate)
    x, y = data.normalised(data.train.x), data.train.y
    held_out = data.normalised(data.test.x)
    history = []
    for epoch in range(training.epochs + 1):
        if epoch:
            model.train()
            order = torch.randperm(len(x), generator=torch_stream(seed, Purpose.BATCHES, epoch))
            for chosen in order.split(training.batch_size):
                optimiser.zero_grad()
                cross_entropy(model(x[chosen]), y[chosen]).backward()
                optimiser.step()
        model.eval()
        with torch.no_grad():
            row = []
            for inputs, labels in ((x, y), (held_out, data.test.y)):
                f = model(inputs)
                row += [
                    float(cross_entropy(f, labels)),
                    float((f.argmax(1) == labels).float().mean()),
                ]
        history.append((row[1], row[3]))
    return history


def begin_worker() -> None:
    """One thread, and everything imported and read."""
    torch.set_num_threads(1)
    for seed, held_out in product(range(WORKERS), HELD_OUT):
        images(seed, held_out)
    for method in METHODS:
        do(Job(method, 8, 0, 1, len(CELLS), HELD_OUT[0]))


def time_methods(pool: Any, width: int, held_out: int, scope: Scope) -> dict[str, Any]:
    """Seconds of each method in each round, their ratios, and the size of the stacks."""
    settings = Sweep(
        task=Task(held_out=held_out),
        architecture=Architecture(width=width),
        seeds=1,
        control=False,
    )
    size = stack_size(settings, workers=1)  # each process has a seed of its own
    seconds: dict[str, list[float]] = {method: [] for method in METHODS}
    for _, method in product(range(scope.rounds), METHODS):
        jobs = [Job(method, width, seed, scope.epochs, size, held_out) for seed in range(WORKERS)]
        seconds[method].append(max(pool.map(do, jobs, chunksize=1)))
    shortest = {method: min(each) for method, each in seconds.items()}
    ratios = {method: shortest[method] / shortest["stacked"] for method in METHODS[:2]}
    common.note(f"width {width}, {held_out} held out: stacks of {size}, {ratios}")
    return {"stack_size": size, "seconds": seconds, "ratios": ratios}


# ------------------------------------------------------------------------------------- equality


def largest_differences(scope: Scope) -> dict[str, Any]:
    """Stop epochs that differ, and the largest relative difference of a training risk."""
    synthetic = images(0, HELD_OUT[0])
    digits = read_images(Task(data="digits", n=100, held_out=100), 0)
    mlp, cnn5 = Architecture(width=64), Architecture(model="cnn5", width=2)
    cases: dict[str, tuple[Architecture, ImageData, dict[str, Any], float]] = {
        "SGD": (mlp, synthetic, {}, 0.01),
        "momentum": (mlp, synthetic, {"momentum": 0.9}, 0.002),
        "Adam": (mlp, synthetic, {"optimiser": "adam"}, 0.001),
        "squared": (mlp, synthetic, {"loss": "squared"}, 0.01),
        "cnn5": (cnn5, digits, {}, 0.05),
    }
    found = {}
    for name, (architecture, data, options, rate) in cases.items():
        training = Training(
            precision="float64", epochs=scope.equality_epochs, mechanism=False, **options
        )
        cells = [Cell(log2_output_multiplier=float(c), learning_rate=rate) for c in (-6, -2, 0, 2)]
        both = [
            train(maker(architecture, data), data, cells, training, 0, stacked=s)
            for s in (True, False)
        ]
        differ = int((both[0].epochs != both[1].epochs).sum())
        a, b = (each.train_risk_history.values for each in both)
        risk = float(np.nanmax(np.abs(a - b) / b)) if a.shape == b.shape else np.inf
        found[name] = {"stops_that_differ": differ, "risk_difference": risk}
        common.note(f"{name}: {found[name]}")
    return found


# ------------------------------------------------------------------------------------- verdicts


def judge(
    times: dict[int, dict[str, Any]], equality: dict[str, Any], scope: Scope
) -> Sequence[common.Criterion]:
    """The lines of criterion.md."""
    lines = []
    for width, threshold in scope.thresholds.items():
        statement = f"times faster than the plain loop, width {width}"
        ratio = times[width]["ratios"]["plain"]
        lines.append(common.at_least(LINES[width], statement, ratio, threshold))
    differ = sum(each["stops_that_differ"] for each in equality.values())
    risk = max(each["risk_difference"] for each in equality.values())
    lines.append(common.at_most("C5", "networks whose stop epoch differs", differ, 0.0))
    lines.append(common.at_most("C6", "largest difference of a risk", risk, 1e-8))
    return lines


def draw_figure(times: dict[int, dict[str, Any]]) -> Any:
    """Seconds against width."""
    figure, ((axes,),) = common.new_figure(1, 1, width=5.0)
    for method in METHODS:
        seconds = [min(found["seconds"][method]) for found in times.values()]
        axes.plot(list(times), seconds, "o-", markersize=4, label=method)
    axes.set(
        xscale="log", yscale="log", xlabel="width", ylabel="seconds, 9 networks in each process"
    )
    axes.set_xticks(list(times), [str(width) for width in times])
    axes.minorticks_off()
    axes.legend(fontsize="small")
    return figure


def main() -> None:
    """Run the study."""
    chosen = common.arguments(__file__, str(__doc__))
    scope = QUICK if chosen.quick else FULL
    torch.set_num_threads(1)
    with multiprocessing.get_context("spawn").Pool(WORKERS, begin_worker) as pool:
        all_times = {
            held_out: {
                width: time_methods(pool, width, held_out, scope) for width in scope.thresholds
            }
            for held_out in HELD_OUT
        }
    times = all_times[HELD_OUT[0]]
    equality = largest_differences(scope)
    criteria = judge(times, equality, scope)
    rows = [
        {"held_out": held_out, "width": width, "stack_size": found["stack_size"], "round": k}
        | {method.replace(" ", "_"): found["seconds"][method][k] for method in METHODS}
        for held_out, by_width in all_times.items()
        for width, found in by_width.items()
        for k in range(scope.rounds)
    ]
    common.save_rows(chosen.output / "seconds.csv", rows)
    common.save_figure(chosen.output / "figure.png", draw_figure(times))
    measured = {"times_by_held_out": all_times, "equality": equality}
    common.record(chosen, "stacked_training", scope._asdict(), measured, criteria, ["torch"])


if __name__ == "__main__":
    main()
