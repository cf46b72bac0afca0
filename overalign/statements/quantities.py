"""The quantities that statements are about, each once."""

from __future__ import annotations

import math

from .parts import Quantity

__all__ = ["QUANTITIES", "chosen"]

_ALL = (
    # data
    Quantity("n", "n", "number of samples", (2, 1000), low=1, integer=True),
    Quantity("class_size", "n_+", "number of samples of the class", (1, 500), low=1, integer=True),
    Quantity("dimension", "d", "dimension of the inputs", (2, 1000), low=1, integer=True),
    Quantity("x_max", r"x_{\max}", "largest norm of an input", (1, 100), low=0, open_low=True),
    Quantity("x_min", r"x_{\min}", "smallest norm of an input", (0.1, 10), low=0, open_low=True),
    Quantity(
        "class_norm",
        "X",
        "norm of the sum of the inputs of the class",
        (0.5, 10000.0),
        low=0,
        open_low=True,
    ),
    Quantity(
        "largest_class_norm",
        "G",
        "larger of the two class norms",
        (0.5, 10000.0),
        low=0,
        open_low=True,
    ),
    Quantity(
        "separability", r"\lambda", "smallest cosine of pairs y_i x_i", (0, 0.99), low=-1, high=1
    ),
    Quantity("kappa", r"\kappa", "distance of the class centres from zero", (0, 30), low=0),
    Quantity(
        "sigma", r"\sigma", "standard deviation of the noise", (0.05, 20), low=0, open_low=True
    ),
    # network and training
    Quantity("width", "h", "number of neurons", (1, 4096), low=1, integer=True),
    Quantity(
        "W_max", r"W_{\max}", "largest norm of an initial row", (0.1, 30), low=0, open_low=True
    ),
    Quantity(
        "log_alpha",
        r"\log\alpha",
        "natural logarithm of the scale of the initialisation",
        (-5000, 2),
    ),
    Quantity(
        "beta",
        r"\beta",
        "time of the theory over time of the loss",
        (0.0001, 10),
        low=0,
        open_low=True,
    ),
    Quantity(
        "eta", r"\eta", "risk at the stop, in the theory's loss", (1e-06, 50), low=0, open_low=True
    ),
    Quantity("time", "t", "time, of the loss", (0, 100), low=0),
    Quantity("t_1", "t_1", "time at which every live neuron is sorted, of the loss", (0, 5), low=0),
    Quantity(
        "t_a", "t_a", "a time from which margins are not negative, of the loss", (0, 50), low=0
    ),
    Quantity(
        "active", "m_+", "active samples of its class at the start", (1, 100), low=1, integer=True
    ),
    Quantity(
        "mu",
        r"\mu",
        "smallest cosine of a neuron or sample to a sample",
        (0.01, 0.99),
        low=-1,
        high=1,
    ),
    Quantity(
        "log_size",
        r"\log S",
        "log of the sum of ||w_j||^2 over the class's live neurons, at t_1 (t_a)",
        (-10000, 5),
    ),
    Quantity(
        "psi_min",
        r"\min_j\psi_j",
        "smallest cosine of a live neuron to the class mean",
        (0, 1),
        low=-1,
        high=1,
    ),
    Quantity(
        "psi_sample",
        r"\min_i\cos(\bar x_+, x_i)",
        "smallest cosine of a sample to the mean",
        (0, 1),
        low=-1,
        high=1,
    ),
    Quantity(
        "theta_max",
        r"\max_j\theta_j(t_1)",
        "largest angle of a live neuron to the mean (rad)",
        (0, 1.6),
        low=0,
        high=math.pi,
    ),
    Quantity(
        "rho",
        r"\sup\rho",
        "largest relative spread of the residuals since t_1",
        (0, 1),
        low=0,
        high=1,
    ),
    Quantity(
        "imbalance",
        r"\delta_j(0)",
        "(v_j^2 - ||w_j||^2) / (v_j^2 + ||w_j||^2) at the start",
        (-1, 1),
        low=-1,
        high=1,
    ),
    Quantity(
        "log_growth",
        r"\log r",
        "log of how much a squared size, or product of sizes, has grown",
        (-2, 500),
    ),
    Quantity("gap", "g(t_1)", "1 - cos of the angle of two neurons", (0, 2), low=0, high=2),
    Quantity(
        "Psi_limit",
        r"\Psi_0(\eta)",
        "alignment of the limit flow at the stop",
        (0, 1),
        low=-1,
        high=1,
    ),
    # angles
    Quantity(
        "phi",
        r"\varphi",
        "angle of the class mean to the signal (rad)",
        (0, math.pi),
        low=0,
        high=math.pi,
    ),
    Quantity(
        "theta_c", r"\theta_c", "half angle of the cone (rad)", (0, math.pi), low=0, high=math.pi
    ),
    Quantity("Psi", r"\Psi", "cosine of the half angle of the cone", (0, 1), low=-1, high=1),
    Quantity("theta", r"\theta", "an angle (rad)", (0, math.pi), low=0, high=math.pi),
    # statistics
    Quantity("lipschitz", "L", "Lipschitz constant of the loss", (0.1, 4), low=0, open_low=True),
    Quantity(
        "delta",
        r"\delta",
        "probability of failure",
        (1e-06, 0.5),
        low=0,
        high=1,
        open_low=True,
        open_high=True,
    ),
    Quantity("margin", r"\gamma", "margin", (0.01, 10), low=0, open_low=True),
    Quantity("slope", "a", "slope of the OF bound in sin(theta)", (1e-9, 0.1), low=0),
    Quantity("n_ratio", "n'/n", "factor on the number of samples", (0.1, 10), low=0, open_low=True),
    Quantity(
        "width_ratio", "h'/h", "factor on the number of neurons", (0.1, 10), low=0, open_low=True
    ),
    Quantity("width_power", "p", "power of h in the initial function", (0.5, 1), low=0.5, high=1),
    Quantity("q", "q", "theta* / phi", (0.01, 1), low=0, high=1, open_low=True),
    Quantity("degree", "L", "degree of homogeneity", (1, 8), low=1, integer=True),
)

QUANTITIES = {quantity.name: quantity for quantity in _ALL}


def chosen(*names: str) -> tuple[Quantity, ...]:
    """Quantities by name, in this order."""
    return tuple(QUANTITIES[name] for name in names)
