"""Files are complete or absent; configs are what they say; a run is done only when all of it is."""

import errno
import json
import math
import os
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import overalign
from overalign.errors import ConfigError, DataFileError, OutputError, ProblemError
from overalign.records import (
    Config,
    RunFolder,
    checked,
    config_from,
    locked,
    read_arrays,
    read_config,
    read_dataset,
    read_npz_arrays,
    replaced,
    require_writable,
    run_id,
    versions,
    write_config,
    write_dataset,
)


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

    with pytest.raises(error) as caught:
        fail_halfway()
    assert caught.type is error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["note"]


def test_only_errors_about_the_file_are_said_to_be_about_it(tmp_path: Path) -> None:
    path = tmp_path / "note"
    with pytest.raises(OutputError, match=r"^do this$"), replaced(path):
        raise OutputError("do this")
    with pytest.raises(FileNotFoundError, match="input"), replaced(path):
        (tmp_path / "input").read_text()
    with pytest.raises(OutputError, match="note: cannot be written"), replaced(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OutputError, match="note: cannot be written"), replaced(path) as temporary:
        temporary.read_text()


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


HOLDER = """
import sys
from overalign.records import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_held_folder_is_refused_until_its_holder_ends_however_it_ends(tmp_path: Path) -> None:
    for end in ("exit", "kill"):
        with subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            named = rf": process {holder.pid} on .* works in it"
            with pytest.raises(OutputError, match=named), locked(tmp_path):
                pass
            if end == "kill":
                holder.kill()
            holder.communicate(timeout=10)
        with locked(tmp_path):
            pass


def test_a_folder_that_nobody_can_write_needs_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        patch.setattr(os, "access", lambda *_: False)
        with locked(tmp_path):
            pass
        patch.undo()
        patch.setattr(Path, "open", refuse)  # the lock alone is somebody else's
        with pytest.warns(UserWarning, match=r"cannot be locked \(.*no other"), locked(tmp_path):
            pass
    with pytest.raises(OutputError, match=r"\.lock: cannot be made"), locked(tmp_path / "missing"):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="flock is POSIX")
def test_a_disk_without_locks_is_worked_on_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (errno.ENOLCK, errno.EOPNOTSUPP):

        def refuse(*_: object, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("fcntl.flock", refuse)
        expected = pytest.warns(UserWarning, match=r"cannot be locked \(.*no other process")
        with expected, locked(tmp_path):
            pass


def test_what_a_killed_writer_left_is_removed_when_its_run_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path, Training(name="killed"))
    run.begin()
    (run.path / "checkpoint.pt").touch()

    def not_reached(*_: object) -> None:
        raise PermissionError

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(Path, "unlink", not_reached)  # as by kill -9
        with replaced(run.path / "checkpoint.pt") as temporary:
            temporary.touch()
            raise KeyboardInterrupt
    assert temporary.is_file()
    run.begin()
    assert sorted(os.listdir(run.path)) == ["checkpoint.pt", "config.json"]


def test_arrays_are_those_of_the_dataset(tmp_path: Path) -> None:
    path = write_dataset(some_dataset(), tmp_path / "run.nc")
    arrays, attributes = read_arrays(path)
    dataset = read_dataset(path)
    for name, variable in dataset.variables.items():
        np.testing.assert_array_equal(arrays[str(name)], variable.values)
    assert {name: attributes[name] for name in ("text", "number", "count")} == {
        name: dataset.attrs[name] for name in ("text", "number", "count")
    }
    words = xr.Dataset({"word": ("place", ["über", "", "c"])}, attrs={"title": "é"})
    arrays, attributes = read_arrays(write_dataset(words, path))
    assert arrays["word"].tolist() == ["über", "", "c"]
    assert attributes["title"] == "é"


def test_a_status_of_the_wrong_types_says_nothing(tmp_path: Path) -> None:
    class Named(Config):
        x: int = 1

    run = RunFolder(tmp_path, Named())
    run.begin()
    status = {"state": "failed", "seconds": "abc", "error": 3}
    (run.path / "status.json").write_text(json.dumps(status))
    assert (run.state, run.error) == ("unfinished", "")
    assert math.isnan(run.seconds)


def test_a_run_reads_its_arrays_once_and_anew_after_it_began_again(tmp_path: Path) -> None:
    class Named(Config):
        x: int = 1

    run = RunFolder(tmp_path, Named())
    for value in (1.5, 2.5):
        run.begin()
        run.finish(xr.Dataset({"y": value}), 0.0)
        assert float(run.arrays()[0]["y"]) == value
        again = RunFolder(tmp_path, Named())
        assert float(again.arrays()[0]["y"]) == value
        assert again.arrays() is again.arrays()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "junk.nc").write_text("junk")
    with pytest.raises(OutputError, match="not a readable NetCDF 4 file"):
        read_dataset(tmp_path / "junk.nc")
    with pytest.raises(OutputError, match="not a readable NetCDF 4 file"):
        read_arrays(tmp_path / "junk.nc")
    with pytest.raises(OutputError, match="no such file"):
        read_dataset(tmp_path / "missing.nc")
    with pytest.raises(OutputError, match="not a file"):
        read_dataset(tmp_path)


def test_versions_are_attributes_that_can_be_stored(tmp_path: Path) -> None:
    found = versions()
    assert {"version_overalign", "version_python", "version_numpy", "version_numba"} <= set(found)
    path = write_dataset(xr.Dataset(attrs=found), tmp_path / "versions.nc")
    assert read_dataset(path).attrs == found


# ---------------------------------------------------------------- typed configs


class Layer(Config, tag=True):
    width: int = 8
    bias: bool = False


class Pool(Config, tag=True):
    size: int = 2


class Model(Config):
    layers: tuple[Layer | Pool, ...] = (Layer(),)
    activation: Literal["relu", "linear"] = "relu"


class Training(Config):
    name: str
    model: Model = Model()
    eta: float = 0.05
    epochs: Annotated[int, msgspec.Meta(ge=1)] | None = None
    scales: tuple[float, ...] = ()
    limit: float | None = None


FULL = Training(
    name='λ "quoted"\n# no comment',
    model=Model(layers=(Layer(width=3, bias=True), Pool(size=4)), activation="linear"),
    eta=1e-300,
    epochs=3,
    scales=(0.1, 5e-324, -0.0, 1.7976931348623157e308, 1e16),
    limit=1 / 3,
)


@pytest.mark.parametrize("config", [FULL, Training(name="")])
def test_a_config_survives_toml_to_the_last_bit(tmp_path: Path, config: Training) -> None:
    again = read_config(Training, write_config(config, tmp_path / "config.toml"))
    assert again == config
    assert repr(again) == repr(config)  # -0.0 too
    assert run_id(again) == run_id(config)
    assert os.listdir(tmp_path) == ["config.toml"]


def test_toml_says_every_field(tmp_path: Path) -> None:
    write_config(Training(name="a"), tmp_path / "config.toml")
    assert tomllib.loads((tmp_path / "config.toml").read_text()) == {
        "name": "a",
        "model": {"layers": [{"type": "Layer", "width": 8, "bias": False}], "activation": "relu"},
        "eta": 0.05,
        "epochs": "none",
        "scales": [],
        "limit": "none",
    }


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(), st.text())
def test_any_number_and_text_survive(
    tmp_path_factory: pytest.TempPathFactory, eta: float, width: int, name: str
) -> None:
    config = Training(name=name, eta=eta, model=Model(layers=(Layer(width=width),)))
    path = tmp_path_factory.mktemp("toml") / "config.toml"
    assert repr(read_config(Training, write_config(config, path))) == repr(config)


class Kept(Config):
    limit: float | None = 1.0
    limits: tuple[float | None, ...] = ()
    name: str | None = "none"
    inner: tuple["Kept", ...] = ()


def test_a_none_that_is_not_the_default_survives_toml(tmp_path: Path) -> None:
    config = Kept(limit=None, inner=(Kept(limit=None), Kept(limit=2.0)))
    assert read_config(Kept, write_config(config, tmp_path / "config.toml")) == config


@pytest.mark.parametrize("config", [Kept(name=None), Kept(limits=(1.0, None))])
def test_a_none_that_toml_would_lose_is_an_error(tmp_path: Path, config: Kept) -> None:
    with pytest.raises(ConfigError, match="TOML has no None"):
        write_config(config, tmp_path / "config.toml")
    assert os.listdir(tmp_path) == []


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"nmae": "a"}, "unknown key 'nmae'; did you mean 'name'? (known: name, model, eta, epochs"),
    ({"name": "a", "zzz": 1}, "unknown key 'zzz' (known: name"),
    (
        {"name": "a", "model": {"layer": []}},
        "unknown key 'layer' in 'model'; did you mean 'layers'?",
    ),
    (
        {"name": "a", "model": {"layers": [{"type": "Pool"}, {"type": "Layer", "with": 1}]}},
        "unknown key 'with' in 'model.layers[1]'; did you mean 'width'?",
    ),
    ({}, "Object missing required field `name`"),
    ({"name": 3}, "'name' is 3: Expected `str`, got `int`"),
    ({"name": "a", "eta": "0.1"}, "'eta' is '0.1': Expected `float`, got `str`"),
    ({"name": "a", "eta": True}, "'eta' is True: Expected `float`, got `bool`"),
    ({"name": "a", "eta": math.nan}, "'eta' is nan; give a finite number"),
    ({"name": "a\udcff"}, r"'name' is 'a\udcff', which is not text"),
    ({"name": "a", "scales": [1, -math.inf]}, "'scales[1]' is -inf; give a finite number"),
    ({"name": "a", "scales": [1, "x"]}, "'scales[1]' is 'x': Expected `float`, got `str`"),
    ({"name": "a", "epochs": 0}, "'epochs' is 0: Expected `int` >= 1"),
    ({"name": "a", "epochs": 2.0}, "'epochs' is 2.0: Expected `int | null`, got `float`"),
    ({"name": "a", "model": 3}, "'model' is 3: Expected `object`, got `int`"),
    ({"name": "a", "model": {"activation": "tanh"}}, "(choose from 'relu', 'linear')"),
    ({"name": "a", "model": {"layers": [{"type": "Skip"}]}}, "'model.layers[0].type' is 'Skip'"),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_what_is_wrong_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_from(Training, values, "training.toml")
    assert str(caught.value).startswith("training.toml: ")
    assert message in str(caught.value)


def test_files_that_are_no_configs(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    for content, message in [
        (b"name = ", "not TOML"),
        (b"name = '\xff'", "not TOML"),
        (b"name = 'a'\nepochs = 'b'", "'epochs' is 'b'"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=f"config.toml: {message}"):
            read_config(Training, path)
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)"):
        read_config(Training, tmp_path)


def test_what_was_built_in_python_is_checked() -> None:
    for config, message in [
        (Training(name=3), "'name' is 3: Expected `str`"),  # type: ignore[arg-type]
        (Training(name="a", epochs=0), "'epochs' is 0"),
        (Training(name="a", eta=math.inf), "'eta' is inf; give a finite number"),
        (Training(name="a", model={}), "'model' is {}"),  # type: ignore[arg-type]
        (Training(name="a", scales=np.ones(2)), r"'scales' is array"),  # type: ignore[arg-type]
        (Training(name="a", eta=1j), "'eta' is 1j"),  # type: ignore[arg-type]
        (Training(name="a", eta=np.longdouble(1)), "'eta' is np.longdouble"),
        (Training(name="a", model=Model(layers=(Layer(width=0.5),))), r"'model.layers\[0\].width'"),  # type: ignore[arg-type]
    ]:
        with pytest.raises(ConfigError, match=f"^Training: {message}"):
            checked(config)
        with pytest.raises(ConfigError, match=f"^Training: {message}"):
            run_id(config)
        with pytest.raises(ConfigError, match=f"^Training: {message}"):
            write_config(config, "never.toml")


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    config = Training(
        name="a",
        eta=np.float64(0.1),
        epochs=np.int64(3),  # type: ignore[arg-type]
        scales=tuple(np.array([0.25, 0.5], dtype=np.float32)),
        model=Model(layers=(Layer(bias=np.bool_(True)),)),  # type: ignore[arg-type]
    )
    plain = checked(config)
    assert [type(plain.eta), type(plain.epochs), type(plain.scales[1])] == [float, int, float]
    assert plain.model.layers[0] == Layer(bias=True)
    assert run_id(config) == run_id(plain)
    assert read_config(Training, write_config(config, tmp_path / "config.toml")) == plain


# ---------------------------------------------------------------- names of runs


def changed(values: Any) -> list[Any]:
    """Copies of plain values, in each of which one number, word or None is another."""
    if isinstance(values, dict):
        return [values | {k: new} for k, v in values.items() if k != "type" for new in changed(v)]
    if isinstance(values, list | tuple):
        one = [
            [*values[:k], new, *values[k + 1 :]] for k, v in enumerate(values) for new in changed(v)
        ]
        return [*one, values[:-1]] if values else one
    others = {False: True, True: False, "linear": "relu", None: 2.0}
    if isinstance(values, bool | None) or values == "linear":
        return [others[values]]
    if isinstance(values, float):
        return [math.nextafter(values, 0.0)]
    return [values + type(values)(1)]


def test_every_field_changes_the_name_of_the_run() -> None:
    values = msgspec.to_builtins(FULL)
    configs = [FULL, *(config_from(Training, each) for each in changed(values))]
    assert len(configs) == 1 + 1 + (2 + 1 + 1) + 1 + 1 + 1 + (5 + 1) + 1
    assert len({run_id(config) for config in configs}) == len(configs)


def test_equal_configs_have_equal_names() -> None:
    assert run_id(Training(name="a", eta=1)) == run_id(Training(eta=1.0, name="a"))
    mixed = Training(name="a", scales=[1, 2])  # type: ignore[arg-type]
    assert run_id(mixed) == run_id(Training(name="a", scales=(1.0, 2.0)))


class Located(Config):
    content: str
    place: str = ""

    def identity(self) -> Self:
        return msgspec.structs.replace(self, place="")


def test_what_is_not_of_the_identity_changes_neither_name_nor_files(tmp_path: Path) -> None:
    old, new = (Located(content="a", place=place) for place in ("old", "new"))
    path = finished(tmp_path, old).path
    kept = (path / "config.json").read_bytes()
    run = RunFolder(tmp_path, new)
    assert (run.path, run.state) == (path, "finished")
    assert run.config == new  # the work needs the place
    run.begin()
    assert (path / "config.json").read_bytes() == kept
    assert run_id(Located(content="b", place="old")) != run_id(old) == run_id(new)


class Sibling(Config):
    name: str


def test_the_kind_and_the_version_are_part_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_id(Sibling(name="a"))
    other = msgspec.defstruct("Other", [("name", str)], bases=(Config,))
    assert run_id(other(name="a")) != first
    same = msgspec.defstruct("Sibling", [("name", str)], bases=(Config,))
    assert run_id(same(name="a")) == first
    monkeypatch.setattr(overalign, "__version__", "0.0.0")
    assert run_id(Sibling(name="a")) != first


NAME = """
import sys
sys.path.insert(0, sys.argv[1])
from test_records import FULL, run_id
print(run_id(FULL))
"""


def test_the_name_is_the_same_in_another_process() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", NAME, str(Path(__file__).parent)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {run_id(FULL)}


# ---------------------------------------------------------------- run folders


def finished(root: Path, config: Config = FULL) -> RunFolder[Any]:
    run: RunFolder[Any] = RunFolder(root, config)
    run.begin()
    run.finish(xr.Dataset({"risk": 0.05}), seconds=2.5)
    return run


def test_a_run_goes_from_absent_to_finished(tmp_path: Path) -> None:
    root = tmp_path / "some" / "runs"
    run = RunFolder(root, FULL)
    assert (run.state, run.error, run.traceback) == ("absent", "", "")
    assert not root.exists()  # looking does not write
    run.begin()
    assert run.state == "unfinished"
    assert math.isnan(run.seconds)
    run.finish(xr.Dataset({"risk": 0.05}), seconds=2.5)
    assert (run.state, run.error, run.traceback, run.seconds) == ("finished", "", "", 2.5)
    assert run.path == root / run_id(FULL)
    assert float(RunFolder(root, FULL).result().risk) == 0.05
    assert sorted(os.listdir(run.path)) == ["config.json", "result.nc", "status.json"]
    kept = json.loads((run.path / "config.json").read_text())
    assert kept["kind"] == "Training"
    assert kept["version"] == overalign.__version__
    assert config_from(Training, kept["config"]) == FULL
    status = json.loads((run.path / "status.json").read_text())
    assert status["seconds"] == 2.5
    assert status["versions"] == versions()
    assert status["date"].endswith("+00:00")


def error_of(kind: type[Exception]) -> Exception:
    try:
        raise kind("first line\nsecond line")
    except kind as error:
        return error


@pytest.mark.parametrize(
    ("kind", "state"), [(ZeroDivisionError, "failed"), (ProblemError, "unfinished")]
)
def test_an_error_is_kept_until_the_next_attempt(
    tmp_path: Path, kind: type[Exception], state: str
) -> None:
    run = RunFolder(tmp_path, FULL)
    run.begin()
    run.fail(error_of(kind), seconds=1.0)
    again = RunFolder(tmp_path, FULL)
    assert again.state == state
    assert again.error == f"{kind.__name__}: first line\nsecond line"
    assert "in error_of" in again.traceback
    (run.path / "checkpoint").touch()
    again.begin()
    assert (again.state, again.error, again.traceback) == ("unfinished", "", "")
    assert (run.path / "checkpoint").exists()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff", b'{"state": ["finished"]}', b"{}"]
)
def test_a_damaged_status_is_unfinished(tmp_path: Path, content: bytes) -> None:
    run = finished(tmp_path)
    (run.path / "status.json").write_bytes(content)
    assert run.state == "unfinished"


def test_a_damaged_result_is_unfinished(tmp_path: Path) -> None:
    run = finished(tmp_path)
    result = run.path / "result.nc"
    whole = result.read_bytes()
    for content in [b"", whole[:-1], whole[: len(whole) // 2], bytes([whole[0] ^ 1]) + whole[1:]]:
        result.write_bytes(content)
        assert run.state == "unfinished"
    result.write_bytes(whole)
    assert run.state == "finished"
    result.unlink()
    assert run.state == "unfinished"
    with pytest.raises(OutputError, match=r"result.nc: no such file"):
        RunFolder(tmp_path, FULL).result()


def test_each_half_made_folder_is_unfinished_and_can_be_done(tmp_path: Path) -> None:
    names = ["config.json", "result.nc", "status.json"]
    for number in range(7):  # which files are there: all choices but all three
        root = tmp_path / str(number)
        run = finished(root)
        for bit, name in enumerate(names):
            if not number >> bit & 1:
                (run.path / name).unlink()
        assert run.state == "unfinished"
        assert finished(root).state == "finished"


def test_a_result_of_before_is_not_that_of_a_new_attempt(tmp_path: Path) -> None:
    run = finished(tmp_path)
    run.begin()
    assert run.state == "unfinished"


@pytest.mark.parametrize("content", ["", "{}", "null", '{"config": {}}'])
def test_a_config_that_was_changed_is_an_error(tmp_path: Path, content: str) -> None:
    run = finished(tmp_path)
    (run.path / "config.json").write_text(content)
    with pytest.raises(ConfigError, match=r"is not the config of this run.*remove"):
        RunFolder(tmp_path, FULL)
    shutil.rmtree(run.path)
    assert finished(tmp_path).state == "finished"


def test_one_changed_number_in_the_kept_config_is_seen(tmp_path: Path) -> None:
    kept = finished(tmp_path).path / "config.json"
    kept.write_text(kept.read_text().replace("1e-300", "1e-301"))
    with pytest.raises(ConfigError, match="is not the config of this run"):
        RunFolder(tmp_path, FULL)


def test_a_config_that_was_reformatted_is_the_same(tmp_path: Path) -> None:
    kept = finished(tmp_path).path / "config.json"
    kept.write_bytes(json.dumps(json.loads(kept.read_text()), sort_keys=True).encode() + b"\r\n")
    assert RunFolder(tmp_path, FULL).state == "finished"


def test_places_where_no_run_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = RunFolder(tmp_path / "file", FULL)
    assert run.state == "absent"
    with pytest.raises(OutputError, match="cannot be made"):
        run.begin()
    run = RunFolder(tmp_path, FULL)
    with pytest.raises(OutputError, match="the folder does not exist"):
        run.finish(xr.Dataset(), seconds=0.0)
    (run.path / "config.json").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"config\.json: cannot be read"):
        RunFolder(tmp_path, FULL)


def test_a_run_stays_where_it_is_when_the_process_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = RunFolder("runs", FULL)
    monkeypatch.chdir("/")
    run.begin()
    assert (tmp_path / "runs" / run_id(FULL)).is_dir()


@pytest.mark.parametrize(
    ("write", "why"),
    [
        (lambda path: np.savez(path, x=np.array([None])), "it holds Python objects"),
        (lambda path: path.write_bytes(b"no archive"), "it is not an archive of arrays"),
        (lambda path: path.write_bytes(b""), "No data left in file"),
    ],
)
def test_a_numpy_file_that_cannot_be_read_says_why(
    write: Callable[[Path], object], why: str, tmp_path: Path
) -> None:
    path = tmp_path / "data.npz"
    write(path)
    with pytest.raises(DataFileError, match=f"not a readable .npz of plain numbers .{why}"):
        read_npz_arrays(path)


def test_one_array_is_no_archive(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(3))
    with pytest.raises(DataFileError, match="it is one array"):
        read_npz_arrays(tmp_path / "x.npy")
