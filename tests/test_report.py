"""The report: one page that loads nothing, with every claim; errata that the records show."""

import ast
import base64
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from overalign.claims import read_ledger, recorded
from overalign.errors import ClaimError, ConfigError, OutputError
from overalign.report import errata_markdown, ledger_markdown, read_errata, write_report
from overalign.report.text import html_of, in_table, number

ROOT = Path(__file__).resolve().parent.parent
FINDINGS = recorded(ROOT)
LOADING = {"src", "srcset", "data", "poster", "background", "action", "formaction"}
VOID = {"meta", "img", "input", "col", "br", "hr", "link"}
SUMMARY = {
    "study": "plain",
    "date": "2026-01-31",
    "hardware": "a processor",
    "versions": {"python": "3.11", "a_source_sha256": "0f"},
    "measured": {"slopes": {"against n": [0.5, 0.25, 0.75]}, "count": 24},
}
LINE = {
    "line": "C1",
    "statement": "largest <gap>",
    "measured": 0.125,
    "interval": None,
    "threshold": 0.5,
    "verdict": "HOLDS",
}
LEDGER = r"""
[Y0]
title = "A <b>bold</b> claim"
theory = "$x_1 \\le 2^{-4}$"
provenance = "reconstructed"
place = "Theorem 1"
study = "plain"
lines = ["C1"]
meaning = "What it *means*."
[Y1]
title = "Not measured"
theory = "Nothing."
provenance = "ours"
place = "here"
study = "absent"
lines = ["C1"]
meaning = "Nothing."
"""
ERRATUM = r"""
[one]
title = "It fails"
place = "Theorem 1"
reading = "$x \\le 1$"
finds = '''count <<plain > measured > count>>, slope <<plain > measured > slopes > against n>>,
gap <<plain > C1 > largest>>'''
shown_by = [{ study = "plain", line = "C1", verdict = "HOLDS" }]
command = "overalign show conic_hull"
shows = "it"
"""


class Page(HTMLParser):
    """What a page has: ids, links, what it would load, its text outside of code."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count a tag."""
        given = dict(attrs)
        self.ids += [given["id"]] if given.get("id") else []
        self.links += [str(given["href"])] if tag == "a" else []
        self.loads += [str(v) for k, v in attrs if k in LOADING] + ["link"] * (tag == "link")
        self.images += [given] if tag == "img" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Tags are closed in their order."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect text."""
        if not {"script", "style", "code"} & set(self.open):
            self.text += data


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of what is recorded."""
    return write_report(FINDINGS, tmp_path_factory.mktemp("report"), ROOT).read_text("utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    """The same, parsed."""
    return Page(text)


def checkout(
    folder: Path, ledger: str = LEDGER, errata: str = "", line: dict[str, Any] = LINE
) -> Path:
    """A small checkout with one recorded study."""
    results = folder / "validation" / "plain" / "results"
    results.mkdir(parents=True)
    (folder / "validation" / "ledger.toml").write_text(ledger)
    (results / "summary.json").write_text(json.dumps(SUMMARY | {"criteria": [line]}))
    (results / "curve.csv").write_text("x,y\n1,2\n")
    criterion = "> **Against the paper:** it is 2,\n> not 1.\n\n# A question\n"
    (results.parent / "criterion.md").write_text(criterion)
    if errata:
        (folder / "validation" / "errata.toml").write_text(errata)
    return folder


# ---------------------------------------------------------------- the page


def test_page_loads_nothing(text: str, page: Page) -> None:
    assert page.open == []
    assert all(each.startswith("data:image/png;base64,") for each in page.loads)
    style = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(style) == 1
    assert not re.search(r"url\(|@import", style[0])
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(script) == 1
    assert not re.search(r"fetch|XMLHttp|import|https?:", script[0])
    assert not re.search(r'(src|href)="(https?:)?//', text)


def test_every_claim_has_a_row_and_a_section(text: str, page: Page) -> None:
    ledger = read_ledger(ROOT)
    for name in ledger:
        assert page.ids.count(name) == 1
        assert f"#{name}" in page.links
    assert text.count("<tr data-verdict=") == len(ledger)
    assert len(page.ids) == len(set(page.ids))


def test_links_lead_somewhere(tmp_path: Path) -> None:
    written = write_report(FINDINGS, tmp_path / "deep" / "report", ROOT)
    page = Page(written.read_text("utf-8"))
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert (written.parent / link).exists(), link


def test_every_formula_is_drawn(page: Page) -> None:
    assert "$" not in page.text
    assert "\\" not in page.text
    assert "<<" not in page.text


def test_figures_are_pictures_with_words(page: Page) -> None:
    assert page.images
    for image in page.images:
        content = base64.b64decode(str(image["src"]).partition(",")[2])
        with Image.open(io.BytesIO(content)) as picture:
            assert (picture.width, picture.height) == (int(image["width"]), int(image["height"]))  # type: ignore[arg-type]
        assert len(str(image["alt"])) > 30


def test_a_claim_is_told_whole(tmp_path: Path) -> None:
    place = checkout(tmp_path)
    text = write_report(recorded(place), tmp_path / "report", place).read_text("utf-8")
    page = Page(text)
    assert "<b>" not in text
    assert "A <b>bold</b> claim" in page.text
    assert "<em>means</em>" in text
    for words in (
        "✓ holds",
        "∅ not recorded",
        "largest <gap>",
        "0.125",
        "2026-01-31",
        "python 3.11",
    ):
        assert words in page.text, words
    assert "<strong>Against the paper:</strong> it is 2, not 1." in text
    for command in ("overalign verify Y0 --tier full", "python -m validation.plain.run"):
        assert command in text
    assert "../validation/plain/criterion.md" in page.links
    assert not page.images


def test_a_failing_claim_is_told_to_its_authors(tmp_path: Path) -> None:
    place = checkout(tmp_path, line=LINE | {"measured": 0.75, "verdict": "FAILS"})
    findings = recorded(place)
    errata = errata_markdown(findings, place / "docs", place)
    assert "[Y0](ledger.md#y0)" in errata
    assert "largest <gap>: 0.75 (threshold 0.5)" in errata
    assert "✗ **fails**" in ledger_markdown(findings, place / "docs", place)


def test_a_finding_of_no_claim_is_refused(tmp_path: Path) -> None:
    place = checkout(tmp_path)
    with pytest.raises(ClaimError, match="the ledger does not know"):
        write_report(FINDINGS, tmp_path / "report", place)


def test_a_broken_figure_is_named(tmp_path: Path) -> None:
    place = checkout(tmp_path)
    (place / "validation" / "plain" / "results" / "figure.png").write_bytes(b"no picture")
    with pytest.raises(ClaimError, match=r"figure\.png: not a picture"):
        write_report(recorded(place), tmp_path / "report", place)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        write_report(FINDINGS, tmp_path / "file" / "report", ROOT)


# ---------------------------------------------------------------- Markdown


@pytest.mark.parametrize(
    ("name", "text_of"), [("ledger.md", ledger_markdown), ("errata.md", errata_markdown)]
)
def test_committed_pages_are_those_of_the_records(name: str, text_of: Any) -> None:
    committed = (ROOT / "docs" / name).read_text("utf-8")
    assert text_of(FINDINGS, ROOT / "docs", ROOT) == committed, (
        "the records changed: overalign report --markdown docs"
    )


@pytest.mark.parametrize("name", ["ledger.md", "errata.md"])
def test_links_of_the_pages_lead_somewhere(name: str) -> None:
    page = ROOT / "docs" / name
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        assert (page.parent / link).exists(), link


def test_tables_of_the_ledger_are_regular() -> None:
    rows = [
        line
        for line in (ROOT / "docs" / "ledger.md").read_text("utf-8").splitlines()
        if line.startswith("|")
    ]
    assert len(rows) == len(read_ledger(ROOT)) + 2
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {9}


# ---------------------------------------------------------------- errata


def test_numbers_of_errata_come_from_records(tmp_path: Path) -> None:
    (erratum,) = read_errata(checkout(tmp_path, errata=ERRATUM))
    assert erratum.finds == "count 24, slope 0.5 [0.25, 0.75],\ngap 0.125"


@pytest.mark.parametrize(
    ("old", "new", "error", "said"),
    [
        ('"HOLDS"', '"FAILS"', ClaimError, "recorded as HOLDS, not FAILS"),
        ('"C1"', '"C7"', ClaimError, "recorded as nothing, not HOLDS"),
        ("> count", "> counts", ClaimError, "no number at measured > counts"),
        ("C1 > largest", "C1 > smallest", ClaimError, "no number at C1 > smallest"),
        ("C1 > largest", "measured", ClaimError, "no number at measured"),
        ("<<plain > C1", "<<other > C1", ClaimError, "other/results/summary.json"),
        ("place =", "spot =", ConfigError, "spot"),
        ("[one]", "[one", ClaimError, "cannot be read"),
    ],
)
def test_an_erratum_without_a_record_is_refused(
    old: str, new: str, error: type[Exception], said: str, tmp_path: Path
) -> None:
    assert old in ERRATUM
    with pytest.raises(error, match=re.escape(said)):
        read_errata(checkout(tmp_path, errata=ERRATUM.replace(old, new)))


def test_a_checkout_may_have_no_errata(tmp_path: Path) -> None:
    assert read_errata(checkout(tmp_path)) == []


# ---------------------------------------------------------------- commands of the errata


def _window_is_shorter(printed: str) -> bool:
    t_1, T = map(float, printed.split())
    return t_1 > T


def _angle_and_error_grow(printed: str) -> bool:
    (angle, error), (later_angle, later_error) = ast.literal_eval(printed)
    return bool(later_angle > angle and later_error > error)


def _formula_moves_twice_as_far(printed: str) -> bool:
    of_outputs, of_formula = map(float, printed.split())
    return of_formula == pytest.approx(2.0 * of_outputs)


# What the instances in Python show, by the erratum.
SHOWN = {
    "window": _window_is_shorter,
    "cone_of_one_class": _angle_and_error_grow,
    "units": _formula_moves_twice_as_far,
}


@pytest.mark.slow
def test_commands_of_the_errata_run(tmp_path: Path) -> None:
    program = shutil.which("overalign", path=str(Path(sys.executable).parent)) or "overalign"
    errata = [each for each in read_errata(ROOT) if each.command != "overalign sweep"]
    assert len({each.command for each in errata}) > 5
    for erratum in errata:
        words = shlex.split(erratum.command)
        is_python = words[0] == "python"
        words[0] = sys.executable if is_python else program
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (erratum.command, done.stderr)
        if is_python:
            assert SHOWN[erratum.id](done.stdout), (erratum.id, done.stdout)


# ---------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1e-17, "1e-17"),
        (6.4726e-14, "6.47e-14"),
        (1.5e12, "1.5e12"),
        (-0.0, "-0"),
        (0.1 + 0.2, "0.3"),
        (float("nan"), "–"),
        (float("inf"), "inf"),
    ],
)
def test_number(value: float, expected: str) -> None:
    assert number(value) == expected


@pytest.mark.parametrize("text", ["one $ alone", "$a$ and $b", r"$\nosuchcommand x$"])
def test_a_formula_that_cannot_be_drawn_is_refused(text: str) -> None:
    with pytest.raises(ClaimError):
        html_of(text)


def test_html_is_escaped_and_lines_can_break() -> None:
    found = html_of("a <script> & `x < y`: $f(a = b) + 1 \\le c$")
    assert "<script>" not in found
    assert "<code>x &lt; y</code>" in found
    assert found.count("<math>") == 3  # not within the bracket


def test_a_formula_stays_whole_in_a_table() -> None:
    assert "|" not in in_table(r"$\|x\| \le |y|$ | z").replace(r"\|", "")
