"""What networks align with and how far they move, against closed forms and naive computations."""

import copy
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from overalign.deepnet import mechanism
from overalign.deepnet.images import ImageData, Images
from overalign.deepnet.mechanism import MECHANISM, Mechanism, kernel_alignment, tangent_kernel
from overalign.deepnet.models import build_model
from overalign.deepnet.scaling import Centered, Paired
from overalign.deepnet.seeds import initialised
from overalign.deepnet.settings import Architecture

CLASSES, FEATURES = 3, 5
MEANS = torch.tensor([[1.0, 0.0, 0.0, 0.5, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 0.7, 0, 0]])


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small matrices: threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def drawn(count: int, seed: int, means: Tensor = MEANS) -> Images:
    stream = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % len(means)
    return Images(means[y] + torch.randn(count, means.shape[1], generator=stream), y)


def data_of(
    train: Images, test: Images, population_means: Tensor | None = None, *, mean: float = 0.0
) -> ImageData:
    classes = int(train.y.max()) + 1
    return ImageData(
        name="test",
        train=train,
        validation=None,
        test=test,
        classes=classes,
        class_names=tuple(map(str, range(classes))),
        mean=torch.tensor([mean], dtype=torch.float64),
        std=torch.ones(1, dtype=torch.float64),
        population_means=population_means,
        record={},
    )


@pytest.fixture
def data() -> ImageData:
    """Sixty vectors to train on, ninety to test on."""
    return data_of(drawn(60, 1), drawn(90, 2))


def two_layers(seed: int = 0, classes: int = CLASSES) -> nn.Sequential:
    def make() -> nn.Sequential:
        return nn.Sequential(nn.Linear(FEATURES, 7), nn.Tanh(), nn.Linear(7, classes))

    return initialised(make, seed).double()


def shaken(model: nn.Module, size: float = 0.3) -> nn.Module:
    """A copy with other weights."""
    model, stream = copy.deepcopy(model), torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=stream, dtype=torch.float64)
            parameter.add_(size * noise.to(parameter.dtype))
    return model


def class_means(x: np.ndarray, y: Tensor, centred: bool = True) -> np.ndarray:
    means = np.array([x[y.numpy() == k].mean(axis=0) for k in range(int(y.max()) + 1)])
    return means - means.mean(axis=0) if centred else means


def mean_cosine(first: np.ndarray, second: np.ndarray) -> float:
    pairs = zip(first, second, strict=True)
    return float(np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]))


def three_cosines(
    vectors: np.ndarray, empirical: np.ndarray, population: np.ndarray
) -> list[float]:
    targets = (empirical, population, empirical - population)
    return [mean_cosine(vectors, target) for target in targets]


def named(found: dict[str, float], prefix: str) -> list[float]:
    return [found[f"{prefix}_{target}"] for target in ("empirical", "population", "difference")]


# -------------------------------------------------------------------------------- closed forms


def test_of_a_linear_network_everything_is_known(data: ImageData) -> None:
    initial = initialised(lambda: nn.Linear(FEATURES, CLASSES), 0).double()
    model = shaken(initial)
    found = Mechanism(initial, data, seed=0).measure(model)

    weights, start = model.weight.detach().numpy(), initial.weight.detach().numpy()
    centred, centred_start = weights - weights.mean(axis=0), start - start.mean(axis=0)
    empirical = class_means(data.train.x.numpy().astype(float), data.train.y)
    population = class_means(data.test.x.numpy().astype(float), data.test.y)
    expected = three_cosines(centred, empirical, population)
    assert named(found, "predictor_cosine") == pytest.approx(expected, abs=1e-6)
    assert named(found, "readout_cosine") == pytest.approx(expected, abs=1e-6)
    expected = three_cosines(centred - centred_start, empirical, population)
    assert named(found, "predictor_change_cosine") == pytest.approx(expected, abs=1e-6)
    assert found["feature_cosine"] == pytest.approx(mean_cosine(empirical, population), abs=1e-6)
    # both kernels are those of the inputs
    assert found["tangent_kernel_alignment"] == pytest.approx(1.0, abs=1e-12)
    assert found["conjugate_kernel_alignment"] == pytest.approx(1.0, abs=1e-12)
    ends = [
        torch.cat([p.detach().flatten() for p in m.parameters()]).numpy() for m in (initial, model)
    ]
    displacement = np.linalg.norm(ends[1] - ends[0]) / np.linalg.norm(ends[0])
    assert found["weight_displacement"] == pytest.approx(displacement, rel=1e-12)


def test_the_kernel_of_a_linear_network() -> None:
    x = drawn(8, 3).x.double()
    network = nn.Linear(FEATURES, CLASSES).double()
    torch.testing.assert_close(tangent_kernel(network, x), CLASSES * (x @ x.T + 1.0))


def test_the_predictor_of_a_two_layer_network_by_finite_differences(data: ImageData) -> None:
    initial = two_layers()
    model = shaken(initial)
    step = 1e-5

    def predictor(network: nn.Module) -> np.ndarray:
        def centred(x: Tensor) -> Tensor:
            outputs = network(x).detach()
            return outputs - outputs.mean(dim=1, keepdim=True)

        rows = []
        for k in range(CLASSES):
            x = data.train.x[data.train.y == k].double()
            shifts = step * torch.eye(FEATURES, dtype=torch.float64)
            rows.append(
                [float((centred(x + s) - centred(x - s))[:, k].mean()) / (2 * step) for s in shifts]
            )
        return np.array(rows)

    found = Mechanism(initial, data, seed=0).measure(model)
    empirical = class_means(data.train.x.numpy().astype(float), data.train.y)
    population = class_means(data.test.x.numpy().astype(float), data.test.y)
    end, start = predictor(model), predictor(initial)
    expected = three_cosines(end, empirical, population)
    assert named(found, "predictor_cosine") == pytest.approx(expected, abs=1e-6)
    expected = three_cosines(end - start, empirical, population)
    assert named(found, "predictor_change_cosine") == pytest.approx(expected, abs=1e-6)


def test_features_and_readout_of_a_two_layer_network(data: ImageData) -> None:
    initial = two_layers()
    model = shaken(initial)
    found = Mechanism(initial, data, seed=0).measure(model)

    def features(x: Tensor) -> np.ndarray:
        body: Tensor = model[:2](x.double())  # type: ignore[index]
        return body.detach().numpy()

    empirical = class_means(features(data.train.x), data.train.y)
    population = class_means(features(data.test.x), data.test.y)
    rows = model[2].weight.detach().numpy()  # type: ignore[index]
    expected = three_cosines(rows - rows.mean(axis=0), empirical, population)
    assert named(found, "readout_cosine") == pytest.approx(expected, abs=1e-6)
    assert found["feature_cosine"] == pytest.approx(mean_cosine(empirical, population), abs=1e-6)


def test_a_rotation_of_the_features_changes_nothing_but_the_weights(data: ImageData) -> None:
    def network() -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(FEATURES, 7), nn.Tanh(), nn.Linear(7, 6), nn.Linear(6, CLASSES)
        )

    initial = initialised(network, 0).double()
    model = shaken(initial)
    rotated = copy.deepcopy(model)
    stream = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=stream, dtype=torch.float64))[0]
    with torch.no_grad():
        rotated[2].weight.copy_(turn @ model[2].weight)  # type: ignore[index]
        rotated[2].bias.copy_(turn @ model[2].bias)  # type: ignore[index]
        rotated[3].weight.copy_(model[3].weight @ turn.T)  # type: ignore[index]
    measuring = Mechanism(initial, data, seed=0)
    one, two = measuring.measure(model), measuring.measure(rotated)
    assert one.pop("weight_displacement") != pytest.approx(two.pop("weight_displacement"))
    assert one == pytest.approx(two, abs=1e-10)


# ------------------------------------------------------------------------------------- kernels


def naive_kernel(model: nn.Module, x: Tensor, directions: Tensor) -> Tensor:
    """One gradient for each input and direction."""
    trained = [p for p in model.parameters() if p.requires_grad]
    rows = []
    for image in x:
        outputs = directions @ model(image[None])[0]
        gradients = [
            torch.autograd.grad(each, trained, retain_graph=True, materialize_grads=True)
            for each in outputs
        ]
        rows.append(torch.cat([g.flatten() for gradient in gradients for g in gradient]))
    jacobian = torch.stack(rows)
    return jacobian @ jacobian.T


@pytest.mark.parametrize("model", ["cnn5", "resnet18"])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_tangent_kernel_against_one_gradient_at_a_time(model: str, batch_norm: bool) -> None:
    architecture = Architecture(model=model, width=2, batch_norm=batch_norm)  # type: ignore[arg-type]
    network = initialised(lambda: build_model(architecture, (1, 8, 8), 3), 0).double()
    x = torch.randn(5, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    kernel = tangent_kernel(network, x)
    naive = naive_kernel(network.eval(), x, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(kernel, naive)


def test_the_tangent_kernel_of_networks_that_start_at_zero() -> None:
    x = drawn(6, 3).x.double()
    kernel = tangent_kernel(two_layers(), x)
    torch.testing.assert_close(tangent_kernel(Centered(two_layers()), x), kernel)
    torch.testing.assert_close(tangent_kernel(Paired(two_layers()), x), kernel)


def test_parameters_that_are_not_trained_do_not_count(data: ImageData) -> None:
    network = two_layers()
    network[0].requires_grad_(False)
    x = drawn(6, 3).x.double()
    features = network[:2](x)
    torch.testing.assert_close(tangent_kernel(network, x), 3.0 * (features @ features.T + 1.0))
    model = copy.deepcopy(network)
    with torch.no_grad():
        model[0].weight.add_(1.0)
    assert Mechanism(network, data, seed=0).measure(model)["weight_displacement"] == 0.0


@pytest.mark.parametrize(
    "size", [1, 2 * 66, 7 * 66, 10**6]
)  # one, two, all seven inputs at a time; exact
def test_random_directions_where_the_jacobian_is_large(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, x = two_layers(), drawn(7, 3).x.double()
    exact = tangent_kernel(network, x)
    asked: list[Tensor] = []
    draw = torch.randint

    def randint(*arguments: object, **options: object) -> Tensor:
        asked.append(draw(*arguments, **options))  # type: ignore[call-overload]
        return asked[-1]

    monkeypatch.setattr(mechanism, "JACOBIAN_SIZE", size)
    monkeypatch.setattr(torch, "randint", randint)
    kernel = tangent_kernel(network, x, seed=4)
    if size == 10**6:
        assert not asked
        torch.testing.assert_close(kernel, exact)
        return
    signs = 2.0 * asked[0].double() - 1.0
    assert signs.shape == (8, 1, CLASSES)
    assert set(signs.flatten().tolist()) == {-1.0, 1.0}
    expected = torch.stack([naive_kernel(network, x, each) for each in signs]).mean(dim=0)
    torch.testing.assert_close(kernel, expected)
    assert torch.equal(tangent_kernel(network, x, seed=4), kernel)
    assert not torch.equal(tangent_kernel(network, x, seed=5), kernel)


def test_random_directions_are_right_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = two_layers(), drawn(7, 3).x.double()
    exact = tangent_kernel(network, x)
    monkeypatch.setattr(mechanism, "JACOBIAN_SIZE", 7 * 66)
    found = torch.stack([tangent_kernel(network, x, seed=seed) for seed in range(60)])
    error = found.std(dim=0) / math.sqrt(60.0)
    assert float(error.max() / exact.abs().max()) < 0.05
    assert float(((found.mean(dim=0) - exact).abs() / error).max()) < 4.5


def test_kernel_alignment_is_that_of_the_literature() -> None:
    """Kornblith et al. (2019): ||Y'X||^2 / (||X'X|| ||Y'Y||) for centred features X, Y."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(20, 4)), random.normal(size=(20, 6))
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    expected = np.linalg.norm(b.T @ a) ** 2 / np.linalg.norm(a.T @ a) / np.linalg.norm(b.T @ b)
    first, second = (torch.from_numpy(each @ each.T) for each in (x, y))
    assert kernel_alignment(first, second) == pytest.approx(expected, rel=1e-12)
    assert 0.0 < expected < 1.0


def test_what_kernel_alignment_does_not_see() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(20, 4))
    turn = np.linalg.qr(random.normal(size=(4, 4)))[0]
    y = 3.0 * x @ turn + random.normal(size=4)
    first, second = (torch.from_numpy(each @ each.T) for each in (x, y))
    assert kernel_alignment(first, second) == pytest.approx(1.0, abs=1e-12)
    assert math.isnan(kernel_alignment(first, torch.ones(20, 20)))


# ------------------------------------------------------------------------------- over-alignment


def trained_linear(data: ImageData, rate: float, steps: int) -> nn.Linear:
    """Softmax regression from zero."""
    model = nn.Linear(data.shape[0], data.classes).double()
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimiser = torch.optim.SGD(model.parameters(), lr=rate)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(data.train.x.double()), data.train.y).backward()
        optimiser.step()
    return model


def noisy(n: int) -> ImageData:
    """Classes in 40 dimensions, whose means are known: n images show them with noise."""
    means = 0.3 * torch.randn(CLASSES, 40, generator=torch.Generator().manual_seed(7))
    return data_of(drawn(n, 8, means), drawn(600, 9, means), means.double())


def test_a_network_fitted_to_few_images_aligns_with_their_means() -> None:
    data = noisy(30)
    model = trained_linear(data, rate=0.01, steps=20)  # the first phase: along the class means
    found = Mechanism(shaken(model), data, seed=0).measure(model)
    assert found["predictor_cosine_empirical"] > 0.99
    assert found["predictor_cosine_population"] < 0.8
    assert found["predictor_cosine_difference"] > 0.6
    assert named(found, "readout_cosine")[0] > 0.99


def test_noise_in_the_class_means_is_learned_less_with_more_images() -> None:
    differences = []
    for n in (30, 300, 3000):
        data = noisy(n)
        model = trained_linear(data, rate=0.01, steps=20)
        found = Mechanism(shaken(model), data, seed=0).measure(model)
        differences.append(found["predictor_cosine_difference"])
    assert differences[0] > differences[1] + 0.1 > differences[2] + 0.2


def test_the_predictor_that_is_the_population_mean_is_not_over_aligned() -> None:
    data = noisy(300)
    model = nn.Linear(40, CLASSES).double()
    with torch.no_grad():
        assert data.population_means is not None
        model.weight.copy_(data.population_means)
    found = Mechanism(shaken(model), data, seed=0).measure(model)
    assert found["predictor_cosine_population"] == pytest.approx(1.0, abs=1e-6)
    assert abs(found["predictor_cosine_difference"]) < 0.25
    assert found["predictor_cosine_empirical"] < 0.98


def test_means_of_the_law_go_before_those_of_the_test_images() -> None:
    data = noisy(30)
    assert data.population_means is not None
    model = nn.Linear(40, CLASSES).double()
    exact = Mechanism(shaken(model), data, seed=0).measure(model)
    estimated = data_of(data.train, data.test)
    found = Mechanism(shaken(model), estimated, seed=0).measure(model)
    same = {"predictor_cosine_population", "predictor_cosine_difference"}
    same |= {name.replace("cosine", "change_cosine") for name in same}
    for name in MECHANISM:
        assert (found[name] == exact[name]) == (name not in same)
        assert found[name] == pytest.approx(exact[name], abs=0.3)


# ------------------------------------------------------------------------------- how it is used


def test_every_name_is_measured(data: ImageData) -> None:
    found = Mechanism(two_layers(), data, seed=0).measure(shaken(two_layers()))
    assert tuple(found) == MECHANISM
    assert all(math.isfinite(value) for value in found.values())


def test_at_initialisation_nothing_has_moved(data: ImageData) -> None:
    network = two_layers()
    found = Mechanism(network, data, seed=0).measure(network)
    assert found["weight_displacement"] == 0.0
    assert found["tangent_kernel_alignment"] == pytest.approx(1.0, abs=1e-12)
    assert found["conjugate_kernel_alignment"] == pytest.approx(1.0, abs=1e-12)
    assert all(math.isnan(value) for value in named(found, "predictor_change_cosine"))


def test_a_network_is_left_as_it_is(data: ImageData) -> None:
    architecture = Architecture(model="resnet18", width=2)
    images = Images(torch.randint(256, (20, 1, 8, 8), dtype=torch.uint8), torch.arange(20) % 3)
    pictures = data_of(images, images)
    network = initialised(lambda: build_model(architecture, (1, 8, 8), 3), 0)
    network[1].eval()  # type: ignore[index]
    modes = [part.training for part in network.modules()]
    before = copy.deepcopy(network.state_dict())
    Mechanism(network, pictures, seed=0).measure(network)
    assert [part.training for part in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in network.parameters())


def test_the_initial_network_is_looked_at_with_the_statistics_of_the_data() -> None:
    architecture = Architecture(width=6, batch_norm=True)
    network = initialised(lambda: build_model(architecture, (FEATURES,), CLASSES), 0).double()
    images = drawn(60, 1)
    data = data_of(Images(3.0 * images.x + 5.0, images.y), drawn(30, 2))
    measuring = Mechanism(network, data, seed=0)
    model = copy.deepcopy(network)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.momentum = None
    model(data.train.x.double())  # in training mode: the running statistics are those of the data
    found = measuring.measure(model)
    assert found["tangent_kernel_alignment"] == pytest.approx(1.0, abs=1e-10)
    assert measuring.measure(network)["tangent_kernel_alignment"] < 0.999


def test_a_network_without_a_readout_has_no_features(data: ImageData) -> None:
    network = nn.Sequential(two_layers(), nn.Tanh())
    found = Mechanism(network, data, seed=0).measure(shaken(network))
    missing = {name for name, value in found.items() if math.isnan(value)}
    expected = {name for name in MECHANISM if name.startswith(("readout", "feature", "conjugate"))}
    assert missing == expected


def test_a_class_that_is_not_tested_has_no_population_mean(data: ImageData) -> None:
    few = data_of(data.train, data.test.subset(data.test.y < 2))
    found = Mechanism(two_layers(), few, seed=0).measure(shaken(two_layers()))
    assert math.isnan(found["predictor_cosine_population"])
    assert math.isfinite(found["predictor_cosine_empirical"])


def test_images_are_normalised_and_taken_in_parts(
    data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = two_layers()
    expected = Mechanism(network, data, seed=0).measure(shaken(network))
    shifted = data_of(
        Images(data.train.x + 4.0, data.train.y), Images(data.test.x + 4.0, data.test.y), mean=4.0
    )
    monkeypatch.setattr(mechanism, "CHUNK", 7)
    found = Mechanism(network, shifted, seed=0).measure(shaken(network))
    assert found == pytest.approx(expected, abs=1e-5)


def test_single_precision_is_enough(data: ImageData) -> None:
    network = two_layers()
    expected = Mechanism(network, data, seed=0).measure(shaken(network))
    found = Mechanism(two_layers().float(), data, seed=0).measure(shaken(network).float())
    assert found == pytest.approx(expected, abs=1e-4)


def test_the_seed_draws_the_probes(data: ImageData) -> None:
    many = data_of(drawn(200, 1), data.test)
    network, model = two_layers(), shaken(two_layers(), 1.0)
    one, same, other = (Mechanism(network, many, seed=seed).measure(model) for seed in (0, 0, 1))
    assert one == same
    assert one["tangent_kernel_alignment"] != other["tangent_kernel_alignment"]
    assert one["predictor_cosine_empirical"] == other["predictor_cosine_empirical"]
