"""What a deep-net sweep is asked for: task, architecture, training, grid; and the unit of work."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self, TypeAlias

import msgspec
from msgspec.structs import replace

from ..errors import ProblemError
from ..records import Config, checked

__all__ = ["CONFIG", "Architecture", "Cell", "Group", "Model", "Sweep", "Task", "Training"]

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
Natural: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
_MOST_EPOCHS = 10**5  # where nothing but the budget ends training
NO_VALIDATION = (
    "patience is counted on the validation risk, and there are no validation images; set "
    "validation = 500, or leave the patience out"
)
CONFIG = "config.toml"  # in the folder of a sweep
_LAYERS = {"cnn5": 5, "vgg11": 9, "vgg19": 17}  # of weights, one after the other
Model: TypeAlias = Literal["mlp", "cnn5", "vgg11", "vgg19", "resnet18", "resnet34", "resnet50"]


class Task(Config, frozen=True):
    """Images and labels: what is trained on, and what is held out.

    Parameters
    ----------
    data : str
        "synthetic[:key=value,...]", "digits", "images:FOLDER", "npz:FILE", "cifar10" or "cifar100";
        see `overalign.deepnet.read_images`.
    data_root : str, optional
        Folder that holds ``cifar-10-batches-py`` or ``cifar-100-python``.
    n : int, optional
        Training images, the same number of each class up to one; all there are unless given.
    classes : int, optional
        Use so many classes, drawn by the seed; all unless given.
    held_out : int, optional
        Test images; all there are unless given (4,000 of ``synthetic``).
    validation : int
        Images for validation-risk stopping, taken from what is neither trained nor tested on.
    labels : {"given", "linear_teacher"}
        Labels of the data, or of a random linear map of the same images: a control task, for which
        no features need to be learned.
    """

    data: str = "synthetic"
    data_root: str | None = None
    n: Count | None = 1000
    classes: Annotated[int, msgspec.Meta(ge=2)] | None = None
    held_out: Count | None = None
    validation: Natural = 0
    labels: Literal["given", "linear_teacher"] = "given"

    def known_by(self, data_sha256: str | None) -> Self:
        """The task without the place of its files, if a digest says which they are.

        Parameters
        ----------
        data_sha256 : str or None
            As `overalign.deepnet.images.data_digest` gives it.

        Returns
        -------
        Task

        Examples
        --------
        >>> task = Task(data="npz:old/faces.npz")
        >>> task.known_by("5ae1...").data, task.known_by(None).data
        ('npz', 'npz:old/faces.npz')
        """
        if data_sha256 is None:
            return self
        kind = self.data.partition(":")[0]
        data = kind if kind in ("images", "npz") else self.data
        return replace(self, data=data, data_root=None)


class Architecture(Config, frozen=True):
    """A network.

    Parameters
    ----------
    model : {"mlp", "cnn5", "vgg11", "vgg19", "resnet18", "resnet34", "resnet50"}
        Fully connected; five convolutions; VGG and ResNet with stems for 32 x 32 images.
    width : int
        Hidden units of "mlp"; channels of the first block of the others (64 is the published size
        of VGG and ResNet).
    depth : int
        Layers of weights of "mlp"; the others have their own.
    batch_norm : bool, optional
        Batch normalisation; as published unless given (ResNet with, the others without).
    bias : bool
        Without biases and normalisation the network is homogeneous in its weights.
    centered : bool
        f - f_0: what the network says at initialisation is subtracted.
    paired : bool
        Two copies with opposite outputs, so that f_0 = 0: f = (f_1 - f_2) / sqrt(2).
    """

    model: Model = "mlp"
    width: Count = 64
    depth: Annotated[int, msgspec.Meta(ge=2)] = 3
    batch_norm: bool | None = None
    bias: bool = True
    centered: bool = False
    paired: bool = False

    def check(self) -> Self:
        """The settings as they are used; raise if they mean nothing.

        Returns
        -------
        Architecture
            As `overalign.records.checked` gives it.

        Raises
        ------
        ConfigError
            A field has the wrong type or is outside its range.
        ProblemError
            The network is to be centered and paired at once.
        """
        checked_settings = checked(self)
        if self.centered and self.paired:
            raise ProblemError("a paired network is zero at first already; leave out centered")
        return checked_settings

    def homogeneous_degree(self) -> int | None:
        """The L of f(t theta) = t^L f(theta), for t > 0; None if there is none.

        The number of layers of weights of a chain without biases and normalisation. Where batches
        are normalised, without biases, it is 2, in training and but for the eps of the
        normalisation: behind the last one the network feels the scales of its gain and of the last
        layer alone, and so it is with the skip connections of "resnet".
        Of a centered network it is that of the network before its start is subtracted.

        Returns
        -------
        int or None

        Examples
        --------
        >>> Architecture(depth=4, bias=False).homogeneous_degree()
        4
        >>> Architecture(model="resnet18", bias=False).homogeneous_degree()
        2
        >>> Architecture(depth=4).homogeneous_degree() is None
        True
        """
        if self.bias:
            return None
        if uses_batch_norm(self):
            return 2
        return self.depth if self.model == "mlp" else _LAYERS.get(self.model)


class Training(Config, frozen=True):
    """How a network is trained: by default the protocol of arXiv 2602.00827.

    Parameters
    ----------
    loss : {"cross_entropy", "squared"}
        Of c f; squared is 1/2 ||c f - onehot||^2, the mean over a batch in both cases.
    optimiser : {"sgd", "adam"}
        With g the gradient of the loss of c f: theta <- theta - r v, v <- momentum v + g, with
        r = lr/c; or Adam's step with r = lr for all c, for it does not feel the scale of g as long
        as g is well above 1e-8.
    momentum : float
        Of "sgd".
    weight_decay : float
        A step takes lr weight_decay theta off theta, whatever c. With "sgd" weight_decay (lr/r)
        theta is added to g, and so to v; with "adam" to its direction after the averages (AdamW).
    augmentation : bool
        Random crops after a padding of one eighth of the side, and mirror images.
    batch_size : int, optional
        The whole training set unless given as a number.
    homogeneous_degree : float, optional
        Step size r = lr c^(-2/L) of "sgd" for this L: c f is then trained exactly as an
        L-homogeneous f from c^(1/L) theta_0 with steps of lr. The paper's lr/c unless given. A
        sweep takes `Architecture.homogeneous_degree` only.
    epochs : int
        Budget: training ends here at the latest.
    stop_accuracy : float, optional
        Training ends when the accuracy on the whole training set is at least this.
    stop_risk : float, optional
        Training ends when the risk on the whole training set is at most this.
    patience : int, optional
        Training ends when the risk on the validation set has not been lower than before for so many
        epochs; the task then needs ``validation`` images. Longer than any plateau at the start: a
        network on one ends too. Not so unless given.
    evaluate_every : int
        Epochs from one look at the training, validation and test sets to the next.
    precision : {"float32", "float64"}
    device : str
        "cpu", "cuda" or "cuda:N".
    mechanism : bool
        Measure alignment and strength of every network at its end (`Mechanism`), which takes long
        for very large networks on a processor.
    """

    loss: Literal["cross_entropy", "squared"] = "cross_entropy"
    optimiser: Literal["sgd", "adam"] = "sgd"
    momentum: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.0
    weight_decay: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0
    augmentation: bool = False
    batch_size: Count | None = 32
    homogeneous_degree: Annotated[float, msgspec.Meta(gt=0.0)] | None = None
    epochs: Count = 200
    stop_accuracy: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] | None = 0.99
    stop_risk: Annotated[float, msgspec.Meta(gt=0.0)] | None = None
    patience: Count | None = None
    evaluate_every: Count = 1
    precision: Literal["float32", "float64"] = "float32"
    device: str = "cpu"
    mechanism: bool = True

    def check(self) -> Self:
        """The settings as they are used; raise if they mean nothing.

        Returns
        -------
        Training
            As `overalign.records.checked` gives it.

        Raises
        ------
        ConfigError
            A field has the wrong type or is outside its range.
        ProblemError
            A combination that means nothing; says which and what to change.
        """
        checked_settings = checked(self)
        stops = (self.stop_accuracy, self.stop_risk, self.patience)
        if stops == (None, None, None) and self.epochs > _MOST_EPOCHS:
            raise ProblemError(
                f"without a stop every run takes all {self.epochs:,} epochs; give a stop, or at "
                f"most {_MOST_EPOCHS:,} epochs"
            )
        if self.momentum and self.optimiser != "sgd":
            raise ProblemError("momentum belongs to optimiser 'sgd'; 'adam' has its own")
        if self.homogeneous_degree is not None and self.optimiser == "adam":
            raise ProblemError(
                "homogeneous_degree scales the steps of 'sgd'; those of 'adam' do not feel the "
                "scale of the gradient and are the same for all c; leave the degree out"
            )
        return checked_settings

    def step_rule(self) -> tuple[float, str]:
        """How the step size goes with c.

        Returns
        -------
        power : float
            The step size is lr / c^power.
        words : str
            That, as it is written.

        Examples
        --------
        >>> Training().step_rule()
        (1.0, 'lr / c')
        >>> Training(homogeneous_degree=4).step_rule()
        (0.5, 'lr c^(-2/4)')
        >>> Training(optimiser="adam").step_rule()
        (0.0, 'lr')
        """
        if self.optimiser == "adam":  # a step has the same size whatever multiplies the gradient
            return 0.0, "lr"
        if self.homogeneous_degree is None:
            return 1.0, "lr / c"
        return 2.0 / self.homogeneous_degree, f"lr c^(-2/{self.homogeneous_degree:g})"


class Cell(Config, frozen=True):
    """A point of the grid.

    Parameters
    ----------
    log2_output_multiplier : float
        Binary logarithm of c.
    learning_rate : float
        Before it is scaled with c (`Training.step_rule`): the steps of "adam" take it as it is.
    """

    log2_output_multiplier: float
    learning_rate: Annotated[float, msgspec.Meta(gt=0.0)]

    @property
    def output_multiplier(self) -> float:
        """The output multiplier c."""
        return float(2.0**self.log2_output_multiplier)


class Group(Config, frozen=True):
    """Networks that start alike and are trained together: the unit that is kept on disk.

    Parameters
    ----------
    task, architecture, training : Task, Architecture, Training
    seed : int
        Decides data, initial weights and batches, the same for all cells.
    cells : tuple of Cell
    data_sha256 : str, optional
        Of the data files: other content is another run, another place is not.
    """

    task: Task
    architecture: Architecture
    training: Training
    seed: Natural
    cells: tuple[Cell, ...]
    data_sha256: str | None = None

    def identity(self) -> Self:
        """The group, its data known by their digest, if they have one, and not by their place.

        Returns
        -------
        Group
        """
        return replace(self, task=self.task.known_by(self.data_sha256))


class Sweep(Config, frozen=True):
    """Networks over a grid of output multipliers and learning rates, on several seeds.

    Parameters
    ----------
    task, architecture, training : Task, Architecture, Training
    log2_output_multipliers : tuple of float
        Binary logarithms of c, increasing.
    learning_rates : tuple of float
        Before they are scaled with c (`Training.step_rule`), increasing.
    seeds : int
        Number of seeds; each draws its own data and initial weights.
    seed : int
        The first of them.
    control : bool
        Sweep the same images with the labels of a linear teacher as well.

    Examples
    --------
    >>> settings = Sweep(seeds=4)
    >>> len(settings.cells), len(settings.tasks)
    (9, 2)
    """

    task: Task = Task()
    architecture: Architecture = Architecture()
    training: Training = Training()
    log2_output_multipliers: tuple[float, ...] = (
        -12.0,
        -10.0,
        -8.0,
        -6.0,
        -4.0,
        -2.0,
        0.0,
        2.0,
        4.0,
    )
    learning_rates: tuple[Annotated[float, msgspec.Meta(gt=0.0)], ...] = (0.01,)
    seeds: Count = 16
    seed: Natural = 0
    control: bool = True

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The grid, output multipliers first to last for each learning rate."""
        return tuple(
            Cell(log2_output_multiplier=log2_c, learning_rate=rate)
            for rate in self.learning_rates
            for log2_c in self.log2_output_multipliers
        )

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The task, and its control if asked for."""
        control = replace(self.task, labels="linear_teacher")
        return (self.task, control) if self.control else (self.task,)

    def check(self) -> Self:
        """The settings as they are used; raise if they mean nothing.

        Returns
        -------
        Sweep
            As `overalign.records.checked` gives it.

        Raises
        ------
        ConfigError
            A field has the wrong type or is outside its range.
        ProblemError
            A combination that means nothing; says which and what to change.
        """
        settings = checked(self)
        architecture, training = settings.architecture.check(), settings.training.check()
        for name in ("log2_output_multipliers", "learning_rates"):
            values = getattr(settings, name)
            if not values or any(b <= a for a, b in pairwise(values)):
                raise ProblemError(f"{name} is {values}; give at least one value, increasing")
        if max(abs(value) for value in settings.log2_output_multipliers) > 60.0:
            raise ProblemError(
                "log2_output_multipliers reach beyond 2^60 or 2^-60, where float32 gradients are "
                "lost; choose a smaller range"
            )
        if training.patience is not None and not settings.task.validation:
            raise ProblemError(NO_VALIDATION)
        _require_degree(architecture, training.homogeneous_degree)
        if settings.control and settings.task.labels == "linear_teacher":
            raise ProblemError(
                "the task has the labels of the control already; set control = false"
            )
        return settings


def uses_batch_norm(architecture: Architecture) -> bool:
    """Whether a network normalises batches: as asked for, or as published.

    Parameters
    ----------
    architecture : Architecture

    Returns
    -------
    bool
    """
    if architecture.batch_norm is not None:
        return architecture.batch_norm
    return architecture.model.startswith("resnet")


def _require_degree(architecture: Architecture, asked: float | None) -> None:
    """Raise unless a degree that is asked for is that of the network."""
    degree = architecture.homogeneous_degree()
    if asked is None or asked == degree:
        return
    if degree is None:
        raise ProblemError(
            f"homogeneous_degree is {asked:g}: a network with biases, or with skip connections and "
            "no normalisation, is not homogeneous; set bias = false, for resnet keep batch_norm, "
            "or leave the degree out"
        )
    raise ProblemError(
        f"homogeneous_degree is {asked:g}, and that of this network is {degree}; give that, or "
        "leave the degree out"
    )
