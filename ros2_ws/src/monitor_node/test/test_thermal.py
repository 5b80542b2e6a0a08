"""Texts of /sys, whole and damaged, and made-up trees of them."""

import math

import pytest

from monitor_node import thermal
from monitor_node.thermal import FREQUENCY_CAPPED, SOFT_TEMPERATURE_LIMIT, THROTTLED, UNDER_VOLTAGE, Host, Throttling

PI_4 = "soc/soc:firmware"
PI_5 = "soc@107c000000/soc@107c000000:firmware"


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def policy(index, current, limit, maximum):
    folder = f"devices/system/cpu/cpufreq/policy{index}"
    return {f"{folder}/scaling_cur_freq": current, f"{folder}/scaling_max_freq": limit,
            f"{folder}/cpuinfo_max_freq": maximum}


def assert_unknown(host):
    assert all(map(math.isnan, (host.temperature, host.frequency, host.frequency_cap)))
    assert host.throttling is None


def test_hottest():
    assert thermal.hottest(["45000\n", "61250\n", "-273000", "", "garbage", "255000"]) == 61.25
    assert math.isnan(thermal.hottest([]))


@pytest.mark.parametrize("text, expected", [("1500000\n", 1500.0), ("600000", 600.0), ("1", 0.001)])
def test_megahertz(text, expected):
    assert thermal.megahertz(text) == expected


@pytest.mark.parametrize("text", ["", "\n", "<unknown>\n", "0", "-1500000", "1.5e6", "1_500_000", "15\n00", "9" * 20])
def test_what_is_no_frequency(text):
    assert math.isnan(thermal.megahertz(text))


def test_the_fastest_core_counts():
    assert thermal.highest_frequency(["600000", "<unknown>", "1800000"]) == 1800.0
    assert math.isnan(thermal.highest_frequency(["<unknown>"]))


def test_the_largest_cap_counts():
    assert thermal.frequency_cap([("1800000", "1800000")]) == 0.0
    assert thermal.frequency_cap([("1500000", "1500000"), ("900000", "1800000"), ("", "1800000")]) == 50.0
    assert math.isnan(thermal.frequency_cap([("1500000", "")]))
    assert math.isnan(thermal.frequency_cap([]))


@pytest.mark.parametrize("text, now, since_boot", [
    ("0\n", 0, 0),
    ("50005\n", UNDER_VOLTAGE | THROTTLED, UNDER_VOLTAGE | THROTTLED),
    ("0xe0008", SOFT_TEMPERATURE_LIMIT, FREQUENCY_CAPPED | THROTTLED | SOFT_TEMPERATURE_LIMIT),
    ("20002", FREQUENCY_CAPPED, FREQUENCY_CAPPED),
    ("FFFFFFFF", 15, 15),
    ("fff0fff0", 0, 0),
])
def test_bits_of_the_firmware(text, now, since_boot):
    assert thermal.parse_throttled(text) == Throttling(now, since_boot)


@pytest.mark.parametrize("text", ["", "\n", "throttled=0x0", "xyz", "-1", "0x", "1_0", "1 2", "123456789"])
def test_what_is_no_word_of_the_firmware(text):
    assert thermal.parse_throttled(text) is None


def test_conditions_in_words():
    assert thermal.conditions(0) == "none"
    assert thermal.conditions(UNDER_VOLTAGE | SOFT_TEMPERATURE_LIMIT) == "under-voltage, soft temperature limit"
    assert thermal.conditions(FREQUENCY_CAPPED | THROTTLED) == "frequency capped, throttled"


@pytest.mark.parametrize("firmware", [PI_4, PI_5])
def test_a_raspberry_pi(tmp_path, firmware):
    write(tmp_path, {"class/thermal/thermal_zone0/temp": "81500\n", "class/thermal/thermal_zone1/temp": "40000\n",
                     f"devices/platform/{firmware}/get_throttled": "e000e\n",
                     **policy(0, "1000000\n", "1200000\n", "1500000\n")})
    found = thermal.read_host(tmp_path)
    assert (found.temperature, found.frequency) == (81.5, 1000.0)
    assert found.frequency_cap == pytest.approx(20.0)
    assert found.throttling == Throttling(14, 14)


def test_a_computer_that_tells_nothing(tmp_path):
    assert_unknown(thermal.read_host(tmp_path))
    assert_unknown(thermal.read_host(tmp_path / "none"))
    assert_unknown(Host())


def test_damaged_files(tmp_path):
    noise = b"\xff\xfe\x00"
    write(tmp_path, {"class/thermal/thermal_zone0/temp": noise, f"devices/platform/{PI_4}/get_throttled": noise,
                     **policy(0, noise, noise, noise)})
    assert_unknown(thermal.read_host(tmp_path))


def test_files_that_answer_with_an_error(tmp_path):
    for name in ("class/thermal/thermal_zone0/temp", f"devices/platform/{PI_4}/get_throttled", *policy(0, "", "", "")):
        (tmp_path / name).mkdir(parents=True)
    assert_unknown(thermal.read_host(tmp_path))


def test_a_policy_without_a_limit_says_nothing_of_the_cap(tmp_path):
    write(tmp_path, {**policy(0, "1400000", "1500000", "1500000"), **policy(1, "900000", "1000000", "2000000")})
    (tmp_path / "devices/system/cpu/cpufreq/policy1/scaling_max_freq").unlink()
    found = thermal.read_host(tmp_path)
    assert (found.frequency, found.frequency_cap) == (1400.0, 0.0)


def test_this_computer_is_read():
    assert isinstance(thermal.read_host(), Host)
