"""A learning method is added by one file and one entry in its family's table, and is then tested as the others are."""

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import trainer

HERE = Path(__file__).parent
PACKAGE = Path(trainer.__file__).parent
REPOSITORY = HERE.parents[3]
ENTRY = '    "reinforce": Method(f"{__name__}.reinforce", "Reinforce", "ReinforceConfig", 16, "returns alone"),\n'
# Those that try every method of the table.
TESTS = ("src/trainer/test/test_learners.py", "src/trainer/test/test_numpy_graph.py",
         "src/trainer/test/test_compress.py", "src/trainer/test/test_settings.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the trainer with one more method, and of the tests."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    shutil.copytree(PACKAGE, folder / "src/trainer/trainer", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(HERE, folder / "src/trainer/test", ignore=shutil.ignore_patterns("__pycache__"))
    family = folder / "src/trainer/trainer/algorithms/on_policy"
    shutil.copy(HERE / "added_method/reinforce.py", family)
    table = (family / "__init__.py").read_text()
    assert table.endswith("\n}\n")
    (family / "__init__.py").write_text(f"{table[:-2]}{ENTRY}}}\n")
    return folder


def python(folder, *words):
    """What a Python process prints that finds the copy."""
    path = os.pathsep.join([str(folder / "src/trainer"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, *words], cwd=folder, env={**os.environ, "PYTHONPATH": path},
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_one_file_and_one_entry_are_all(folder):
    def different(comparison):
        yield from comparison.left_only + comparison.right_only + comparison.diff_files
        for inner in comparison.subdirs.values():
            yield from different(inner)

    found = different(filecmp.dircmp(PACKAGE, folder / "src/trainer/trainer", ignore=["__pycache__"]))
    assert sorted(found) == ["__init__.py", "reinforce.py"]


def test_it_is_listed_and_may_be_launched(folder):
    code = ("from ant_rl import cli, stack\ncli.main(['train', '--list'])\n"
            "print(*(x.choices for x in stack.arguments_of('train') if x.name == 'algorithm'))\n"
            "print(stack.parse('train', {'algorithm': 'reinforce'})['algorithm'])")
    *listed, choices, chosen = python(folder, "-c", code).splitlines()
    assert "reinforce 16 returns alone" in [" ".join(line.split()) for line in listed]
    assert choices.startswith("('ppo', 'a2c', 'reinforce', 'ddpg', ") and chosen == "reinforce"


@pytest.mark.timeout(320)
def test_it_passes_what_every_method_must_without_being_named_there(folder):
    assert not [test for test in TESTS if "reinforce" in (folder / test).read_text()]
    report = folder / "report.xml"
    python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "-k", "reinforce", *TESTS)
    (suite,) = ElementTree.parse(report).getroot()
    assert int(suite.get("tests")) > 25 and suite.get("failures") == suite.get("errors") == suite.get("skipped") == "0"
    names = {case.get("name").partition("[")[0] for case in suite}
    assert {"test_the_identity_is_learned", "test_the_value_of_endless_reward_is_one_over_one_minus_gamma",
            "test_a_restored_run_equals_an_unbroken_one_bit_for_bit", "test_the_seed_decides_everything",
            "test_every_setting_changes_what_is_learned", "test_actors_of_every_method_act_as_in_litert",
            "test_a_method_shares_no_name_with_the_run_and_its_help_names_all"} <= names
