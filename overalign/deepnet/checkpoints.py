"""Where a training is kept on its way, so that it can be cut off at any time and go on."""

from __future__ import annotations

import logging
import pickle
import time
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..errors import OutputError
from ..records import replaced

__all__ = ["Checkpoint"]

_LOG = logging.getLogger(__name__)
# what torch.load raises for a file that was cut off, overwritten, or never was a checkpoint
_DAMAGE = (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, AttributeError,
           pickle.UnpicklingError, zipfile.BadZipFile)  # fmt: skip


@dataclass
class Checkpoint:
    """``checkpoint.pt`` and ``history.jsonl`` in a folder.

    A training that was cut off goes on from the last epoch that was kept and ends, on a processor,
    bit for bit as if nothing had happened. The history has one line for each evaluation of a cell.
    When training has ended the checkpoint holds what came of it and no weights: a process that ends
    before it has kept the result need not train again.

    Parameters
    ----------
    folder : pathlib.Path
        Exists.
    interval : float
        Least seconds from one checkpoint to the next.
    """

    folder: Path
    interval: float = 20.0
    _saved: float = field(default_factory=time.monotonic, repr=False)

    @property
    def path(self) -> Path:
        """The file of a training on its way, or of what came of it."""
        return self.folder / "checkpoint.pt"

    @property
    def history(self) -> Path:
        """The file of the evaluations, a JSON object in each line."""
        return self.folder / "history.jsonl"

    def load(self, identity: str) -> dict[str, Any] | None:
        """What was kept last; None if there is nothing, or it is damaged and now removed.

        Parameters
        ----------
        identity : str
            Of the training that wants to go on.

        Returns
        -------
        dict or None
            Its tensors on the processor.

        Raises
        ------
        OutputError
            What was kept is of another training.
        """
        if not self.path.is_file():
            return None
        try:
            if not zipfile.is_zipfile(self.path):
                raise zipfile.BadZipFile("not a file of torch")
            kept: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
            found, state = kept["identity"], kept["state"]
        except _DAMAGE as error:
            _LOG.warning("%s is damaged (%s); training starts anew", self.path, error)
            self.remove()
            return None
        if found != identity:
            raise OutputError(
                f"{self.path}: is of another training; remove it, or give another folder"
            )
        return dict(state)

    def is_due(self) -> bool:
        """Whether the last one is long enough ago."""
        return time.monotonic() - self._saved >= self.interval

    def save(self, identity: str, state: dict[str, Any]) -> None:
        """Keep a state, in one step.

        Parameters
        ----------
        identity : str
            For `load`.
        state : dict
            Tensors, numbers, strings, and lists and dicts of them.

        Raises
        ------
        OutputError
            As `overalign.records.replaced`.
        """
        with replaced(self.path) as temporary:
            torch.save({"identity": identity, "state": state}, temporary)
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Forget what was kept.

        Raises
        ------
        OutputError
            The folder cannot be written.
        """
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be removed ({error.strerror})") from error

    def begin_history(self, lines: Iterable[str]) -> None:
        """Write the history anew.

        Raises
        ------
        OutputError
            As `overalign.records.replaced`.
        """
        with replaced(self.history) as temporary:
            temporary.write_text("".join(lines), "utf-8")

    def log(self, lines: Iterable[str]) -> None:
        """Append to the history.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        try:
            with self.history.open("a", encoding="utf-8") as stream:
                stream.writelines(lines)
        except OSError as error:
            raise OutputError(f"{self.history}: cannot be written ({error.strerror})") from error
