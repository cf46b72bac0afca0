"""README.md says what is true."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")

COMMANDS = [
    'python -m pip install -e ".[all]" && overalign verify',
    'python -m pip install -e ".[test]" && python -m pytest',
]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_stands_once_on_a_line_of_its_own(command: str) -> None:
    assert [line.strip() for line in README.splitlines() if command in line] == [command]


def test_the_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert 8 <= len(code.strip().splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("The stop was reached.")
    assert [line.split()[0] for line in said[1:]] == ["Psi", "E(w_hat)", "network"]
    found, limit = (float(word) for word in said[1].split() if word.startswith("0."))
    assert abs(found - limit) < 1e-4


def test_what_is_linked_or_named_exists() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    named = re.findall(r"`((?:overalign|docs|tests|theory|validation)/[\w./]*)`", README)
    missing = [path for path in links + named if not (ROOT / path).exists()]
    assert links
    assert not missing


def test_the_pictures_are_small() -> None:
    pictures = list((ROOT / "docs" / "images").glob("*.png"))
    assert {picture.name for picture in pictures} == set(re.findall(r"images/(\w+\.png)", README))
    assert all(picture.stat().st_size < 300_000 for picture in pictures)
