"""Small separable problems that several test files solve."""

import overalign as oa


def solved(log_alpha: float = -7.0, **options: object) -> oa.Trajectory:
    sample = oa.GaussianMixture(6, kappa=3.0, sigma=0.5).sample(8, seed=3)
    network = oa.Network.random(10, 6, seed=11)
    stop = options.pop("stop", oa.stop_at_risk(0.1))
    return oa.solve(sample, network, log_alpha, stop, **options)  # type: ignore[arg-type]


def separable(seed: int = 0) -> oa.Sample:
    return oa.GaussianMixture(20, kappa=1.5, sigma=1.0).sample(12, seed, separability=0.0)


def early(sample: oa.Sample, network: oa.Network, log_alpha: float = -9.0) -> oa.Trajectory:
    return oa.solve(sample, network, log_alpha, oa.stop_at_risk(0.05, over="positive"))
