"""The habits of the package, kept by the tests: layers, documentation, start-up, sizes."""

import ast
import enum
import fnmatch
import inspect
import json
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import overalign

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "overalign"

TOP_LEVEL = {
    *("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "CITATION.cff", "CHANGELOG.md"),
    *(".ci", ".gitignore"),
    *("overalign", "theory", "validation", "tests", "docs"),
}
LARGEST_FILE = 2**20  # bytes

# A module imports from the lines above its own, never from its own line or from below.
# The package's own `__init__` gathers the public names and may import from anywhere.
FACADE = ""
LAYERS = [
    {"errors", "special"},
    {"sampling", "records", "_compile", "inference"},
    {"problem", "engine", "executors"},
    {"data", "_kernels", "_lines"},
    {"flow"},
    {"alignment"},
    {"phases", "limit", "excess_error", "optimum"},
    {"observation", "verdicts", "enclosure"},
    {"tables"},
    {"ucurve", "deepnet"},
    {"statements", "prediction"},
    {"judge"},
    {"derivation", "checks"},
    {"claims"},
    {"testing"},
    {"plots"},
    {"report", "explorer"},
    {"cli"},
]
ONLY_IMPORTED_BY: dict[str, set[str]] = {
    "data": {FACADE, "ucurve", "cli"},
    "_compile": {"_kernels", "_lines"},
    "_kernels": {"flow"},
    "_lines": {"excess_error"},
    "plots": {"report", "explorer", "cli"},
    "report": {"cli"},
    "explorer": {"cli"},
    "cli": set(),
}

HEAVY = [
    *("scipy.stats", "xarray", "sympy", "numba", "torch", "matplotlib", "sklearn"),
    *("dask", "distributed"),
]
# of the start-up of numpy and of the reader of command lines, on the same machine
START_UP_RATIO = 3.5
ALONE = "import numpy, tyro"
IMPORT = "import overalign"
HELP = """
import contextlib, io, sys
sys.argv = ["overalign", "--help"]
from overalign.cli import main
with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
    main()
if "flow" not in text.getvalue():
    sys.exit("overalign --help does not mention the command flow")
"""

LONGEST_BODY = 60  # lines, without the docstring
# "overalign.module.function": why it cannot be shorter.
ALLOWED_LONGER: dict[str, str] = {}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def module_name(file: Path) -> str:
    """Dotted name of a module: overalign/flow.py is overalign.flow."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_name(file): ast.parse(file.read_text("utf-8")) for file in sorted(PACKAGE.rglob("*.py"))
}


def part_of(module: str) -> str:
    """First level below the package: overalign.statements.rates belongs to statements."""
    return module.partition(".")[2].partition(".")[0]


# ------------------------------------------------------------------------------- imports


def imported_names(module: str, tree: ast.AST) -> Iterator[str]:
    """Full dotted names of every import, those inside functions too, relative ones resolved."""
    is_package = (ROOT / module.replace(".", "/")).is_dir()
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = [*start, *filter(None, [node.module])]
            yield from (".".join([*base, alias.name]) for alias in node.names)


def imported_parts(module: str, tree: ast.AST) -> Iterator[str]:
    """Parts of overalign that a module imports; FACADE for a name taken from the package itself."""
    for name in imported_names(module, tree):
        parts = name.split(".")
        if parts[0] == "overalign" and name != "overalign.__version__":
            yield parts[1] if ".".join(parts[:2]) in MODULES and parts[1:] else FACADE


def layer(part: str) -> int:
    """Line of LAYERS on which a part stands."""
    return next(line for line, parts in enumerate(LAYERS) if part in parts)


def objection(importer: str, imported: str) -> str | None:
    """Why one part may not import the other, or None."""
    if importer == imported:
        return None
    allowed = ONLY_IMPORTED_BY.get(imported)
    if allowed is not None and importer not in allowed:
        return f"{imported} is imported by {sorted(allowed) or 'nothing'} only"
    if importer == FACADE:
        return None
    if imported == FACADE:
        return "take the name from the module that holds it"
    if layer(imported) >= layer(importer):
        return "it stands no higher in LAYERS"
    return None


def test_every_module_stands_in_a_layer() -> None:
    homeless = {part_of(module) for module in MODULES} - {FACADE} - set().union(*LAYERS)
    assert not homeless, f"give {homeless} a line in LAYERS"


def test_imports_point_one_way() -> None:
    broken = [
        f"{module} imports overalign.{imported}: {reason}"
        for module, tree in MODULES.items()
        for imported in imported_parts(module, tree)
        if (reason := objection(part_of(module), imported))
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("errors", "problem"),
        ("problem", "flow"),
        ("problem", "data"),
        ("flow", "alignment"),
        ("flow", FACADE),
        ("alignment", "_kernels"),
        ("claims", "plots"),
        ("plots", "cli"),
        (FACADE, "cli"),
        (FACADE, "plots"),
        (FACADE, "_kernels"),
    ],
)
def test_an_arrow_against_the_order_is_seen(importer: str, imported: str) -> None:
    assert objection(importer, imported)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [("problem", "errors"), ("flow", "problem"), ("flow", "_kernels"), ("cli", "plots")],
)
def test_an_arrow_along_the_order_passes(importer: str, imported: str) -> None:
    assert objection(importer, imported) is None


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("from .errors import ProblemError", "errors"),
        ("from overalign.errors import ProblemError", "errors"),
        ("import overalign.errors as e", "errors"),
        ("from . import errors", "errors"),
        ("def f():\n    from overalign import errors", "errors"),
        ("from overalign import Sample", FACADE),
        ("import overalign", FACADE),
    ],
)
def test_every_way_to_import_is_read(source: str, imported: str) -> None:
    assert list(imported_parts("overalign.flow", ast.parse(source))) == [imported]


# ------------------------------------------------------------------------- documentation


def public_definitions(tree: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ast.AST]]:
    """Public classes, functions, methods and properties, once each."""
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            if any(re.search(r"overload|\.setter$", ast.unparse(d)) for d in node.decorator_list):
                continue
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                yield from (
                    (f"{node.name}.{name}", inner) for name, inner in public_definitions(node)
                )


def test_everything_public_is_documented() -> None:
    bare = [
        f"{module}.{name}"
        for module, tree in MODULES.items()
        if not part_of(module).startswith("_")
        for name, node in public_definitions(tree)
        if not ast.get_docstring(node)  # type: ignore[arg-type]
    ]
    bare += [module for module, tree in MODULES.items() if not ast.get_docstring(tree)]
    assert not bare, f"without a docstring: {bare}"


@pytest.mark.parametrize("name", overalign.__all__)
def test_public_name_exists_and_shows_an_example(name: str) -> None:
    thing = getattr(overalign, name)
    simple = inspect.isclass(thing) and issubclass(thing, BaseException | enum.Enum)
    if (inspect.isclass(thing) or inspect.isroutine(thing)) and not simple:
        text = inspect.cleandoc(thing.__doc__ or "")
        section = re.search(r"^Examples\n-{8}\n(.*)", text, re.MULTILINE | re.DOTALL)
        assert section, f"{name}: the docstring has no section Examples"
        assert ">>> " in section[1], f"{name}: the Examples cannot be run"


def test_pages_that_are_cited_exist() -> None:
    """Docstrings cite pages of docs/ by name, and sections of theory.md by number."""
    text = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    pages = set(re.findall(r"\b(\w+\.md)\b", text))
    assert pages
    pages -= {"criterion.md"}  # of every study
    assert not {page for page in pages if not (ROOT / "docs" / page).exists()}
    cited = set(re.findall(r"theory\.md (\d\.\d)", text))
    headings = set(
        re.findall(r"^### (\d\.\d) ", (ROOT / "docs/theory.md").read_text(), re.MULTILINE)
    )
    assert cited <= headings


# ------------------------------------------------------------------------------ start-up


def run_python(code: str) -> str:
    """Standard output of a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("code", [IMPORT, HELP], ids=["import", "help"])
def test_start_up_leaves_heavy_libraries_alone(code: str) -> None:
    report = f"\nimport json, sys\nprint(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    assert json.loads(run_python(code + report)) == []


def children_seconds() -> float:
    """Processor time, user and system, of all finished child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("code", [IMPORT, HELP], ids=["import", "help"])
def test_start_up_is_quick(code: str) -> None:
    """Processor time of the children: another load on the machine does not count."""
    seconds: dict[str, list[float]] = {code: [], ALONE: []}
    for _ in range(5):
        for each, found in seconds.items():
            begin = children_seconds()
            run_python(each)
            found.append(children_seconds() - begin)
    longest = START_UP_RATIO * min(seconds[ALONE])
    assert min(seconds[code]) < longest, f"{seconds} s; see python -X importtime"


# ------------------------------------------------------------------------------- sources


def functions(module: str) -> Iterator[tuple[str, Function]]:
    """Every function of a module, nested ones and methods too, with its dotted name."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
        for child in ast.iter_child_nodes(node):
            named = isinstance(child, Function | ast.ClassDef)
            name = f"{prefix}.{child.name}" if named else prefix  # type: ignore[attr-defined]
            if isinstance(child, Function):
                yield name, child
            yield from walk(child, name)

    return walk(MODULES[module], module)


def body_lines(function: Function) -> int:
    """Lines of the body, without the docstring."""
    documented = ast.get_docstring(function) is not None
    body = function.body[1:] if documented else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_functions_are_short() -> None:
    long = {
        name: lines
        for module in MODULES
        for name, function in functions(module)
        if (lines := body_lines(function)) > LONGEST_BODY
    }
    unexplained = {name: lines for name, lines in long.items() if name not in ALLOWED_LONGER}
    assert not unexplained, f"longer than {LONGEST_BODY} lines: {unexplained}"
    assert set(ALLOWED_LONGER) <= set(long), "ALLOWED_LONGER names a function that is short now"


def test_library_code_has_no_assert() -> None:
    # python -O removes them: a condition that matters raises a named error
    found = [
        f"{module}, line {node.lineno}"
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    ]
    assert not found


# --------------------------------------------------------------------------------- files

IGNORED = [
    line.rstrip("/")
    for line in (ROOT / ".gitignore").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]


def is_ignored(path: Path) -> bool:
    """Whether .gitignore leaves the path out: `/x` holds at the top, `x` in every folder."""
    relative = "/" + path.relative_to(ROOT).as_posix()
    return path.name == ".git" or any(
        fnmatch.fnmatchcase(relative, pattern) and relative.count("/") == pattern.count("/")
        if pattern.startswith("/")
        else fnmatch.fnmatchcase(path.name, pattern)
        for pattern in IGNORED
    )


def project_files(folder: Path = ROOT) -> Iterator[Path]:
    """Every file of the project, found without git so that a copy can be tested too."""
    for path in sorted(folder.iterdir()):
        if is_ignored(path):
            continue
        if path.is_dir():
            yield from project_files(path)
        else:
            yield path


def test_top_level_holds_what_it_may() -> None:
    found = {path.relative_to(ROOT).parts[0] for path in project_files()}
    assert found <= TOP_LEVEL, f"not at the top level: {found - TOP_LEVEL}"
    assert {"setup.cfg", "README.md", "LICENSE", "overalign", "tests"} <= found


def test_files_are_small() -> None:
    large = {str(path): path.stat().st_size for path in project_files()}
    assert not {path: size for path, size in large.items() if size >= LARGEST_FILE}


def test_recorded_results_are_not_ignored() -> None:
    assert is_ignored(ROOT / "flow.nc")
    assert not is_ignored(ROOT / "validation" / "solver" / "result.nc")


# ------------------------------------------------------------------------------- version


def test_version_is_the_same_everywhere() -> None:
    # a literal, so that a build reads it without importing the package
    literals = [
        ast.literal_eval(node.value)
        for node in MODULES["overalign"].body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    ]
    cited = re.findall(
        r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE
    )
    assert literals == cited == [overalign.__version__]
