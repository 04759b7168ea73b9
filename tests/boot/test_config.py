"""Sizes and forwards as the command line gives them."""

import math

import pytest

from xenemu.boot import BootConfig, Forward, parse_forward, parse_keep, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("65536", 65536), ("64K", 65536), ("64M", 64 << 20), ("1g", 1 << 30), ("2MiB", 2 << 20)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1M", "1.5G", "64X", "0x10", "\u0661M"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


def test_forward() -> None:
    assert parse_forward("8080:80") == Forward(8080, 80)


@pytest.mark.parametrize("text", ["8080", "a:80", "8080:0", "65536:80", "80:65536", ":", "1:2:3"])
def test_bad_forwards(text: str) -> None:
    with pytest.raises(ValueError):
        parse_forward(text)


@pytest.mark.parametrize(
    "changes",
    [{"log": 0}, {"log": 3 << 20}, {"log": 16 << 30}, {"primary_memory": 4096},
     {"control_memory": (64 << 20) + 1}],
)  # fmt: skip
def test_impossible_memory(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        BootConfig(**changes)


@pytest.mark.parametrize(
    ("text", "seconds"), [("600", 600.0), ("0.5", 0.5), ("no", 0.0), ("forever", math.inf)]
)
def test_how_long_to_keep(text: str, seconds: float) -> None:
    assert parse_keep(text) == seconds
    config = BootConfig(keep_faulty=seconds)
    assert config.keep_ns == (None if text == "forever" else int(seconds * 1e9))


@pytest.mark.parametrize("text", ["", "never", "-1", "nan", "inf", "1e12"])
def test_bad_times_to_keep(text: str) -> None:
    with pytest.raises(ValueError, match="forever"):
        parse_keep(text)
    with pytest.raises(ValueError, match="kept"):
        BootConfig(keep_faulty=math.nan)
