"""Compiled kernels of the flow solver.

Given the residuals ``c(t)`` (minus the derivative of the risk with respect to each output) the
neurons are independent: ``w' = v G``, ``v' = <w, G>`` with ``G`` the sum of ``c_i x_i`` over the
samples on which the neuron is active.  A step therefore alternates between two things until they
agree: carry every neuron through the step under a polynomial ``c(t)``, and read a new ``c(t)`` off
the outputs at the nodes of the step.  Neurons move by frozen flows, which are closed form (see
``frozen_flow``); two of them, at the two averages of the fourth-order commutator-free Magnus
method, make a substep; a substep ends at each kink.

Conventions: a neuron is stored as ``exp(scale) * (weights, output)``; ``signs`` holds its pattern,
+1 active, -1 inactive, 0 sliding on the kink; ``products`` are ``<weights, x_i>``; ``amplitude`` is
its output, its log scale, and the integral of ``||G||``, which bounds how rounding has grown.

All kernels stand in this one file because numba's cache on disk is keyed by the file of the caller:
it would not notice a change of a callee in another file.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._compile import compiled, entry_point, reduction

# numpy integers: a plain int would make numba compile every callee twice, for the literal and int64
ACTIVE, SLIDING, INACTIVE = np.int64(1), np.int64(0), np.int64(-1)
LOGISTIC, EXPONENTIAL, SQUARE = (np.int64(k) for k in range(3))
STOP_TIME, STOP_RISK, STOP_MARGIN, STOP_NORM = (np.int64(k) for k in range(4))
TARGET, DEAD, STATIONARY, STALLED, STEP_LIMIT, STEP_TOO_SMALL, AT_START = (
    np.int64(k) for k in range(7)
)

EPSILON = float(np.finfo(np.float64).eps)
NOISE = 64 * EPSILON  # a sum of products below this share of its terms is zero
MAGNUS = 1.0 / np.sqrt(3.0)  # the two averages are c at +-1/3 of the substep, from Gauss points
GAUSS = 0.5 - 0.5 / np.sqrt(3.0)
MAX_SWEEPS = 8
MAX_CORNERS = 2048
MAX_TRIALS = 12
MAX_LANDINGS = 6


# --------------------------------------------------------------------- plain loops on small arrays
# (explicit loops compile in a fraction of the time of array expressions)


@reduction
def dot(first, second):
    total = 0.0
    for k in range(first.size):
        total += first[k] * second[k]
    return total


@reduction
def past_kinks(signs, products):
    """Twice the sum of what lies on the other side of its kink than the pattern says."""
    past = 0.0
    for i in range(products.size):
        signed = signs[i] * products[i]
        past += abs(signed) - signed
    return past


@compiled
def copy_to(target, source):
    for k in range(target.size):
        target[k] = source[k]


@compiled
def scale(vector, factor):
    for k in range(vector.size):
        vector[k] *= factor


# ---------------------------------------------------------------------------------------- loss


@compiled
def residual(kind, weight, y, f):
    """Minus the derivative of the risk with respect to one output."""
    if kind == SQUARE:
        return weight * (y - f)
    margin = y * f
    if kind == EXPONENTIAL:
        return weight * y * np.exp(min(-margin, 700.0))
    if margin > 0:
        decay = np.exp(-margin)
        return weight * y * decay / (1.0 + decay)
    return weight * y / (1.0 + np.exp(margin))


@compiled
def stiffness(kind, weight, c):
    """Derivative of a residual with respect to its output, from the residual."""
    if kind == SQUARE:
        return -weight
    if kind == EXPONENTIAL:
        return -abs(c)
    return -abs(c) * (1.0 - abs(c) / weight)


@compiled
def sample_loss(kind, y, f):
    """Loss of one sample, before weight and reduction."""
    if kind == SQUARE:
        return 0.5 * (f - y) ** 2
    margin = y * f
    if kind == EXPONENTIAL:
        return np.exp(min(-margin, 700.0))
    return np.log1p(np.exp(-abs(margin))) + max(-margin, 0.0)


@compiled
def stop_value(kind, weight, y, f, stop_kind, stop_target, stop_mask, log_norm, time):
    """Signed distance to the stop: positive before it, zero at it."""
    if stop_kind == STOP_TIME:
        return stop_target - time
    if stop_kind == STOP_NORM:
        return stop_target - log_norm
    if stop_kind == STOP_MARGIN:
        smallest = np.inf
        for i in range(y.size):
            if stop_mask[i]:
                smallest = min(smallest, y[i] * f[i])
        return stop_target - smallest
    risk = 0.0
    for i in range(y.size):
        if stop_mask[i]:
            risk += sample_loss(kind, y[i], f[i])
    return np.log(max(weight * risk, 1e-300) / stop_target)


# ------------------------------------------------------------------------------- one frozen flow


@compiled
def frozen_flow(gamma, duration, output, along):
    """Flow of one neuron for a constant ``G`` with norm ``gamma``; ``along`` = <weights, G>.

    With a = along / gamma the pair (a, output) rotates hyperbolically.  Returns, all multiplied by
    decay = exp(-gamma * duration) so that nothing overflows: decay, sigma (weights gain sigma G)
    and the new output.
    """
    if gamma == 0.0:
        return 1.0, 0.0, output
    loss = -np.expm1(-gamma * duration)
    decay = 1.0 - loss
    growing = 0.5 * (output + along / gamma)
    shrinking = 0.5 * (output - along / gamma)
    return decay, loss / gamma * (growing + decay * shrinking), growing + decay * decay * shrinking


@compiled
def time_to_gain(gamma, output, along, sigma):
    """Time after which the weights have gained ``sigma * G``: the inverse of ``frozen_flow``."""
    if sigma == 0.0:
        return 0.0
    direction = 1.0 if sigma > 0.0 else -1.0
    v, a, gain = direction * output, direction * along / gamma, direction * sigma * gamma
    root = np.sqrt(max(v * v + gain * (gain + 2.0 * a), 0.0))
    half = gain / (v + root) if v + root > 0.0 else 1.0  # tanh(gamma t / 2)
    if half < 0.5:
        return np.log1p(2.0 * half / (1.0 - half)) / gamma
    growing, shrinking = 0.5 * (v + a), 0.5 * (v - a)
    middle = growing - shrinking + gain
    other = np.sqrt(max(middle * middle + 4.0 * growing * shrinking, 0.0))
    return np.log((middle + other) / (2.0 * growing)) / gamma


@compiled
def time_to_turn(gamma, output, along):
    """Time at which the output passes zero (infinity if never): only for |output| < |weights|."""
    growing = output + along / gamma
    shrinking = output - along / gamma
    if output == 0.0 or growing == 0.0 or shrinking / growing >= -1.0:
        return np.inf
    return 0.5 * np.log(-shrinking / growing) / gamma


# ------------------------------------------------------------------------------------- the field


class Problem(NamedTuple):
    """Data and loss: x [n, d], its transpose, y [n], norms of the rows of x, kind, weight."""

    x: Any
    columns: Any
    y: Any
    norms: Any
    kind: Any
    weight: float


class Scratch(NamedTuple):
    """Working memory of one sweep."""

    active: Any  # [n] residuals masked by the pattern
    drive: Any  # [d] G
    slope: Any  # [n] <G, x_i>
    early: Any  # [n] residual averages of the two frozen flows of a substep
    late: Any  # [n]
    now: Any  # [n] residuals at one instant
    other: Any  # [n]
    before: Any  # [n] a pattern before an event
    products: Any  # [n] trial state of one neuron
    weights: Any  # [d]
    amplitude: Any  # [3] output, log scale, integral of ||G||
    members: Any  # [m] samples on whose kinks a neuron sits, m <= capacity
    basis: Any  # [m, d] their orthonormal basis
    upper: Any  # [m, m] their triangular factor, or Gram matrix
    shares: Any  # [m] Clarke shares


class Events(NamedTuple):
    """Log of pattern changes; ``count[0]`` goes on counting when the log is full."""

    count: Any  # [2] events, frozen flows of single neurons
    time: Any
    neuron: Any
    sample: Any
    before: Any
    after: Any


@compiled
def make_scratch(n, dimension):
    capacity = min(n, 2 * dimension + 16)
    return Scratch(
        np.zeros(n), np.zeros(dimension), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n),
        np.zeros(n), np.zeros(n, np.int8), np.zeros(n), np.zeros(dimension), np.zeros(3),
        np.zeros(capacity, np.int64),
        np.zeros((capacity, dimension)), np.zeros((capacity, capacity)), np.zeros(capacity),
    )  # fmt: skip


@compiled
def make_events(capacity):
    whole = np.int64
    return Events(
        np.zeros(2, whole), np.zeros(capacity), np.zeros(capacity, whole),
        np.zeros(capacity, whole), np.zeros(capacity, np.int8), np.zeros(capacity, np.int8),
    )  # fmt: skip


class Residuals(NamedTuple):
    """The residuals c(t) on one step, t in [0, 1]: a polynomial plus sum of size_k (t - when_k)_+.

    The outputs have a corner where a neuron meets a kink; its size is known in closed form
    (``record_corner``), and without it the method would be of second order only.  Sums over the
    corners before each one let any moment be read off without running over all corners.
    """

    coefficients: Any  # [s + 1, n]
    count: Any  # [1] number of corners
    when: Any  # [k] in the order found
    size: Any  # [k, n]
    sorted: Any  # [k] the same times in order
    sums: Any  # [k + 1, 4, n] sums of size * when^p over the first corners in order


@compiled
def make_residuals(terms, n, corners):
    return Residuals(
        np.zeros((terms, n)), np.zeros(1, np.int64), np.zeros(corners), np.zeros((corners, n)),
        np.zeros(corners), np.zeros((corners + 1, 4, n)),
    )  # fmt: skip


@compiled
def sort_corners(residuals):
    """Fill the ordered times and the sums."""
    count = residuals.count[0]
    if count == 0:
        return
    order = np.argsort(residuals.when[:count])
    for position in range(count):
        corner = order[position]
        when, size = residuals.when[corner], residuals.size[corner]
        residuals.sorted[position] = when
        power = 1.0
        for p in range(4):
            before, after = residuals.sums[position, p], residuals.sums[position + 1, p]
            for i in range(size.size):
                after[i] = before[i] + size[i] * power
            power *= when


@compiled
def corners_before(residuals, tau):
    """How many corners come before ``tau``."""
    low, high = 0, residuals.count[0]
    while low < high:
        middle = (low + high) // 2
        if residuals.sorted[middle] < tau:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def polynomials_at(coefficients, tau, out):
    degree = coefficients.shape[0] - 1
    copy_to(out, coefficients[degree])
    for power in range(degree - 1, -1, -1):
        for i in range(out.size):
            out[i] = out[i] * tau + coefficients[power, i]


@compiled
def residuals_at(residuals, tau, out):
    """The residuals at the time ``tau``."""
    polynomials_at(residuals.coefficients, tau, out)
    if residuals.count[0] > 0:
        sums = residuals.sums[corners_before(residuals, tau)]
        for i in range(out.size):
            out[i] += sums[0, i] * tau - sums[1, i]


@compiled
def magnus_averages(residuals, start, end, early, late):
    """The residuals of the two frozen flows that make the part [start, end] of a step.

    They are B0 -+ 4 B1 with the moments B0 = int c dt / length, B1 = int (t - middle) c dt /
    length^2: exact for the corners, by two Gauss points for the polynomial.
    """
    length, middle = end - start, 0.5 * (start + end)
    polynomials_at(residuals.coefficients, start + GAUSS * length, early)
    polynomials_at(residuals.coefficients, end - GAUSS * length, late)
    for i in range(early.size):
        first, second = early[i], late[i]
        early[i] = (0.5 + MAGNUS) * first + (0.5 - MAGNUS) * second
        late[i] = (0.5 - MAGNUS) * first + (0.5 + MAGNUS) * second
    if residuals.count[0] == 0:
        return
    before, inside = corners_before(residuals, start), corners_before(residuals, end)
    past = residuals.sums[before]
    for i in range(early.size):
        early[i] += past[0, i] * (middle - length / 3.0) - past[1, i]
        late[i] += past[0, i] * (middle + length / 3.0) - past[1, i]
    if before < inside:
        if length < SHORT_PART:
            add_each_corner(residuals, before, inside, end, length, early, late)
        else:
            add_corners(past, residuals.sums[inside], end, length, early, late)


@compiled
def add_each_corner(residuals, before, inside, end, length, early, late):
    """`add_corners` without its differences of sums, which a short part divides by length^2."""
    for position in range(before, inside):
        r = end - residuals.sorted[position]
        mean, first = 0.5 * r * r / length, r * r / length * (1.0 - r / (1.5 * length))
        past, sums = residuals.sums[position], residuals.sums[position + 1]
        for i in range(early.size):
            size = sums[0, i] - past[0, i]
            early[i] += size * (mean - first)
            late[i] += size * (mean + first)


@compiled
def add_corners(past, sums, end, length, early, late):
    """Add the moments of the corners inside a part: with r = end - when, r^2/(2 length) in B0 and
    r^2/(4 length) - r^3/(6 length^2) in B1."""
    for i in range(early.size):
        s0, s1 = sums[0, i] - past[0, i], sums[1, i] - past[1, i]
        s2, s3 = sums[2, i] - past[2, i], sums[3, i] - past[3, i]
        squares = (s0 * end - 2.0 * s1) * end + s2
        cubes = ((s0 * end - 3.0 * s1) * end + 3.0 * s2) * end - s3
        first = squares / length - cubes / (1.5 * length * length)  # 4 B1
        early[i] += 0.5 * squares / length - first
        late[i] += 0.5 * squares / length + first


@compiled
def sum_active(problem, c, signs, active, drive):
    """``drive`` = sum of c_i x_i over the active samples, ``active`` = c masked.

    Returns the sum of |c_i| ||x_i||, against which rounding in ``drive`` is measured.
    """
    size = 0.0
    for i in range(c.size):
        active[i] = c[i] if signs[i] == ACTIVE else 0.0
        size += abs(active[i]) * problem.norms[i]
    for m in range(drive.size):
        drive[m] = dot(active, problem.columns[m])
    return size


@compiled
def list_sliding(signs, members):
    count = 0
    for i in range(signs.size):
        if signs[i] == SLIDING and count < members.size:
            members[count] = i
            count += 1
    return count


@compiled
def orthogonalise(x, members, count, basis, upper):
    """Gram-Schmidt, twice, of the rows ``members`` of x: row k = sum_l upper[l, k] basis_l.

    A row that depends on the earlier ones gets a zero basis vector.
    """
    dimension = x.shape[1]
    for k in range(count):
        size = 0.0
        for m in range(dimension):
            basis[k, m] = x[members[k], m]
            size += basis[k, m] ** 2
        for previous in range(k):
            upper[previous, k] = 0.0
        for _ in range(2):
            for previous in range(k):
                overlap = dot(basis[previous], basis[k])
                upper[previous, k] += overlap
                for m in range(dimension):
                    basis[k, m] -= overlap * basis[previous, m]
        rest = np.sqrt(dot(basis[k], basis[k]))
        dependent = rest <= 1e-10 * np.sqrt(size)
        upper[k, k] = 0.0 if dependent else rest
        for m in range(dimension):
            basis[k, m] = 0.0 if dependent else basis[k, m] / rest


@compiled
def field(problem, c, signs, active, drive, slope, scratch):
    """The frozen field of one neuron: G in ``drive``, <G, x_i> in ``slope``; returns ||G||.

    On sliding samples G is projected: adding theta_i c_i x_i with the shares theta that keep the
    neuron on its kinks (Clarke's subgradient) removes exactly the component along their span.
    Sums that are zero up to rounding are set to zero, so that rounding cannot switch a sample.
    """
    x, norms = problem.x, problem.norms
    size = sum_active(problem, c, signs, active, drive)
    count = list_sliding(signs, scratch.members)
    if count > 0:
        orthogonalise(x, scratch.members, count, scratch.basis, scratch.upper)
        for _ in range(2):
            for k in range(count):
                overlap = dot(scratch.basis[k], drive)
                for m in range(drive.size):
                    drive[m] -= overlap * scratch.basis[k, m]
    square = 0.0
    for m in range(drive.size):
        square += drive[m] * drive[m]
    gamma = np.sqrt(square)
    if gamma <= NOISE * size:
        scale(drive, 0.0)
        scale(slope, 0.0)
        return 0.0
    scale(slope, 0.0)
    for m in range(drive.size):
        component, column = drive[m], problem.columns[m]
        for i in range(c.size):
            slope[i] += component * column[i]
    for i in range(c.size):
        if signs[i] == SLIDING or abs(slope[i]) <= NOISE * size * norms[i]:
            slope[i] = 0.0
    return gamma


@compiled
def sliding_shares(problem, c, signs, scratch):
    """The Clarke shares theta of the sliding samples; returns how many slide.

    theta_k c_k solves <G + sum_k theta_k c_k x_k, x_l> = 0 for all sliding l.
    """
    sum_active(problem, c, signs, scratch.active, scratch.drive)
    count = list_sliding(signs, scratch.members)
    members, basis, upper, shares = scratch.members, scratch.basis, scratch.upper, scratch.shares
    orthogonalise(problem.x, members, count, basis, upper)
    for k in range(count):
        shares[k] = -dot(basis[k], scratch.drive)
    for k in range(count - 1, -1, -1):
        for later in range(k + 1, count):
            shares[k] -= upper[k, later] * shares[later]
        shares[k] = shares[k] / upper[k, k] if upper[k, k] > 0.0 else 0.5 * c[members[k]]
    for k in range(count):
        shares[k] = shares[k] / c[members[k]] if c[members[k]] != 0.0 else np.inf
    return count


@compiled
def room_to_slide(problem, residuals, tau, signs, scratch):
    """Smallest distance of a share from the ends of [0, 1] at ``tau``; negative past an end."""
    residuals_at(residuals, tau, scratch.now)
    count = sliding_shares(problem, scratch.now, signs, scratch)
    room = np.inf
    for k in range(count):
        room = min(room, min(scratch.shares[k], 1.0 - scratch.shares[k]))
    return room


@compiled
def end_of_slide(problem, residuals, start, end, signs, scratch):
    """First time in [start, end] at which a share leaves [0, 1], or end: bisection and secants."""
    room = room_to_slide(problem, residuals, end, signs, scratch)
    if room >= 0.0:
        return end
    low, high = start, end
    low_room = max(room_to_slide(problem, residuals, low, signs, scratch), 0.0)
    high_room = room
    for trial in range(60):
        if high - low <= 1e-13 or high_room == 0.0:
            break
        middle = 0.5 * (low + high)
        if trial % 3 != 2 and np.isfinite(low_room - high_room) and low_room > high_room:
            middle = low + (high - low) * low_room / (low_room - high_room)
            middle = min(max(middle, low + 0.01 * (high - low)), high - 0.01 * (high - low))
        room = room_to_slide(problem, residuals, middle, signs, scratch)
        if room >= 0.0:
            low, low_room = middle, room
        else:
            high, high_room = middle, room
    return high


# ------------------------------------------------------------------------------------- the kinks


@compiled
def record(events, time, neuron, sample, before, after):
    position = events.count[0]
    if position < events.time.size:
        events.time[position] = time
        events.neuron[position] = neuron
        events.sample[position] = sample
        events.before[position] = before
        events.after[position] = after
    events.count[0] += 1


@compiled
def settle(problem, c, direction, signs, hit, scratch):
    """New pattern of a neuron that sits on the kinks of its sliding samples and of ``hit``.

    For a sample with direction * c_k < 0 both sides of the kink can push onto it.  The deactivating
    forces u_k = |theta_k c_k| in [0, |c_k|] solve the complementarity problem of Clarke's field:
    they minimise u'Ku/2 - b'u with K the Gram matrix and b_k = direction <G, x_k>.  u_k = 0 leaves
    the sample inactive, u_k = |c_k| active, anything between slides.  A sample with
    direction * c_k > 0 is crossed.
    """
    x = problem.x
    if signs[hit] != SLIDING and direction * c[hit] >= 0.0:
        signs[hit] = -signs[hit]
    elif signs[hit] != SLIDING:
        signs[hit] = SLIDING
    count = list_sliding(signs, scratch.members)
    if count == 0:
        return
    sum_active(problem, c, signs, scratch.active, scratch.drive)
    members, gram, force = scratch.members, scratch.upper, scratch.shares
    for k in range(count):
        force[k] = 0.0
        for other in range(count):
            gram[k, other] = dot(x[members[k]], x[members[other]])
    for _ in range(1000):
        change = 0.0
        for k in range(count):
            pull = direction * dot(scratch.drive, x[members[k]])
            for other in range(count):
                if other != k:
                    pull -= gram[k, other] * force[other]
            limit = max(-direction * c[members[k]], 0.0)
            new = min(max(pull / gram[k, k], 0.0), limit)
            change = max(change, abs(new - force[k]) / (limit + 1e-300))
            force[k] = new
        if change <= 1e-15:
            break
    for k in range(count):
        limit = max(-direction * c[members[k]], 0.0)
        if force[k] <= 1e-14 * limit:
            signs[members[k]] = INACTIVE
        elif force[k] >= (1.0 - 1e-14) * limit:
            signs[members[k]] = ACTIVE


@compiled
def cross_together(problem, c, direction, signs, met, scratch):
    """Let samples that reach their kinks at the very time of ``met`` follow it.

    Parallel inputs share a kink. Crossed one after another, the first would leave the neuron
    without the force that carries it over the others. ``scratch.slope`` is the field before.
    """
    products, weights = scratch.products, scratch.weights
    reach = SAME_KINK * np.sqrt(dot(weights, weights))
    for i in range(signs.size):
        moves_on = signs[i] * scratch.amplitude[0] * scratch.slope[i] < 0.0
        if i != met and moves_on and abs(products[i]) <= reach * problem.norms[i]:
            signs[i] = -signs[i] if direction * c[i] >= 0.0 else SLIDING


@compiled
def release(problem, c, direction, signs, scratch):
    """After the output changed sign its kinks repel: every sliding sample goes to one side."""
    sum_active(problem, c, signs, scratch.active, scratch.drive)
    for i in range(signs.size):
        if signs[i] == SLIDING:
            up = direction * dot(scratch.drive, problem.x[i]) > 0.0
            signs[i] = ACTIVE if up else INACTIVE


SHORT_PART = 1e-3  # of a step
SAME_KINK = 64 * 2.0**-52  # cosine up to which kinks are reached at one time
CROSSED_NOTHING, TURNED = np.int64(-1), np.int64(-2)


@compiled
def frozen_advance(gamma, duration, signs, skip, scratch):
    """Carry the trial neuron for ``duration`` or to its first crossing, whichever is sooner.

    Returns the time used and the crossed sample, CROSSED_NOTHING, or TURNED when the output passed
    zero while the neuron slides.  ``skip`` is a sample whose crossing is awaited at the end.
    """
    active, slope, products = scratch.active, scratch.slope, scratch.products
    weights, drive, amplitude = scratch.weights, scratch.drive, scratch.amplitude
    if gamma == 0.0:
        return duration, CROSSED_NOTHING
    used = 0.0
    for _ in range(3):
        output = amplitude[0]
        along = dot(active, products)
        turn = time_to_turn(gamma, output, along)
        piece = min(duration - used, turn)
        decay, sigma, _ = frozen_flow(gamma, piece, output, along)
        nearest = np.inf
        crossed: Any = CROSSED_NOTHING
        for i in range(signs.size):
            falls = signs[i] * sigma * slope[i] < 0.0 and i != skip
            if falls and signs[i] * (decay * products[i] + sigma * slope[i]) < 0.0:
                needed = max(signs[i] * products[i], 0.0) / abs(slope[i])
                if needed < nearest:
                    nearest, crossed = needed, i
        if crossed >= 0:
            gain = nearest if sigma > 0.0 else -nearest
            piece = min(time_to_gain(gamma, output, along, gain), piece)
        decay, sigma, output = frozen_flow(gamma, piece, output, along)
        for i in range(signs.size):
            products[i] = decay * products[i] + sigma * slope[i]
        for m in range(weights.size):
            weights[m] = decay * weights[m] + sigma * drive[m]
        amplitude[0] = output
        amplitude[1] += gamma * piece
        amplitude[2] += gamma * piece
        used += piece
        if crossed >= 0:
            products[crossed] = 0.0
            return used, crossed
        if piece < turn:
            return used, CROSSED_NOTHING
        amplitude[0] = 0.0
        for i in range(signs.size):
            if signs[i] == SLIDING:
                return used, TURNED
    return used, CROSSED_NOTHING


@compiled
def start_trial(products, weights, amplitude, scratch):
    copy_to(scratch.products, products)
    copy_to(scratch.weights, weights)
    copy_to(scratch.amplitude, amplitude)


@compiled
def rescale(products, weights, amplitude):
    """Keep the scaled neuron near one, by powers of two so that no digit changes."""
    size = abs(amplitude[0])
    for m in range(weights.size):
        size = max(size, abs(weights[m]))
    if size > 0.0 and (size < 0.0625 or size > 16.0):
        power = np.floor(np.log2(size))
        factor = 2.0**-power
        scale(products, factor)
        scale(weights, factor)
        amplitude[0] *= factor
        amplitude[1] += power * np.log(2.0)


@compiled
def shift_to_kink(gamma, sample, scratch):
    """Move the trial neuron along its frozen flow, forward or back, onto the kink of ``sample``.

    Returns how late it was: the time by which it was moved back.
    """
    products, slope = scratch.products, scratch.slope
    output, along = scratch.amplitude[0], dot(scratch.active, products)
    gain = -products[sample] / slope[sample]
    # backwards in time the flow is the same with the sign of the output reversed
    back = -1.0 if gain * output < 0.0 else 1.0
    duration = back * time_to_gain(gamma, back * output, along, gain)
    decay, sigma, output = frozen_flow(gamma, duration, output, along)
    for i in range(products.size):
        products[i] = decay * products[i] + sigma * slope[i]
    for m in range(scratch.weights.size):
        scratch.weights[m] = decay * scratch.weights[m] + sigma * scratch.drive[m]
    scratch.amplitude[0] = output
    scratch.amplitude[1] += gamma * duration
    scratch.amplitude[2] += gamma * duration
    products[sample] = 0.0
    return -duration


@compiled
def to_next_event(problem, residuals, step, start, end, products, weights, amplitude, signs,
                  kink_tolerance, scratch, events):  # fmt: skip
    """Carry one neuron from ``start`` to its next kink or towards ``end`` (times in [0, 1]).

    The result is left in ``scratch``; a trial that meets a kink is repeated with the substep
    ending there, until the residual averages belong to the substep that ends at the kink.  If it
    then turns back short of the kink, it is carried no further: what lies beyond is another
    substep.  Returns the time reached, and the sample met, CROSSED_NOTHING or TURNED.
    """
    target, awaited = end, CROSSED_NOTHING
    for trial in range(MAX_TRIALS):
        last = trial == MAX_TRIALS - 1
        start_trial(products, weights, amplitude, scratch)
        magnus_averages(residuals, start, target, scratch.early, scratch.late)
        half = 0.5 * (target - start) * step
        varies = 0.0
        for i in range(scratch.early.size):
            varies += abs(scratch.late[i] - scratch.early[i]) * problem.norms[i]
        exact = last or 2.0 * half * varies <= kink_tolerance
        reached, met = target, CROSSED_NOTHING
        for part in range(2):
            c = scratch.early if part == 0 else scratch.late
            gamma = field(problem, c, signs, scratch.active, scratch.drive, scratch.slope, scratch)
            events.count[1] += 1
            used, met = frozen_advance(gamma, half, signs, awaited, scratch)
            if met != CROSSED_NOTHING:
                reached = start + (0.5 * part * (target - start) + used / step)
                break
        if met != CROSSED_NOTHING:
            if exact or met == TURNED or reached <= start:
                return min(reached, end), met
            target, awaited = reached, met
            continue
        if awaited == CROSSED_NOTHING:
            return target, CROSSED_NOTHING
        past = -signs[awaited] * scratch.products[awaited]
        if target == end and past <= 0.0:  # the kink lies beyond the end
            return end, CROSSED_NOTHING
        speed = scratch.amplitude[0] * scratch.slope[awaited]
        if speed * signs[awaited] >= 0.0:  # it turned back: short of the kink, or after crossing it
            awaited = CROSSED_NOTHING
            continue
        late_by = past / abs(speed) / step
        if exact or abs(late_by) * step * varies <= kink_tolerance:
            late_by = shift_to_kink(gamma, awaited, scratch) / step
            return min(max(target - late_by, start), end), awaited
        target = min(max(target - late_by, start + 1e-3 * (target - start)), end)
    return target, CROSSED_NOTHING


@compiled
def advance_switching(
    problem, residuals, step, start, end, neuron, products, weights, amplitude, signs,
    began, kink_tolerance, scratch, events, corners,
):  # fmt: skip
    """Carry one neuron over [start, end] (in the step's unit time) through its kinks and slides.

    Returns False when it meets more kinks than any resolved substep can hold.
    """
    before = scratch.before
    now = start
    for _ in range(4 * signs.size + 40):
        slides = list_sliding(signs, scratch.members)
        target = end
        if slides > 0:
            target = end_of_slide(problem, residuals, now, end, signs, scratch)
        reached, met = to_next_event(
            problem, residuals, step, now, target, products, weights, amplitude, signs,
            kink_tolerance, scratch, events,
        )  # fmt: skip
        copy_to(products, scratch.products)
        copy_to(weights, scratch.weights)
        copy_to(amplitude, scratch.amplitude)
        now = reached
        if met == CROSSED_NOTHING and reached < target:
            continue
        copy_to(before, signs)
        if met == CROSSED_NOTHING and target == end:
            for i in range(signs.size):
                if signs[i] * products[i] < 0.0:
                    products[i] = 0.0
            return True
        residuals_at(residuals, now, scratch.now)
        if met == CROSSED_NOTHING:
            leave_slide(problem, signs, scratch)
        else:
            direction = np.sign(amplitude[0])
            if direction == 0.0:
                sum_active(problem, scratch.now, signs, scratch.active, scratch.drive)
                direction = np.sign(dot(scratch.active, products))
            if met == TURNED:
                release(problem, scratch.now, direction, signs, scratch)
            else:
                cross_together(problem, scratch.now, direction, signs, met, scratch)
                settle(problem, scratch.now, direction, signs, met, scratch)
        for i in range(signs.size):
            if before[i] != signs[i]:
                products[i] = 0.0
                record(events, began + now * step, neuron, i, before[i], signs[i])
        record_corner(
            problem, now, step, before, signs, amplitude, kink_tolerance, scratch, corners
        )
    return False


@compiled
def record_corner(problem, now, step, before, signs, amplitude, kink_tolerance, scratch, corners):
    """The corner that a change of pattern of one neuron makes in the residuals.

    Output i loses v_j^2 <G, x_i> of its speed if i was active and gains it, with the new G, if i is
    active; v_j' is continuous because <w_j, x> = 0 on the kink.
    """
    output, c = amplitude[0], scratch.now
    weight = np.exp(2.0 * amplitude[1]) * output * output * step
    pull, effect, total = 0.0, 0.0, 0.0
    for i in range(c.size):
        pull += abs(c[i]) * problem.norms[i]
        stiff = abs(stiffness(problem.kind, problem.weight, c[i]))
        effect += stiff * problem.norms[i] * problem.norms[i]
    if weight * pull * effect * step <= 3.0 * kink_tolerance:
        return
    field(problem, c, before, scratch.active, scratch.drive, scratch.other, scratch)
    field(problem, c, signs, scratch.active, scratch.drive, scratch.slope, scratch)
    for i in range(c.size):
        jump = 0.0
        if signs[i] == ACTIVE:
            jump += scratch.slope[i]
        if before[i] == ACTIVE:
            jump -= scratch.other[i]
        scratch.other[i] = weight * jump * stiffness(problem.kind, problem.weight, c[i])
        total += problem.norms[i] * abs(scratch.other[i])
    if total * step <= 3.0 * kink_tolerance:
        return
    position = corners.count[0]
    corners.count[0] += 1
    if position < corners.when.size:
        corners.when[position] = now
        copy_to(corners.size[position], scratch.other)


@compiled
def leave_slide(problem, signs, scratch):
    """The sliding sample whose share is nearest to or past an end of [0, 1] goes to that side."""
    count = sliding_shares(problem, scratch.now, signs, scratch)
    worst, which = np.inf, 0
    for k in range(count):
        room = min(scratch.shares[k], 1.0 - scratch.shares[k])
        if room < worst:
            worst, which = room, k
    if count > 0:
        sample = scratch.members[which]
        signs[sample] = INACTIVE if scratch.shares[which] < 0.5 else ACTIVE


# -------------------------------------------------------------------------- all neurons, one step


class State(NamedTuple):
    """All neurons: weights [h, d], amplitude [h, 3], products [h, n], signs [h, n]."""

    weights: Any
    amplitude: Any
    products: Any
    signs: Any


@compiled
def empty_state(h, n, dimension):
    return State(
        np.zeros((h, dimension)), np.zeros((h, 3)), np.zeros((h, n)), np.zeros((h, n), np.int8)
    )


@compiled
def copy_neuron(new, state, j):
    copy_to(new.weights[j], state.weights[j])
    copy_to(new.amplitude[j], state.amplitude[j])
    copy_to(new.products[j], state.products[j])
    copy_to(new.signs[j], state.signs[j])


@compiled
def copy_state(state):
    new = empty_state(state.signs.shape[0], state.signs.shape[1], state.weights.shape[1])
    for j in range(state.signs.shape[0]):
        copy_neuron(new, state, j)
    return new


class Tables(NamedTuple):
    """The 2 s frozen fields that the neurons of one pattern share during a step of s substeps."""

    residuals: Any  # [2 s, n] the Magnus averages
    active: Any  # [2 s, n] the same, masked by the pattern
    drive: Any  # [2 s, d]
    slope: Any  # [2 s, n]
    gamma: Any  # [2 s]
    signs: Any  # [n] the pattern
    slides_through: Any  # [s] no share leaves [0, 1] in the substep


@compiled
def make_tables(substeps, n, dimension):
    return Tables(
        np.zeros((2 * substeps, n)), np.zeros((2 * substeps, n)),
        np.zeros((2 * substeps, dimension)), np.zeros((2 * substeps, n)),
        np.zeros(2 * substeps), np.zeros(n), np.zeros(substeps, np.bool_),
    )  # fmt: skip


@compiled
def fill_tables(problem, residuals, nodes, signs, tables, scratch):
    """Fill the tables of one pattern; returns its largest ||G||."""
    fastest = 0.0
    for part in range(tables.gamma.size):
        tables.gamma[part] = field(
            problem, tables.residuals[part], signs,
            tables.active[part], tables.drive[part], tables.slope[part], scratch,
        )  # fmt: skip
        fastest = max(fastest, tables.gamma[part])
    copy_to(tables.signs, signs)
    slides = list_sliding(signs, scratch.members) > 0
    room = room_to_slide(problem, residuals, nodes[0], signs, scratch) if slides else 0.0
    for k in range(nodes.size - 1):
        tables.slides_through[k] = room >= 0.0
        if slides:
            room = room_to_slide(problem, residuals, nodes[k + 1], signs, scratch)
            tables.slides_through[k] = tables.slides_through[k] and room >= 0.0
    return fastest


@compiled
def substep_together(k, half, tables, weights, amplitude, products, scratch):
    """Carry one neuron through substep k by its pattern's tables; False if it meets a kink."""
    trial, signs = scratch.products, tables.signs
    output = amplitude[0]
    decays = (0.0, 0.0)
    sigmas = (0.0, 0.0)
    for part in range(2):
        row = 2 * k + part
        source = products if part == 0 else trial
        slope = tables.slope[row]
        along = dot(tables.active[row], source)
        decay, sigma, new = frozen_flow(tables.gamma[row], half, output, along)
        if new * output < 0.0:
            return False
        for i in range(trial.size):
            trial[i] = decay * source[i] + sigma * slope[i]
        if past_kinks(signs, trial) > 0.0:
            return False
        decays, sigmas, output = (decays[1], decay), (sigmas[1], sigma), new
    first, second = tables.drive[2 * k], tables.drive[2 * k + 1]
    for m in range(weights.size):
        between = decays[0] * weights[m] + sigmas[0] * first[m]
        weights[m] = decays[1] * between + sigmas[1] * second[m]
    copy_to(products, trial)
    amplitude[0] = output
    growth = (tables.gamma[2 * k] + tables.gamma[2 * k + 1]) * half
    amplitude[1] += growth
    amplitude[2] += growth
    return True


@compiled
def log_norm_of(weights, amplitude):
    return amplitude[1] + 0.5 * np.log(dot(weights, weights))


@compiled
def add_outputs(products, amplitude, outputs):
    """Add one neuron's share of the network's outputs [n]."""
    share = np.exp(2.0 * amplitude[1]) * amplitude[0]
    if share != 0.0:
        for i in range(outputs.size):
            outputs[i] += share * max(products[i], 0.0)


@compiled
def order_by_pattern(signs):
    """Neurons sorted so that equal patterns stand together."""
    keys = np.zeros(signs.shape[0], np.uint64)
    for j in range(signs.shape[0]):
        key = np.uint64(14695981039346656037)
        for i in range(signs.shape[1]):
            key = (key ^ np.uint64(signs[j, i] + 2)) * np.uint64(1099511628211)
        keys[j] = key
    return np.argsort(keys)


@compiled
def same_pattern(first, second):
    differing = 0
    for i in range(first.size):
        differing += first[i] != second[i]
    return differing == 0


class Method(NamedTuple):
    """The step's nodes [s + 1] in [0, 1], the map from node values to coefficients, tolerances,
    and whether the largest norm is wanted at the nodes."""

    nodes: Any
    fit: Any
    tolerance: float
    kink_tolerance: float
    norms: bool


class Step(NamedTuple):
    """What one step produces, and the memory to produce it."""

    outputs: Any  # [s + 1, n] network outputs at the nodes
    log_norms: Any  # [s + 1] largest log ||w_j||
    values: Any  # [s + 1, n] residuals at the nodes
    residuals: Any  # those of the last sweep
    next: Any  # those that its outputs and kinks make
    smooth: Any  # [s + 1, n] node values less the corners
    accepted: Any  # [s + 1, n] polynomials that hold from the end of the last accepted step on
    tables: Any
    scratch: Any


@compiled
def make_step(nodes, h, n, dimension):
    size, corners = nodes.size, min(h * n, MAX_CORNERS)
    return Step(
        np.zeros((size, n)), np.zeros(size), np.zeros((size, n)),
        make_residuals(size, n, corners), make_residuals(size, n, corners),
        np.zeros((size, n)), np.zeros((size, n)),
        make_tables(size - 1, n, dimension), make_scratch(n, dimension),
    )  # fmt: skip


@compiled
def sweep(problem, method, residuals, began, length, reach, state, new, work, events):
    """Carry every neuron through one step (the share ``reach`` of it) under given residuals.

    Fills the new state, the outputs and largest log norms at the nodes, and the corners.  Returns
    the largest ||G|| met, negative when there were more kinks than a resolved step can hold.
    """
    nodes, tables, scratch, corners = method.nodes * reach, work.tables, work.scratch, work.next
    corners.count[0] = 0
    for k in range(nodes.size - 1):
        work.log_norms[k + 1] = -np.inf
        scale(work.outputs[k + 1], 0.0)
        magnus_averages(residuals, nodes[k], nodes[k + 1],
                        tables.residuals[2 * k], tables.residuals[2 * k + 1])  # fmt: skip
    fastest, leader = 0.0, -1
    for j in order_by_pattern(state.signs):
        if leader < 0 or not same_pattern(state.signs[leader], state.signs[j]):
            leader = j
            speed = fill_tables(problem, residuals, nodes, state.signs[j], tables, scratch)
            fastest = max(fastest, speed)
        copy_neuron(new, state, j)
        weights, amplitude = new.weights[j], new.amplitude[j]
        products, signs = new.products[j], new.signs[j]
        together = True
        for k in range(nodes.size - 1):
            half = 0.5 * (nodes[k + 1] - nodes[k]) * length
            together = together and tables.slides_through[k]
            if together:
                together = substep_together(k, half, tables, weights, amplitude, products, scratch)
                events.count[1] += 2
            if not together and not advance_switching(
                problem, residuals, length, nodes[k], nodes[k + 1], j, products, weights,
                amplitude, signs, began, method.kink_tolerance, scratch, events, corners,
            ):  # fmt: skip
                return -1.0
            rescale(products, weights, amplitude)
            add_outputs(products, amplitude, work.outputs[k + 1])
            if method.norms:
                log_norm = log_norm_of(weights, amplitude)
                work.log_norms[k + 1] = max(work.log_norms[k + 1], log_norm)
    return fastest if corners.count[0] <= corners.when.size else -1.0


# --------------------------------------------------------------------------------- the integrator


class Stop(NamedTuple):
    """Kind and target of the stop, the samples that count, the limit on the steps tried."""

    kind: Any
    target: float
    mask: Any  # [n] samples that count
    max_steps: int


class Wave(NamedTuple):
    """The residual waveform: per accepted step its start, length, polynomials and corners."""

    began: Any  # [steps]
    length: Any  # [steps]
    coefficients: Any  # [steps, s + 1, n]
    first: Any  # [steps + 1] the corners of step k are first[k] ... first[k + 1] - 1
    when: Any  # [corners] in [0, 1]
    size: Any  # [corners, n]


@compiled
def start_state(problem, weights, output, log_scale):
    """The state at time zero and its pattern; a product that is zero up to rounding is zero."""
    h, n = output.size, problem.y.size
    state = empty_state(h, n, weights.shape[1])
    for j in range(h):
        copy_to(state.weights[j], weights[j])
        state.amplitude[j, 0] = output[j]
        state.amplitude[j, 1] = log_scale
        size = np.sqrt(dot(weights[j], weights[j]))
        for i in range(n):
            product = dot(weights[j], problem.x[i])
            if abs(product) <= 2.0 * EPSILON * size * problem.norms[i]:
                product = 0.0
            state.products[j, i] = product
            state.signs[j, i] = ACTIVE if product > 0.0 else INACTIVE
        rescale(state.products[j], state.weights[j], state.amplitude[j])
    return state


@compiled
def read_residuals(problem, outputs, values):
    for i in range(values.size):
        values[i] = residual(problem.kind, problem.weight, problem.y[i], outputs[i])


@compiled
def settle_start(problem, state, work):
    """Outputs and residuals at time zero; samples on a kink go where the field pushes them."""
    scratch, residuals = work.scratch, work.values[0]
    for j in range(state.signs.shape[0]):
        add_outputs(state.products[j], state.amplitude[j], work.outputs[0])
        log_norm = log_norm_of(state.weights[j], state.amplitude[j])
        work.log_norms[0] = log_norm if j == 0 else max(work.log_norms[0], log_norm)
    read_residuals(problem, work.outputs[0], residuals)
    for j in range(state.signs.shape[0]):
        direction = np.sign(state.amplitude[j, 0])
        for i in range(residuals.size):
            if state.products[j, i] != 0.0:
                continue
            if direction * residuals[i] < 0.0:
                settle(problem, residuals, direction, state.signs[j], i, scratch)
            else:
                sum_active(problem, residuals, state.signs[j], scratch.active, scratch.drive)
                if direction * dot(scratch.drive, problem.x[i]) > 0.0:
                    state.signs[j, i] = ACTIVE


@compiled
def log_output_bound(problem, state):
    """Log of a bound on every |f(x_i)|."""
    largest, longest = -np.inf, 0.0
    for j in range(state.amplitude.shape[0]):
        output = abs(state.amplitude[j, 0])
        if output > 0.0:
            size = np.log(output) + state.amplitude[j, 1]
            largest = max(largest, size + log_norm_of(state.weights[j], state.amplitude[j]))
    for i in range(problem.norms.size):
        longest = max(longest, problem.norms[i])
    return largest + np.log(state.amplitude.shape[0] * longest)


@compiled
def class_speed(problem, c, drives):
    """The larger norm of sum c_i x_i over either sign of c: how fast a sorted neuron grows."""
    for side in range(2):
        scale(drives[side], 0.0)
    for i in range(c.size):
        drive = drives[0] if c[i] > 0.0 else drives[1]
        for m in range(drive.size):
            drive[m] += c[i] * problem.x[i, m]
    return np.sqrt(max(dot(drives[0], drives[0]), dot(drives[1], drives[1])))


@compiled
def longest_step(problem, method, work, log_bound):
    """While the outputs are negligible the residuals are constant: stop before they are not."""
    if log_bound > -3.0:
        return np.inf
    speed = class_speed(problem, work.values[0], work.tables.drive)
    folds = np.log(0.003 * method.tolerance) - log_bound
    if speed == 0.0:
        return np.inf
    return 0.5 * max(folds, 1.0) / speed


@compiled
def predict(problem, method, work, previous, length):
    """Residuals at the nodes of a new step: the last step's polynomials, extrapolated."""
    now = work.values[0]
    for k in range(1, method.nodes.size):
        guess = work.values[k]
        if previous == 0.0:
            copy_to(guess, now)
            continue
        polynomials_at(work.accepted, 1.0 + method.nodes[k] * length / previous, guess)
        if problem.kind != SQUARE:
            for i in range(now.size):
                ratio = guess[i] / now[i] if now[i] != 0.0 else 1.0
                guess[i] = min(max(ratio, 0.1), 10.0) * now[i]


@compiled
def interpolate(method, work):
    """``work.next``: the polynomials through the node values, less its corners at the nodes."""
    values, following, smooth = work.values, work.next, work.smooth
    for k in range(values.shape[0]):
        copy_to(smooth[k], values[k])
        for corner in range(following.count[0]):
            after = method.nodes[k] - following.when[corner]
            if after > 0.0:
                for i in range(values.shape[1]):
                    smooth[k, i] -= following.size[corner, i] * after
    for power in range(values.shape[0]):
        for i in range(values.shape[1]):
            total = 0.0
            for k in range(values.shape[0]):
                total += method.fit[power, k] * smooth[k, i]
            following.coefficients[power, i] = total
    sort_corners(following)


@compiled
def mismatch(problem, nodes, work):
    """Largest sum over samples of ||x_i|| times the change of a residual average."""
    largest, scratch = 0.0, work.scratch
    for k in range(nodes.size - 1):
        magnus_averages(work.next, nodes[k], nodes[k + 1], scratch.early, scratch.late)
        for part in range(2):
            fresh = scratch.early if part == 0 else scratch.late
            total = 0.0
            for i in range(fresh.size):
                total += problem.norms[i] * abs(fresh[i] - work.tables.residuals[2 * k + part, i])
            largest = max(largest, total)
    return largest


@compiled
def copy_residuals(target, source):
    for power in range(source.coefficients.shape[0]):
        copy_to(target.coefficients[power], source.coefficients[power])
    target.count[0] = source.count[0]
    for corner in range(source.count[0]):
        target.when[corner] = source.when[corner]
        copy_to(target.size[corner], source.size[corner])


@compiled
def relax(problem, method, began, length, state, new, work, events):
    """Sweep until the residuals reproduce themselves, starting from ``work.values`` at the nodes.

    Returns the largest ||G|| met, or a negative number when the step is too long for that.
    """
    before, kinks = np.inf, events.count[0]
    work.next.count[0] = 0
    interpolate(method, work)
    for sweeps in range(MAX_SWEEPS):
        copy_residuals(work.residuals, work.next)
        sort_corners(work.residuals)
        events.count[0] = kinks
        fastest = sweep(problem, method, work.residuals, began, length, 1.0, state, new, work,
                        events)  # fmt: skip
        if fastest < 0.0:
            return fastest
        for k in range(1, method.nodes.size):
            read_residuals(problem, work.outputs[k], work.values[k])
        interpolate(method, work)
        change = length * mismatch(problem, method.nodes, work)
        rate = 1.0 if sweeps == 0 else min(change / before, 1.0)
        if change * rate <= 0.1 * method.tolerance:
            return fastest
        if not change < np.inf or (sweeps >= 1 and rate > 0.5 and change > method.tolerance):
            return -1.0
        before = change
    return -1.0


@compiled
def highest_mode(problem, coefficients):
    """Sum over samples of ||x_i|| times the highest Legendre coefficient of the residual."""
    degree = coefficients.shape[0] - 1
    leading = 1.0
    for k in range(degree):
        leading *= 2.0 * (2.0 * k + 1.0) / (k + 1.0)  # binomial(2 degree, degree)
    total = 0.0
    for i in range(problem.y.size):
        total += problem.norms[i] * abs(coefficients[degree, i])
    return total / leading


@compiled
def distance_to(stop, problem, outputs, log_norm, time):
    return stop_value(problem.kind, problem.weight, problem.y, outputs,
                      stop.kind, stop.target, stop.mask, log_norm, time)  # fmt: skip


@compiled
def node_past_stop(stop, problem, method, began, length, work):
    """The first node at or past the stop, or 0."""
    for k in range(1, method.nodes.size):
        time = began + method.nodes[k] * length
        if distance_to(stop, problem, work.outputs[k], work.log_norms[k], time) <= 0.0:
            return k
    return 0


@compiled
def distance_inside(stop, problem, method, began, length, work, tau):
    """The distance to the stop inside a step, from the polynomials through its nodes."""
    f = work.scratch.now
    scale(f, 0.0)
    log_norm = 0.0
    for k in range(method.nodes.size):
        weight = 0.0
        for power in range(method.nodes.size - 1, -1, -1):
            weight = weight * tau + method.fit[power, k]
        log_norm += weight * work.log_norms[k]
        for i in range(f.size):
            f[i] += weight * work.outputs[k, i]
    return distance_to(stop, problem, f, log_norm, began + tau * length)


@compiled
def land(stop, problem, method, node, began, length, state, new, work, events):
    """Repeat the step with its end at the stop, which lies before ``node``.

    Returns the length of the step, or a negative number when its end misses the stop: secants of
    one slope need not converge where the smallest margin or the largest norm bends.
    """
    low, high = method.nodes[node - 1], method.nodes[node]
    distance = distance_inside(stop, problem, method, began, length, work, low)
    slope = distance_inside(stop, problem, method, began, length, work, high) - distance
    slope /= (high - low) * length
    for _ in range(60):
        middle = 0.5 * (low + high)
        if distance_inside(stop, problem, method, began, length, work, middle) > 0.0:
            low = middle
        else:
            high = middle
    landing = high * length
    full = make_residuals(method.nodes.size, problem.y.size, work.next.when.size)
    copy_residuals(full, work.next)
    sort_corners(full)
    kinks = events.count[0]
    for trial in range(MAX_LANDINGS):
        if trial > 0:
            landing = min(max(landing - distance / slope, 1e-3 * landing), length)
        for k in range(1, method.nodes.size):
            residuals_at(full, method.nodes[k] * landing / length, work.values[k])
        events.count[0] = kinks
        if relax(problem, method, began, landing, state, new, work, events) < 0.0:
            return -1.0
        last, time = method.nodes.size - 1, began + landing
        distance = distance_to(stop, problem, work.outputs[last], work.log_norms[last], time)
        allowed = method.tolerance * time * abs(slope)
        if slope >= 0.0 or abs(distance) <= 1e-3 * allowed:
            break
    return landing if abs(distance) <= allowed + NOISE * (1.0 + time * abs(slope)) else -1.0


@compiled
def is_stalled(stop, problem, state, c, scratch):
    """Whether samples on which no neuron is active, and which none approaches, forbid the stop.

    Their outputs are zero: alone they hold more risk, or a smaller margin, than the target.
    """
    if stop.kind != STOP_RISK and not (stop.kind == STOP_MARGIN and stop.target > 0.0):
        return False
    held, uncovered = 0.0, 0
    covered = np.zeros(problem.y.size, np.bool_)
    for i in range(problem.y.size):
        for j in range(state.signs.shape[0]):
            covered[i] = covered[i] or state.signs[j, i] != INACTIVE
        if stop.mask[i] and not covered[i]:
            uncovered += 1
            held += problem.weight * sample_loss(problem.kind, problem.y[i], 0.0)
    if uncovered == 0 or (stop.kind == STOP_RISK and held <= stop.target):
        return False
    for j in range(state.signs.shape[0]):
        gamma = field(problem, c, state.signs[j], scratch.active, scratch.drive, scratch.slope,
                      scratch)  # fmt: skip
        for i in range(problem.y.size):
            approaches = gamma > 0.0 and state.amplitude[j, 0] * scratch.slope[i] > 0.0
            if approaches and not covered[i]:
                return False
    return True


@compiled
def make_wave(steps, corners, terms, n):
    return Wave(
        np.zeros(steps), np.zeros(steps), np.zeros((steps, terms, n)),
        np.zeros(steps + 1, np.int64), np.zeros(corners), np.zeros((corners, n)),
    )  # fmt: skip


@compiled
def put_step(wave, k, began, length, coefficients, count, when, size):
    """Write step k, which follows the last one written."""
    wave.began[k], wave.length[k] = began, length
    for power in range(coefficients.shape[0]):
        copy_to(wave.coefficients[k, power], coefficients[power])
    start = wave.first[k]
    wave.first[k + 1] = start + count
    for corner in range(count):
        wave.when[start + corner] = when[corner]
        copy_to(wave.size[start + corner], size[corner])


@compiled
def append(wave, steps, began, length, residuals):
    """Store one step; returns the wave, or a longer copy when it was full."""
    count = residuals.count[0]
    room, corners = wave.length.size, wave.when.size
    terms, n = residuals.coefficients.shape
    if steps == room or wave.first[steps] + count > corners:
        longer = make_wave(2 * room, 2 * corners + count, terms, n)
        for k in range(steps):
            start, end = wave.first[k], wave.first[k + 1]
            put_step(longer, k, wave.began[k], wave.length[k], wave.coefficients[k],
                     end - start, wave.when[start:end], wave.size[start:end])  # fmt: skip
        wave = longer
    put_step(wave, steps, began, length, residuals.coefficients, count, residuals.when,
             residuals.size)  # fmt: skip
    return wave


@compiled
def step_factor(method, error):
    """Factor on the step length from its error, which is of order (number of nodes)."""
    if error == 0.0:
        return 4.0
    factor = 0.9 * (method.tolerance / error) ** (1.0 / method.nodes.size)
    return min(max(factor, 0.2), 4.0)


@compiled
def is_dead(state):
    for j in range(state.signs.shape[0]):
        for i in range(state.signs.shape[1]):
            if state.signs[j, i] != INACTIVE:
                return False
    return True


@compiled
def is_stationary(stop, problem, method, state, time, fastest, c, distance):
    """Whether the field has vanished: to rounding, or to the tolerance with the risk at rest.

    To the tolerance means: every sum c_i x_i cancels, or is a millionth of what it is at zero
    outputs; nothing grows by a tenth in the time passed; and the target is a million times that
    time away at the speed of the risk, bounded by the sum over neurons of
    ||G||^2 (v^2 + ||w||^2).
    """
    if fastest == 0.0 or stop.kind != STOP_RISK:
        return fastest == 0.0
    size, whole, squares = 0.0, 0.0, 0.0
    for i in range(c.size):
        size += abs(c[i]) * problem.norms[i]
        whole += problem.weight * abs(problem.y[i]) * problem.norms[i]
    cancels = fastest <= min(1e3 * method.tolerance, 1e-6) * size
    if not (cancels or fastest <= 1e-6 * whole) or fastest * time > 0.1:
        return False
    for j in range(state.amplitude.shape[0]):
        square = state.amplitude[j, 0] ** 2 + dot(state.weights[j], state.weights[j])
        squares += np.exp(2.0 * state.amplitude[j, 1]) * square
    left = stop.target * np.expm1(distance)
    return left > 1e6 * time * fastest * fastest * squares


@compiled
def why_over(stop, problem, method, state, time, distance, fastest, work):
    """The reason to end before the stop: no neuron moves, or the risk left cannot fall."""
    c = work.values[0]
    if is_dead(state):
        return DEAD
    if is_stationary(stop, problem, method, state, time, fastest, c, distance):
        return STATIONARY
    if is_stalled(stop, problem, state, c, work.scratch):
        return STALLED
    return STEP_LIMIT


@compiled
def keep_accepted(work):
    """The polynomials that hold after the last corner of the step, for ``predict``."""
    residuals, accepted = work.next, work.accepted
    for power in range(accepted.shape[0]):
        copy_to(accepted[power], residuals.coefficients[power])
    for corner in range(residuals.count[0]):
        for i in range(accepted.shape[1]):
            accepted[0, i] -= residuals.size[corner, i] * residuals.when[corner]
            accepted[1, i] += residuals.size[corner, i]


@compiled
def start_next(work):
    """The end of the step becomes the start of the next one."""
    last = work.values.shape[0] - 1
    copy_to(work.outputs[0], work.outputs[last])
    copy_to(work.values[0], work.values[last])
    work.log_norms[0] = work.log_norms[last]


@entry_point
def integrate(problem, method, stop, weights, output, log_scale, control):
    """Integrate from time zero to the stop.

    Returns why it ended, the time, the state, the outputs, the waveform, the number of steps in it,
    and the counts of kinks and of frozen flows of single neurons.  ``control`` shows the progress
    (time, distance to the stop, steps tried) to another thread, which can set its last entry to end
    the integration.
    """
    work = make_step(method.nodes, output.size, problem.y.size, weights.shape[1])
    events = make_events(0)
    state = start_state(problem, weights, output, log_scale)
    settle_start(problem, state, work)
    new = copy_state(state)
    wave = make_wave(64, 64, method.nodes.size, problem.y.size)
    steps, tried, time, previous = 0, 0, 0.0, 0.0
    distance = distance_to(stop, problem, work.outputs[0], work.log_norms[0], time)
    why = AT_START if distance <= 0.0 else STEP_LIMIT
    longest = longest_step(problem, method, work, log_output_bound(problem, state))
    length = longest
    if not length < np.inf:
        length = 0.5 / max(class_speed(problem, work.values[0], work.tables.drive), 1e-300)
    while why == STEP_LIMIT and tried < stop.max_steps:
        tried += 1
        control[0], control[1], control[2] = time, distance, tried
        if control[3] != 0.0:
            break
        length = min(length, longest)
        if stop.kind == STOP_TIME:
            length = min(length, stop.target - time)
        if not time < time + length < np.inf:
            why = STEP_TOO_SMALL
            break
        predict(problem, method, work, previous, length)
        kinks = events.count[0]
        fastest = relax(problem, method, time, length, state, new, work, events)
        error = np.inf
        if fastest >= 0.0:
            error = length * highest_mode(problem, work.next.coefficients)
        if not error <= method.tolerance:
            events.count[0] = kinks
            length *= step_factor(method, error)
            continue
        node = 0
        if stop.kind != STOP_TIME:
            node = node_past_stop(stop, problem, method, time, length, work)
        if node > 0:
            events.count[0] = kinks
            landing = land(stop, problem, method, node, time, length, state, new, work, events)
            if landing < 0.0:
                events.count[0] = kinks
                length *= 0.5
                continue
            length = landing
        wave = append(wave, steps, time, length, work.residuals)
        keep_accepted(work)
        steps += 1
        time += length
        previous = length
        state, new = new, state
        start_next(work)
        if node > 0 or (stop.kind == STOP_TIME and time >= stop.target):
            why = TARGET
        else:
            distance = distance_to(stop, problem, work.outputs[0], work.log_norms[0], time)
            why = why_over(stop, problem, method, state, time, distance, fastest, work)
            length *= step_factor(method, error)
            longest = longest_step(problem, method, work, log_output_bound(problem, state))
    return why, time, state, work.outputs[0], wave, steps, events.count[0], events.count[1]


class Saved(NamedTuple):
    """States at requested times; the products of inactive samples are kept, with their sign."""

    weights: Any  # [t, h, d]
    amplitude: Any  # [t, h, 3]
    outputs: Any  # [t, n]


@compiled
def save(saved, position, state):
    for j in range(state.signs.shape[0]):
        copy_to(saved.weights[position, j], state.weights[j])
        copy_to(saved.amplitude[position, j], state.amplitude[j])
        add_outputs(state.products[j], state.amplitude[j], saved.outputs[position])


@entry_point
def replay(problem, method, weights, output, log_scale, wave, times, capacity):
    """Carry the neurons through a stored waveform.

    Given the residuals the neurons are independent, so nothing is iterated.  Returns the states at
    ``times`` (sorted), the pattern in which the neurons set out, the event log, and how often a
    part of a step met more kinks than it can hold.  Without capacity for events it ends with the
    last of the times.
    """
    h, n = output.size, problem.y.size
    work = make_step(method.nodes, h, n, weights.shape[1])
    events, unlogged = make_events(capacity), make_events(0)
    state = start_state(problem, weights, output, log_scale)
    settle_start(problem, state, work)
    pattern = state.signs.copy()
    new = copy_state(state)
    saved = Saved(
        np.zeros((times.size, h, weights.shape[1])), np.zeros((times.size, h, 3)),
        np.zeros((times.size, n)),
    )  # fmt: skip
    position, unresolved = 0, 0
    while position < times.size and times[position] <= 0.0:
        save(saved, position, state)
        position += 1
    residuals = work.residuals
    for k in range(wave.length.size):
        if capacity == 0 and position == times.size:
            break
        began, length = wave.began[k], wave.length[k]
        take_step(wave, k, residuals)
        final = k == wave.length.size - 1
        while position < times.size and (times[position] < began + length or final):
            reach = min((times[position] - began) / length, 1.0)
            if sweep(problem, method, residuals, began, length, reach, state, new, work,
                     unlogged) < 0.0:  # fmt: skip
                unresolved += 1
            save(saved, position, new)
            position += 1
        if sweep(problem, method, residuals, began, length, 1.0, state, new, work, events) < 0.0:
            unresolved += 1
        state, new = new, state
    return saved, pattern, events, unresolved


@compiled
def take_step(wave, k, residuals):
    """Read step k of the waveform."""
    start, end = wave.first[k], wave.first[k + 1]
    for power in range(residuals.coefficients.shape[0]):
        copy_to(residuals.coefficients[power], wave.coefficients[k, power])
    residuals.count[0] = end - start
    for corner in range(end - start):
        residuals.when[corner] = wave.when[start + corner]
        copy_to(residuals.size[corner], wave.size[start + corner])
    sort_corners(residuals)
