"""Files are complete or absent."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from overalign.errors import OutputError
from overalign.records import read_dataset, replaced, require_writable, versions, write_dataset


def some_dataset() -> xr.Dataset:
    return xr.Dataset(
        {
            "values": (("time", "neuron"), np.array([[1.0, -np.inf], [np.nan, 1e-308]])),
            "side": ("kink", np.zeros(0, dtype=np.int64)),
            "names": ("neuron", np.array(["a", "bc"])),
            "scalar": 3.5,
        },
        coords={"time": ("time", [0.0, 1.0], {"units": "time of the loss"})},
        attrs={"text": "λ", "number": 0.1, "count": 3, "list": [1, 2]},
    )


def test_a_dataset_survives(tmp_path: Path) -> None:
    dataset = some_dataset()
    path = write_dataset(dataset, tmp_path / "run.nc")
    again = read_dataset(path)
    xr.testing.assert_identical(dataset.drop_attrs(), again.drop_attrs())
    assert again.attrs["text"] == "λ"
    assert again.attrs["number"] == 0.1
    assert again["time"].attrs["units"] == "time of the loss"
    assert again["side"].dtype == np.int64
    assert os.listdir(tmp_path) == ["run.nc"]


def test_an_earlier_file_is_replaced_and_open_readers_keep_theirs(tmp_path: Path) -> None:
    path = tmp_path / "note"
    path.write_text("old")
    with path.open() as reader:
        with replaced(path) as temporary:
            temporary.write_text("new")
            assert path.read_text() == "old"
        assert reader.read() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failed_block_leaves_nothing_behind(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "note"
    path.write_text("old")

    def fail_halfway() -> None:
        with replaced(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(OutputError if error is OSError else error):
        fail_halfway()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["note"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), replaced(tmp_path / "note"):
        pass
    assert os.listdir(tmp_path) == []


def test_permissions_are_those_of_an_ordinary_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_dataset(some_dataset(), tmp_path / "run.nc")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "run.nc")}
    assert len(modes) == 1


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with replaced(tmp_path / "link") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_places_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for path, message in [
        (tmp_path / "missing" / "run.nc", "missing: the folder does not exist"),
        (tmp_path / "file" / "run.nc", "file: is a file, not a folder"),
        (tmp_path, "is a folder"),
    ]:
        with pytest.raises(OutputError, match=message):
            require_writable(path)
        with pytest.raises(OutputError, match=message):
            write_dataset(some_dataset(), path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="the folder cannot be written"):
        write_dataset(some_dataset(), tmp_path / "run.nc")


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import numpy as np, xarray as xr
from overalign.errors import OutputError
from overalign.records import write_dataset
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
data = xr.Dataset({"noise": ("time", np.random.default_rng(0).normal(size=10_000))})
try:
    write_dataset(data, sys.argv[1])
except OutputError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file sizes are POSIX")
def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "run.nc").write_text("earlier result")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "run.nc")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("cannot be written (File too large)\n")
    assert os.listdir(tmp_path) == ["run.nc"]
    assert (tmp_path / "run.nc").read_text() == "earlier result"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "junk.nc").write_text("junk")
    with pytest.raises(OutputError, match="not a readable NetCDF 4 file"):
        read_dataset(tmp_path / "junk.nc")
    with pytest.raises(OutputError, match="no such file"):
        read_dataset(tmp_path / "missing.nc")
    with pytest.raises(OutputError, match="not a file"):
        read_dataset(tmp_path)


def test_versions_are_attributes_that_can_be_stored(tmp_path: Path) -> None:
    found = versions()
    assert {"version_overalign", "version_python", "version_numpy", "version_numba"} <= set(found)
    path = write_dataset(xr.Dataset(attrs=found), tmp_path / "versions.nc")
    assert read_dataset(path).attrs == found
