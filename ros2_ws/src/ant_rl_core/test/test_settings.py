"""Settings from `key:=value`: types, bounds, defaults, and sentences for what doesn't fit."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import pytest

from ant_rl_core import settings
from ant_rl_core.settings import ArgumentError, Settings, changed, setting, settings_of


@dataclass(frozen=True)
class Base(Settings):
    """What examples share."""

    count: int = setting(3, "a whole number")


@dataclass(frozen=True)
class Example(Base):
    """Every type that a setting can have, one of them of the base."""

    rate: float = setting(0.5, "a number")
    flag: bool = setting(False, "yes or no")
    other: bool = setting(True, "yes or no")
    sizes: tuple[int, ...] = setting((64, 64), "sizes")
    name: str = setting("x", "text")


@dataclass(frozen=True)
class Bounded(Settings):
    """Every way to bound a setting."""

    least: int = setting(1, "a count", minimum=1)
    most: float = setting(0.0, "a number", maximum=2.5)
    span: float = setting(0.5, "a share", minimum=0.1, maximum=1)
    discount: float = setting(0.9, "a share", minimum=0, below=1)
    positive: float = setting(1.0, "a period", unit="s", above=0)
    share: float = setting(1.0, "a share", above=0, maximum=1)
    inside: float = setting(0.0, "a number", above=-1, below=1)
    under: float = setting(0.0, "a number", below=4)
    over: float = setting(3.0, "a number", above=2)
    number: float = setting(0.0, "any number")
    clip: float = setting(math.inf, "no bound unless given", above=0, finite=False)
    sizes: tuple[int, ...] = setting((8,), "sizes", minimum=1)
    critics: int = setting(1, "a choice", choices=(1, 2))
    mode: str = setting("lockstep", "a choice", choices=("lockstep", "realtime"))


@dataclass(frozen=True)
class Narrower(Bounded):
    """Another default, and rules that join settings."""

    least: int = changed(2)
    span: float = changed(0.25)

    def rules(self) -> Iterator[tuple[bool, str]]:
        yield from super().rules()
        yield self.least >= self.critics, "least must be at least critics"
        yield self.mode == "lockstep" or self.span > 0.2, "span must be above 0.2 in realtime"


@pytest.mark.parametrize(("text", "value"), [
    ("count:=10_000_000", 10_000_000), ("count:=-2", -2), ("rate:=3e-4", 3e-4), ("rate:=1_000", 1000.0),
    ("flag:=true", True), ("other:=False", False), ("sizes:=8", (8,)), ("sizes:=8,9", (8, 9)),
    ("sizes:=[8, 9]", (8, 9)), ("sizes:=(8,)", (8,)), ("sizes:=", ()), ("name:=a_b", "a_b"), ("name:=", "")])
def test_values_are_parsed_by_the_type_of_their_field(text, value):
    name, _, given = text.partition(":=")
    (built,) = settings.build([Example], {name: given})
    found = getattr(built, name)
    assert found == value and type(found) is type(value)
    assert all(getattr(built, f.name) == f.default for f in fields(Example) if f.name != name)


@pytest.mark.parametrize(("name", "text", "expected"), [
    ("count", "1.5", "count must be a whole number, found '1.5'"), ("count", "", "a whole number"),
    ("rate", "fast", "rate must be a number, found 'fast'"), ("flag", "1", "flag must be true or false, found '1'"),
    ("sizes", "64;64", "numbers such as 64,64, found '64;64'"), ("sizes", "1.5", "numbers such as")])
def test_a_value_of_another_type_is_refused(name, text, expected):
    with pytest.raises(ArgumentError, match=expected):
        settings.build([Example], {name: text})


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(ArgumentError, match="unknown argument 'critic'.*'critics'"):
        settings.build([Example, Bounded], {"critic": "1"})
    with pytest.raises(ArgumentError, match="unknown argument ''"):
        settings.build([Example], {"": "1"})


@pytest.mark.parametrize("config", [Example, Bounded, Narrower])
def test_what_is_described_builds_the_defaults_and_every_field_has_a_description(config):
    described = settings.describe(config)
    assert [name for name, _, _ in described] == [field.name for field in fields(config)]
    assert all(len(meaning) > 4 for _, _, meaning in described)
    (built,) = settings.build([config], {name: default for name, default, _ in described})
    assert built == config()


def test_descriptions_have_the_unit_and_become_lines_of_help():
    meanings = {name: meaning for name, _, meaning in settings.describe(Narrower)}
    assert meanings["least"] == "a count." and meanings["positive"] == "a period [s]."
    assert settings.help_lines(Base) == ["  count:=3", "        a whole number."]
    assert settings.help_lines(Narrower, 14)[:4] == ["  least:=2", "        a", "        count.", "  most:=0.0"]


@pytest.mark.parametrize(("name", "allowed", "refused", "sentence"), [
    ("least", [1, 10**9], [0, -3], "be at least 1"),
    ("most", [2.5, -1e9, 2], [2.6, math.nan, math.inf, -math.inf], "be at most 2.5"),
    ("span", [0.1, 1, 1.0], [0.09, 1.01, math.nan], "be from 0.1 to 1"),
    ("discount", [0, 0.999], [1.0, -0.1, math.nan], "be from 0 to below 1"),
    ("positive", [1e-9, 1e9], [0.0, -1.0, math.nan, math.inf], "be positive"),
    ("share", [1.0, 1e-9], [0.0, 1.1], "be above 0 and at most 1"),
    ("inside", [-0.9, 0.9], [-1.0, 1.0], "be above -1 and below 1"),
    ("under", [3.9, -1e9], [4.0, -math.inf], "be below 4"),
    ("over", [2.1], [2.0], "be above 2"),
    ("number", [-1e300, 0], [math.nan, math.inf], "be a finite number"),
    ("clip", [math.inf, 1.0], [0.0, math.nan], "be positive"),
    ("sizes", [(), (1, 2), [3]], [(0,), (5, -1)], "hold sizes of at least 1"),
    ("critics", [1, 2], [3, 0], "be 1 or 2"),
    ("mode", ["realtime"], ["fast", ""], "be lockstep or realtime")])
def test_bounds_and_choices(name, allowed, refused, sentence):
    for value in allowed:
        found = getattr(Bounded(**{name: value}), name)
        assert found == (tuple(value) if isinstance(value, list) else value)
    for value in refused:
        with pytest.raises(ArgumentError) as caught:
            Bounded(**{name: value})
        assert str(caught.value) == f"{name} must {sentence}, found {value!r}"


@pytest.mark.parametrize(("name", "value", "sentence"), [
    ("count", 1.0, "count must be a whole number, found 1.0"),
    ("count", True, "count must be a whole number, found True"),
    ("count", None, "count must be a whole number, found None"), ("rate", "1", "rate must be a number, found '1'"),
    ("rate", False, "rate must be a number, found False"), ("flag", 1, "flag must be true or false, found 1"),
    ("sizes", 8, "sizes must hold whole numbers, found 8"),
    ("sizes", "88", "sizes must hold whole numbers, found '88'"),
    ("sizes", (8.0,), r"sizes must hold whole numbers, found \(8.0,\)"), ("name", 3, "name must be a text, found 3")])
def test_a_value_of_another_type_is_refused_where_a_class_is_made(name, value, sentence):
    with pytest.raises(ArgumentError, match=f"^{sentence}$"):
        Example(**{name: value})


def test_values_have_the_type_of_their_setting():
    made = Example(rate=2, sizes=[1, 2])
    assert type(made.rate) is float and made == Example(rate=2.0, sizes=(1, 2))


def test_a_changed_default_keeps_what_else_is_said():
    found, of_base = ({each.name: each for each in settings_of(cls)} for cls in (Narrower, Bounded))
    assert list(found) == list(of_base)
    assert found["least"] == replace(of_base["least"], default=2) and found["span"].default == 0.25
    assert Narrower().least == 2 and Narrower(least=1) == Narrower(least=1)
    with pytest.raises(ArgumentError, match="^least must be at least 1, found 0$"):
        Narrower(least=0)
    assert Bounded().least == 1 and of_base["least"].default == 1


def test_a_field_of_which_nothing_is_said_is_a_mistake():
    @dataclass(frozen=True)
    class Bare(Settings):
        size: int = 3

    with pytest.raises(TypeError, match=r"Bare.size must be made with setting\(\)"):
        Bare()
    with pytest.raises(TypeError, match="minium"):
        setting(3, "a count", minium=1)


def test_rules_that_join_settings_come_after_the_bounds_of_each():
    Narrower(critics=2, mode="realtime")
    for given, sentence in (({"least": 1, "critics": 2}, "least must be at least critics, found 1"),
                            ({"mode": "realtime", "span": 0.2}, "span must be above 0.2 in realtime, found 0.2"),
                            ({"least": 0, "critics": 2}, "least must be at least 1, found 0")):
        with pytest.raises(ArgumentError, match=f"^{sentence}$"):
            Narrower(**given)


def test_an_argument_out_of_bounds_is_refused_as_the_value_is():
    with pytest.raises(ArgumentError, match="^share must be above 0 and at most 1, found 1.5$"):
        settings.build([Example, Narrower], {"share": "1.5", "count": "4"})
    example, narrower = settings.build([Example, Narrower], {"share": "0.5", "count": "4", "clip": "inf"})
    assert example == Example(count=4) and narrower == Narrower(share=0.5, clip=math.inf)


@dataclass(frozen=True)
class Paths(Settings):
    """A path, and a text that is none."""

    output: str = setting("", "a file", path=True)
    title: str = setting("", "a text")


def test_a_path_may_begin_with_a_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for given, expected in (("~/runs/a", "/home/me/runs/a"), ("~", "/home/me"), ("~root/x", "/root/x"), ("a~b", "a~b"),
                            ("./~/x", "./~/x"), ("", "")):
        assert Paths(output=given).output == expected
        (built,) = settings.build([Paths], {"output": given, "title": given})
        assert (built.output, built.title) == (expected, given)
        assert replace(built, output=given).output == expected  # as a node does whose parameter is set
    with pytest.raises(ArgumentError) as caught:
        Paths(output="~no_such_user/x")
    assert str(caught.value) == ("output must begin with the home of a user where it begins with ~, found "
                                 "'~no_such_user/x'; a file of that name is ./~no_such_user/x")
