"""The documents name what is there: links, modules, packages, verbs, and of each method what differs from its paper."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "ros2_ws" / "src"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ALGORITHMS = SOURCE / "trainer" / "trainer" / "algorithms"
METHODS = sorted(path.stem for path in (ROOT / "docs" / "methods").glob("*.md"))
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def anchors(page: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _CODE.sub("", page.read_text())):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(found), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_modules_that_are_named_are_there(page: Path) -> None:
    there = {f"/{path.relative_to(ROOT)}" for folder in ("docs", "setup", "tests", "ros2_ws/src")
             for path in (ROOT / folder).rglob("*.py")} | {"/conftest.py"}
    for name in re.findall(r"`([\w/.]+\.py)`", page.read_text()):
        assert any(path.endswith(f"/{name}") for path in there), f"no module is called {name}"


def test_the_walks_name_what_is_in_the_files() -> None:
    walks = (ROOT / "docs" / "architecture.md").read_text().partition("## Three walks")[2].partition("\n## ")[0]
    items = re.findall(r"^ *\d+\. (.*?)(?=^ *\d+\. |^\n|\Z)", walks, re.MULTILINE | re.DOTALL)
    assert len(items) > 15
    for item in items:
        files = [SOURCE / name.partition("/")[0] / name for name in re.findall(r"`([\w/]+\.py)`", item)]
        code = "".join(file.read_text() for file in files)
        for name in re.findall(r"`([A-Za-z_.]+)`", item):
            if not name.endswith(".py"):
                assert re.search(rf"\b{name.rpartition('.')[2]}\b", code), f"no {name} in the files of: {item}"


def test_the_index_has_every_page() -> None:
    linked = set(re.findall(r"\]\(([\w/-]+\.md)\)", (ROOT / "docs" / "README.md").read_text()))
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert linked == pages - {"README.md", "results/compress-default/report.md"}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_every_package_is_described(page: str) -> None:
    text = (ROOT / page).read_text()
    for package in SOURCE.glob("*/package.xml"):
        assert package.parent.name in text


def test_every_method_has_a_page() -> None:
    from trainer.algorithms.table import ALGORITHMS as methods
    assert set(METHODS) == set(methods)


@pytest.mark.parametrize("method", METHODS)
def test_a_page_says_what_its_code_says_of_the_paper(method: str) -> None:
    (module,) = ALGORITHMS.glob(f"*/{method}.py")
    docstrings = [ast.get_docstring(node) or "" for node in ast.parse(module.read_text()).body
                  if isinstance(node, ast.ClassDef)]
    said = [" ".join(paragraph.split()).partition(": ")[2] for docstring in docstrings
            for paragraph in docstring.split("\n\n") if paragraph.startswith("Differs from the paper in")]
    page = " ".join((ROOT / "docs" / "methods" / f"{method}.md").read_text().split()).lower()
    assert len(said) == 1 and said[0].lower() in page


def test_verbs_that_are_named_are_there() -> None:
    from ant_rl.cli import overview
    known = set(re.findall(r"^  (\w+)", overview(), re.MULTILINE)) | {"METHOD", "VERB"}
    for page in PAGES:
        for code in _CODE.findall(page.read_text()):
            for verb in re.findall(r"\./run (\w+)", code):
                assert verb in known, f"{page.name}: ./run {verb}"


def test_the_workflow_names_what_is_there() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    commands = "\n".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    files = re.findall(r"requirements/\w+\.txt", commands)
    assert files and all((ROOT / file).is_file() for file in files)
    assert set(re.findall(r"\./run (\w+)", commands)) == {"setup", "exec", "test"}
    assert {"ruff check", "mypy", "colcon build", "colcon test", "colcon test-result"} == set(
        re.findall(r"ruff check|mypy|colcon [\w-]+", commands))
