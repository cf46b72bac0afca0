"""Probability of a wrong sign along a line of inputs: the compiled core of the network's error.

A line x(t) = x_0 + t e, t ~ N(0, 1), is cut at the kinks of the neurons. Between two of them the
network is linear in t, so its sign changes at most once and the probability of each sign is a sum
of differences of normal distribution functions: exact, however small it is.

A neuron is given by its products a_j + b_j t with the line and the logarithm of |v_j| ||w_j||,
which may lie outside the range of exp: where no large neuron is active the small ones decide.
"""

from __future__ import annotations

import math

import numpy as np

from ._compile import compiled, entry_point

# Below this share of the largest value met on a line a sum may be what rounding left of larger
# ones; it is then formed again from the active neurons alone.
_DOUBTFUL = 1e-9


@compiled
def _between(low, high):
    """P(low < t < high) of a standard normal t, from the tail that is not close to one."""
    if high <= low:
        return 0.0
    if low > 0.0:
        return 0.5 * (math.erfc(low * math.sqrt(0.5)) - math.erfc(high * math.sqrt(0.5)))
    if high < 0.0:
        return 0.5 * (math.erfc(-high * math.sqrt(0.5)) - math.erfc(-low * math.sqrt(0.5)))
    return 1.0 - 0.5 * (math.erfc(high * math.sqrt(0.5)) + math.erfc(-low * math.sqrt(0.5)))


@compiled
def _density(t):
    return math.exp(-0.5 * t * t) / math.sqrt(2.0 * math.pi)


@compiled
def _active_sums(a, b, log_size, sign, inside):
    """Offset and slope of the network at t = inside, up to a common positive factor."""
    largest = -np.inf
    for j in range(a.size):
        if a[j] + b[j] * inside > 0.0 and sign[j] != 0.0 and log_size[j] > largest:
            largest = log_size[j]
    offset, slope = 0.0, 0.0
    for j in range(a.size):
        if a[j] + b[j] * inside > 0.0 and sign[j] != 0.0:
            size = sign[j] * math.exp(log_size[j] - largest)
            offset += size * a[j]
            slope += size * b[j]
    return offset, slope


@compiled
def _wrong_part(low, high, offset, slope):
    """Part of [low, high] on which offset + slope t < 0, as (from, to); -1 and -2 if empty."""
    if slope == 0.0:
        return (low, high) if offset < 0.0 else (-1.0, -2.0)
    root = -offset / slope
    if slope > 0.0:
        return low, min(high, root)
    return max(low, root), high


@compiled
def _inner_point(low, high):
    if low == -np.inf:
        return high - 1.0 if high < np.inf else 0.0
    return low + 1.0 if high == np.inf else 0.5 * (low + high)


@entry_point
def wrong_along_lines(a, b, log_size, sign, label, result):
    """What is wrong along lines.

    a [m, h] and b [h]: products of neuron j with line i are a[i, j] + b[j] t; log_size [h] the
    logarithm of |v_j| ||w_j|| less the largest; sign [h] of v_j.  Writes result [m, 3]: the
    probability that label * f < 0, plus half of that of f = 0; the mean of t over the same part
    (not divided by the probability); the probability of f = 0.
    """
    width = b.size
    size = np.empty(width)
    for j in range(width):
        size[j] = label * sign[j] * math.exp(log_size[j])
    turned = label * sign
    kinks = np.empty(width)
    for i in range(a.shape[0]):
        offset, slope, largest = 0.0, 0.0, 0.0
        for j in range(width):
            if b[j] == 0.0:
                kinks[j] = np.inf
                if a[i, j] > 0.0:
                    offset += size[j] * a[i, j]
            else:
                kinks[j] = -a[i, j] / b[j]
                if b[j] < 0.0:
                    offset += size[j] * a[i, j]
                    slope += size[j] * b[j]
        order = np.argsort(kinks)
        wrong, moment, tie = 0.0, 0.0, 0.0
        low = -np.inf
        for k in range(width + 1):
            high = np.inf if k == width else kinks[order[k]]
            if high > low:
                inside = _inner_point(low, high)
                value, scale = offset + slope * inside, abs(offset) + abs(slope * inside)
                largest = max(largest, scale)
                here, there = offset, slope
                if abs(value) <= _DOUBTFUL * largest:
                    here, there = _active_sums(a[i], b, log_size, turned, inside)
                if here == 0.0 and there == 0.0:
                    mass = _between(low, high)
                    tie += mass
                    wrong += 0.5 * mass
                    moment += 0.5 * (_density(low) - _density(high))
                else:
                    start, end = _wrong_part(low, high, here, there)
                    if end > start:
                        wrong += _between(start, end)
                        moment += _density(start) - _density(end)
            if k < width:
                j = order[k]
                if b[j] > 0.0:
                    offset += size[j] * a[i, j]
                    slope += size[j] * b[j]
                elif b[j] < 0.0:
                    offset -= size[j] * a[i, j]
                    slope -= size[j] * b[j]
                low = high
        result[i, 0], result[i, 1], result[i, 2] = wrong, moment, tie
