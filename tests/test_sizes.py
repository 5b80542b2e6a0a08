"""Nothing is too long to be read at a time: nodes, modules, folders."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "ros2_ws" / "src"
MODULES = sorted(path for path in SOURCE.glob("*/*/**/*.py") if path.relative_to(SOURCE).parts[1] != "test")
# Of a package's own modules the docstring may give a reason to be longer, in a sentence that begins with these words.
REASON = "Longer than others because "
LONGEST_MODULE, LONGEST_NODE = 300, 150  # [lines]
LARGEST_FOLDER = 16  # [modules], not counting __init__.py


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(SOURCE)) for path in paths]


def too_long(text: str) -> str:
    """What is wrong with a module's length; empty where nothing is."""
    tree, lines = ast.parse(text), len(text.splitlines())
    has_node = any(isinstance(node, ast.ClassDef) and any(isinstance(base, ast.Name) and base.id == "StackNode"
                                                          for base in node.bases) for node in tree.body)
    if has_node and lines > LONGEST_NODE:
        return (f"a node has at most {LONGEST_NODE} lines, found {lines}: move what needs no ROS to pure modules "
                "beside it")
    said = " ".join((ast.get_docstring(tree) or "").split())
    if lines > LONGEST_MODULE and not said.partition(REASON)[2].strip():
        return (f"a module has at most {LONGEST_MODULE} lines, found {lines}: split it, or end its docstring with "
                f"'{REASON}…'")
    if lines <= LONGEST_MODULE and REASON in said:
        return f"it is no longer than others ({lines} lines): leave the reason out"
    return ""


@pytest.mark.parametrize("path", MODULES, ids=names(MODULES))
def test_a_module_is_short_or_says_why_not(path: Path) -> None:
    assert not too_long(path.read_text())


def test_no_folder_is_too_full() -> None:
    counts: dict[Path, int] = {}
    for path in MODULES:
        counts[path.parent] = counts.get(path.parent, 0) + (path.stem != "__init__")
    assert len(counts) > 25
    assert not {str(folder): count for folder, count in counts.items() if count > LARGEST_FOLDER}


def test_what_is_too_long_is_found() -> None:
    body, node = "pass\n" * 140, "class MyNode(StackNode):\n    pass\n"
    assert too_long(body + node) == "" and too_long(2 * body) == ""
    assert "at most 150 lines, found 282" in too_long(2 * body + node)
    assert "at most 300 lines, found 421" in too_long('"""Something."""\n' + 3 * body)
    assert too_long(f'"""Something. {REASON}it is one."""\n' + 3 * body) == ""
    assert "at most 300" in too_long(f'"""Something. {REASON}"""\n' + 3 * body)
    assert "at most 150" in too_long(f'"""Something. {REASON}it is one."""\n' + 3 * body + node)
    assert "leave the reason out" in too_long(f'"""Something. {REASON}it is one."""\n' + body)
