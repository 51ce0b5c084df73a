"""The documents name files, headings and commands that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def headings(document: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings: words in lower case, joined by hyphens."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_headings(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", document.read_text(encoding="utf-8"))
    assert [
        f"{page}#{anchor}"
        for page, anchor in links
        if anchor not in headings(document.parent / page if page else document)
    ] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_of_make_are_there(document: Path) -> None:
    known = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    drills = [path.stem.removeprefix("test_") for path in (ROOT / "tests" / "drill").glob("test_*.py")]
    text = document.read_text(encoding="utf-8")
    assert set(re.findall(r"(?:`|^|[A-Z]=\S+ )make ([a-z-]+)", text, re.MULTILINE)) <= set(known)
    assert set(re.findall(r"make drill ONLY=(\w+)", text)) <= set(drills)


def test_architecture_names_modules_that_exist() -> None:
    """A bare `module.py` in its table lies beside the module named before it."""
    missing = []
    for row in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines():
        folder = ROOT
        for name in re.findall(r"`([\w/*]+(?:\.py|/))`", row):
            path = ROOT / name if "/" in name else folder / name
            folder = path.parent
            if not list(path.parent.glob(path.name)):
                missing.append(name)
    assert missing == []


def test_makefile_explains_every_command() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    explained = re.findall(r"^([a-z-]+):.*?## \S", makefile, re.MULTILINE)
    assert sorted(" ".join(commands).split()) == sorted(explained)


def test_constraints_are_names_and_versions_alone() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert pins
    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*==[0-9][A-Za-z0-9.]*", pin)] == []
