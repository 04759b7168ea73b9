"""The benchmarks run and report well-formed figures. No timing is judged here."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = ("logging", "hypercall", "protection")
SMALL = {"protection": ("--scale", "0.02")}
LINKED = [f"{way}, {rate} Gbit/s" for way in ("upload", "download") for rate in (1, 10)]
SIZES = {64, 256, 1024, 1460, 4096, 16384, 65536}
WORK = (
    "xen_version",
    "event, send to delivery",
    "grant, map and unmap",
    "multicall, of 64, an entry",
    "update_va_mapping",
    "domain, create and destroy",
)
COMPARISONS = {
    "logging": {
        ("append in cache", "memcpy"),
        ("append in memory", "memcpy"),
        ("append in memory", "unix"),
        ("append in memory", "tcp"),
        ("append in memory", "window"),
        ("ingress in cache", "memcpy"),
        ("ingress in memory", "memcpy"),
    },
    "hypercall": {
        ("C xe_hypercall", "C syscall(getppid)"),
        ("C xen_version, virtual", "C syscall(getppid)"),
        ("C xen_version, virtual", "C indirect call, struct of 64 bytes"),
        *((f"C {work}, 1000 domains", "3 domains") for work in WORK),
        ("Python Machine.hypercall, virtual", "Cython no-op method"),
        ("Python Machine.hypercall, real", "Cython no-op method"),
        ("Python Machine.hypercall, virtual", "cffi call"),
        ("Python Machine.hypercall, virtual", "os.getppid"),
    },
    "protection": {
        ("upload, memory", "off"),
        ("download, memory", "off"),
        *((name, "off") for name in LINKED),
        *((f"{name}, cpu", "off") for name in LINKED),
        ("checksum", "copy"),
        ("crc32c", "copy"),
        ("crc32c and copy", "copy"),
        ("ssw, data in", "copy"),
        ("ssw, data out", "copy"),
        ("nsw, record of a read", "copy"),
    },
}


def bench(name: str, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bench" / f"bench_{name}.py"), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("name", NAMES)
def test_json(name: str) -> None:
    done = bench(name, "--pairs", "3", "--json", *SMALL.get(name, ()))
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["bench"] == name
    assert COMPARISONS[name] <= {(r["what"], r["against"]) for r in report["results"]}
    for result in report["results"]:
        ratio = result["ratio"]
        assert result["pairs"] == 3
        assert all(math.isfinite(v) and v > 0 for v in ratio.values())
        assert ratio["min"] <= ratio["q1"] <= ratio["median"] <= ratio["q3"] <= ratio["max"]
        assert ratio["min"] <= ratio["low"] <= ratio["median"] <= ratio["high"] <= ratio["max"]
        assert result["what_ns"] > 0 and result["against_ns"] > 0
    for aim in report["aims"]:
        assert aim["text"] and aim["worst"] and isinstance(aim["met"], bool)
    if name == "logging":
        sizes = {r["size"] for r in report["results"] if r["what"].startswith("append")}
        assert sizes == SIZES
    if name == "protection":
        assert isinstance(report["instructions_counted"], bool)
        assert set(report["per_byte_ns"]["added"]) == {"upload", "download"}
        assert all(report["per_byte_ns"]["parts"][way] for way in ("upload", "download"))


def test_recovery() -> None:
    histories = ("--files", "1", "3", "--requests", "1", "4")
    done = bench(
        "recovery", "--connections", "1", "40", "--runs", "2", "--log", "16", "--json", *histories
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert [(r["connections"], r["kind"]) for r in report["results"]] == [
        (n, kind) for n in (1, 40) for kind in ("app", "kernel")
    ]
    for result in report["results"]:
        steps = {name: spread["median"] for name, spread in result["steps"].items()}
        assert set(steps) == {
            "detection", "switch", "remap", "replay", "first byte", "answered", "total",
        }  # fmt: skip
        assert all(value > 0 for value in steps.values())
        assert steps["detection"] < steps["first byte"] <= steps["answered"]
        assert steps["remap"] + steps["replay"] < steps["total"]
    assert {aim["text"].split()[0] for aim in report["aims"]} == {"a"}  # of histories; no 1000
    lengths = [("files", 1), ("files", 3), ("requests", 1), ("requests", 4)]
    lengths += [("requests, plain", 1), ("requests, plain", 4)]
    long = {(r["history"], r["length"], r["kind"]): r for r in report["histories"]}
    assert set(long) == {(*each, kind) for each in lengths for kind in ("app", "kernel")}
    for result in long.values():
        steps = {name: spread["median"] for name, spread in result["steps"].items()}
        assert 0 < steps["first byte"] <= steps["answered"]
        if result["length"] == 1:
            assert result["ratio"]["min"] == result["ratio"]["max"] == 1


def test_ftp_replays_what_was_pending() -> None:
    """Each client has had two files before, which are not fetched again."""
    done = bench(
        "ftp", "--clients", "5", "--size", "200000", "--before", "2", "--only", "virtual", "--json"
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    (run,) = report["results"]
    assert run["pending"] == run["fed"] == 5
    assert 0 < run["resumed"] <= run["total"]
    assert [aim["met"] for aim in report["aims"]] == [True]


def test_ftp_of_real_clients() -> None:
    done = bench(
        "ftp", "--clients", "3", "--size", "4000000", "--only", "real", "--runs", "2", "--json"
    )
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["results"]
    assert 0 < run["fed"] <= run["pending"] <= 6  # what has just ended counts as pending
    assert 0 < run["resumed"]["min"] <= run["resumed"]["max"]


def test_through_the_proxy() -> None:
    done = bench(
        "transfer", "--through", "proxy", "--sizes", "100000", "--times", "3", "--start", "0.2",
        "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    found = {(r["fault"], r["recovery"]): r for r in report["results"]}
    assert set(found) == {(f, way) for f in ("10 KB", "half") for way in ("backup", "same")}
    for (_, way), row in found.items():
        assert row["times"] == row["whole"] == row["connections"] == row["requests"] == 3
        assert row["start"] == (pytest.approx(200, abs=1) if way == "same" else 0)
        assert row["added"]["min"] > 0
    assert [aim["met"] for aim in report["aims"]] == [True]


def test_transfer() -> None:
    done = bench("transfer", "--sizes", "50000", "--runs", "2", "--start", "0.2", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["results"]
    one = {(r["fault"], r["recovery"]): r for r in rows if "fault" in r}
    assert len(one) == 5
    for fault in ("10 KB", "half"):
        backup, same = one[fault, "backup"], one[fault, "same"]
        assert 0 < backup["added"] < same["added"] < same["start"] + 50
        assert backup["start"] == 0 and same["start"] == pytest.approx(200, abs=1)
    real = {r["recovery"]: r for r in rows if "runs" in r}
    assert real["backup"]["start"]["median"] == 0
    assert 0 < real["same"]["start"]["median"] < real["same"]["total"]["median"]


def test_sweep() -> None:
    done = bench(
        "sweep", "--scenarios", "get", "--faults", "4", "--jobs", "1", "--pairs", "2", "--json"
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert [(r["what"], r["against"]) for r in report["results"]] == [("get, 1 jobs", "1 job")]
    rate = report["rates"]["get"]
    assert rate["jobs"] == 1
    assert rate["points_per_second_and_core"] > 0 and rate["with_one_job"] > 0


def test_sweep_says_what_fails() -> None:
    done = bench("sweep", "--scenarios", "no-such", "--pairs", "2")
    assert done.returncode == 1 and "no-such" in done.stderr


def test_recovery_refuses() -> None:
    for wrong in (["--connections", "0"], ["--log", "3"], ["--runs", "1"]):
        done = bench("recovery", *wrong)
        assert done.returncode == 2 and wrong[0] in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_help_and_wrong_arguments(name: str) -> None:
    done = bench(name, "--help")
    assert done.returncode == 0 and "--pairs" in done.stdout
    done = bench(name, "--pairs", "1")
    assert done.returncode == 2 and "at least 2" in done.stderr


def test_table_states_the_aims() -> None:
    done = bench("hypercall", "--pairs", "2")
    assert done.returncode == 0, done.stderr
    assert "median" in done.stdout and "95 %" in done.stdout and "quartiles" in done.stdout
    verdicts = [line for line in done.stdout.splitlines() if line.startswith("aim: ")]
    assert len(verdicts) == 3
    assert all(": met, " in verdict or ": MISSED, " in verdict for verdict in verdicts)


@pytest.mark.parametrize(("n", "outside"), [(2, 0), (5, 0), (6, 0), (9, 1), (20, 5), (30, 9)])
def test_interval_of_the_median_leaves_out(n: int, outside: int) -> None:
    """Against the tables of the sign test at 5 %, two-sided."""
    command = f"import common; print(common.outside_interval({n}))"
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, cwd=ROOT / "bench"
    )
    assert done.stdout.split() == [str(outside)], done.stderr
