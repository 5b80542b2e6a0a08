"""Every setting that is the path of a file or folder says so: of such ~ is the home, and nothing else asks for it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "ros2_ws" / "src"
MODULES = [path for path in SOURCE.glob("*/*/**/*.py") if path.relative_to(SOURCE).parts[1] != "test"]
# Words in the meaning of a setting that is a text; a policy or a bundle is given by a path or a name.
PATH_WORDS = re.compile(r"\b(paths?|files?|folders?|bundles?|directory)\b(?! that are named)", re.IGNORECASE)
# Whose meaning has such a word, and which are none.
NO_PATHS = {"variant", "namespace"}


@cache
def texts() -> list[tuple[str, ast.Call]]:
    """Every setting of the stack whose default is a text, by its name."""
    found = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
                    and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name)
                    and node.value.func.id == "setting" and ast.unparse(node.annotation) == "str"):
                found.append((node.target.id, node.value))
    return found


def meaning(call: ast.Call) -> str:
    """What a setting says of itself, as far as it is written there."""
    return "".join(part.value for part in ast.walk(call.args[1])
                   if isinstance(part, ast.Constant) and isinstance(part.value, str))


def says_path(call: ast.Call) -> bool:
    return any(word.arg == "path" for word in call.keywords)


def test_paths_say_that_they_are() -> None:
    found = texts()
    assert len(found) > 30
    paths = {name for name, call in found if says_path(call)}
    assert {"output", "summary", "policy", "record", "viewer_path", "initial_policy", "training"} <= paths
    silent = [name for name, call in found
              if PATH_WORDS.search(meaning(call)) and not says_path(call) and name not in NO_PATHS]
    assert silent == []


@pytest.mark.parametrize("name", ["output", "summary", "policy", "record", "viewer_path"])
def test_a_name_means_the_same_everywhere(name: str) -> None:
    assert {says_path(call) for found, call in texts() if found == name} == {True}
