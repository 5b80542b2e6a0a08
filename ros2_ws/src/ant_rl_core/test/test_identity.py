"""Names that one process holds, and sessions that run beside each other."""

import os
import subprocess
import sys
import uuid

import pytest

from ant_rl_core.identity.names import (
    NODE,
    RUN,
    NameClaim,
    NameTakenError,
    RunClaim,
    domain_of,
    full_name,
    is_held,
    taken,
)
from ant_rl_core.identity.sessions import SessionLock

HOLDER = ("import sys; from ant_rl_core.identity.names import NameClaim; claim = NameClaim(*sys.argv[1:])\n"
          "print('held', flush=True); sys.stdin.read()")


@pytest.fixture
def name():
    """A name that no other test has."""
    return f"/test_{uuid.uuid4().hex}/env"


def test_a_name_is_held_by_one_process_until_it_ends_however_it_ends(name):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, NODE, "7", name], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        assert is_held(NODE, "7", name) and not is_held(RUN, "7", name)
        with pytest.raises(NameTakenError) as refused:
            NameClaim(NODE, "7", name)
        assert f"a node {name} runs in ROS domain 7 already (process {holder.pid})" in str(refused.value)
        assert "ROS_DOMAIN_ID=8 or namespace:=" in str(refused.value) and "\n" not in str(refused.value)
        for other in (("7", name + "2"), ("8", name)):
            NameClaim(NODE, *other).close()
        NameClaim(RUN, "7", name).close()
        with pytest.raises(NameTakenError, match=f"process {holder.pid}"), RunClaim("7", [name + "3", name]):
            pass
        assert not is_held(RUN, "7", name + "3"), "a refused run holds nothing"
    finally:
        holder.kill()
        holder.communicate()
    NameClaim(NODE, "7", name).close()


def test_a_run_holds_all_of_its_names(name):
    names = [name, name + "2"]
    with RunClaim("0", names):
        for each in names:
            with pytest.raises(NameTakenError, match=f"process {os.getpid()}"):
                RunClaim("0", [each])
            NameClaim(NODE, "0", each).close()  # its own nodes may have them
    RunClaim("0", names).close()


def test_asking_often_takes_nothing_away(name):
    claim = NameClaim(NODE, "0", name)
    for _ in range(300):
        with pytest.raises(NameTakenError, match="runs in ROS domain 0 already"):
            NameClaim(NODE, "0", name)
    claim.close()
    assert not is_held(NODE, "0", name)


@pytest.mark.parametrize(("variables", "domain"), [
    ({}, "0"), ({"ROS_DOMAIN_ID": ""}, "0"), ({"ROS_DOMAIN_ID": "042"}, "42"), ({"ROS_DOMAIN_ID": "x"}, "x")])
def test_the_domain_that_variables_name(variables, domain):
    assert domain_of(variables) == domain


def test_names_and_sentences():
    assert full_name("/a/", "env") == full_name("a", "env") == "/a/env" and full_name("", "env") == "/env"
    assert taken("100", "/env", 5, "pi").startswith(
        "a node /env runs in ROS domain 100 already (process 5, on pi): stop it first, or give this run a domain or a "
        "namespace of its own, such as ROS_DOMAIN_ID=1 ")


def admitted(lock, sessions):
    return "".join("x" if lock.admit(ord(each)) else "." for each in sessions)


def test_a_new_session_takes_over_at_once():
    lock = SessionLock()
    assert admitted(lock, "aaabbccc") == "xxxxxxxx" and lock.rival is None


def test_of_two_that_run_beside_each_other_the_first_is_followed():
    lock = SessionLock()
    assert admitted(lock, "aaabababbbaab") == "xxxxx.x...xx."
    assert (lock.session, lock.rival) == (ord("a"), ord("b"))
    assert admitted(lock, "cc") == "xx", "the first was reset"
    assert admitted(lock, "bcb") == ".x."


def test_the_second_is_followed_once_the_first_is_silent():
    lock = SessionLock()
    admitted(lock, "aba")
    assert admitted(lock, 19 * "b") == 19 * "." and admitted(lock, "a") == "x"
    assert admitted(lock, 19 * "b" + "b" + "bb") == 19 * "." + "xxx"
    assert admitted(lock, "a" + "b") == ".x"
