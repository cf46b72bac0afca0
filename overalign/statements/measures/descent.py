"""Left sides of Proposition B.1: steps of gradient descent on deep ReLU networks without biases."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from ...errors import ScopeError
from ...observation import Measured, Problem
from ...problem import Stream
from .shared import FloatArray

WIDTH = 8
STREAM = 100  # of random numbers, one for each degree from here
SCALES = (-2.0, 1.0)  # log alpha is kept in here: deep networks at smaller ones do not move
RATE = 0.2
STEPS = 30
ROUNDING = 1e-12


def _forward(layers: list[FloatArray], x: FloatArray) -> tuple[FloatArray, list[FloatArray]]:
    """Outputs of a deep ReLU network without biases [n], and the inputs of every layer."""
    inputs = [x]
    for weights in layers[:-1]:
        inputs.append(np.maximum(inputs[-1] @ weights.T, 0.0))
    return (inputs[-1] @ layers[-1].T)[:, 0], inputs


def _gradient(layers: list[FloatArray], x: FloatArray, y: FloatArray, c: float) -> list[FloatArray]:
    """Gradient of mean log(1 + exp(-c y f)) in every layer."""
    outputs, inputs = _forward(layers, x)
    back = (-c * y / (1.0 + np.exp(c * y * outputs)) / y.size)[:, None]
    found = []
    for weights, entering in zip(layers[::-1], inputs[::-1], strict=True):
        found.append(back.T @ entering)
        back = (back @ weights) * (entering > 0.0)
    return found[::-1]


def _deep(problem: Problem, degree: int) -> tuple[list[FloatArray], FloatArray, FloatArray, float]:
    sample = problem.sample
    if not sample.is_classification:
        raise ScopeError("the descent that is compared needs labels")
    generator = np.random.default_rng((problem.seed, Stream.STATEMENTS, STREAM + degree))
    sizes = [sample.dimension, *[WIDTH] * (degree - 1), 1]
    layers = [
        generator.standard_normal((after, before)) / math.sqrt(before)
        for before, after in pairwise(sizes)
    ]
    x = sample.x / sample.max_norm
    return layers, x, sample.y, math.exp(float(np.clip(problem.log_alpha, *SCALES)))


def multipliers(problem: Problem) -> Measured:
    """log of f(alpha theta) / f(theta) for random deep networks of several depths."""
    values, degrees, scales = [], [2, 3, 4], []
    for degree in degrees:
        layers, x, _, alpha = _deep(problem, degree)
        plain = _forward(layers, x)[0]
        scaled = _forward([alpha * weights for weights in layers], x)[0]
        k = int(np.argmax(np.abs(plain)))
        if plain[k] == 0.0:
            raise ScopeError("every output of the network is zero")
        values.append(math.log(scaled[k] / plain[k]))
        scales.append(math.log(alpha))
    parameters = {"degree": degrees, "log_alpha": scales}
    return Measured(values, parameters, 10.0 * ROUNDING, parameters, "deep networks")


def rates(problem: Problem, steps: int = STEPS) -> Measured:
    """log(e_B / e) from the first step of descent; its error is how far later steps come apart."""
    found = [_rate(problem, degree, steps) for degree in (2, 3)]
    values, errors, scales = zip(*found, strict=True)
    where = {"degree": [2, 3]}
    return Measured(values, {"log_alpha": scales}, errors, where, "steps of gradient descent")


def _rate(problem: Problem, degree: int, steps: int) -> tuple[float, float, float]:
    theta, x, y, alpha = _deep(problem, degree)
    c, e = alpha**degree, RATE
    a, b = [alpha * weights for weights in theta], [weights.copy() for weights in theta]

    def size(parts: list[FloatArray]) -> float:
        return math.sqrt(sum(float(np.sum(part**2)) for part in parts))

    first, second = size(_gradient(a, x, y, 1.0)), size(_gradient(b, x, y, c))
    if not first > ROUNDING * size(a):
        raise ScopeError("the network does not move")
    value = math.log(first / (alpha * second))
    apart = 0.0
    for _ in range(steps):
        for layers, multiplier, rate in ((a, 1.0, e), (b, c, e * math.exp(value))):
            for weights, step in zip(layers, _gradient(layers, x, y, multiplier), strict=True):
                weights -= rate * step
        ahead, behind = _forward(a, x)[0], c * _forward(b, x)[0]
        apart = max(apart, float(np.abs(ahead - behind).max() / (np.abs(ahead).max() + 1e-300)))
    return value, ROUNDING + apart, math.log(alpha)
