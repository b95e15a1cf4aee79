"""Test the parts of the benchmarks."""

import json
import mmap
import subprocess
import sys
import time

import pytest

from bench.__main__ import AT_LEAST, AT_MOST, measures, peaks
from bench.memory import EVERY, PeakMemory, anonymous
from bench.turns import entry, in_turns
from tests.cli import HOME


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    found = entry([1.0, 8.0, 9.0], [1.0, 2.0, 1.0])
    assert found == {"ratio": 4.0, "runs": [1.0, 4.0, 9.0], "ours": 8.0, "theirs": 1.0}


def test_both_are_measured_in_turns() -> None:
    clock = iter(range(1, 5))
    found = in_turns(lambda: float(next(clock)), lambda: float(next(clock)), rounds=2)
    assert found["runs"] == [1 / 2, 3 / 4]


def test_peak_of_private_memory_outlives_what_made_it() -> None:
    with PeakMemory() as peak:
        block = mmap.mmap(-1, 200_000_000, mmap.MAP_PRIVATE)  # malloc might keep it for later
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        most = anonymous()
        end = time.monotonic() + 60
        while peak.bytes < most - 50e6 and time.monotonic() < end:  # however slow the machine
            time.sleep(EVERY)
        block.close()
        time.sleep(3 * EVERY)
        assert anonymous() < most - 150e6
    assert peak.bytes > most - 50e6


def test_each_measure_has_a_goal() -> None:
    assert measures().keys() | peaks().keys() == AT_LEAST.keys() | AT_MOST.keys()


def test_unknown_measure_is_refused() -> None:
    command = [sys.executable, "-m", "bench", "speed"]
    run = subprocess.run(command, cwd=HOME, capture_output=True, text=True)
    assert run.returncode == 2
    assert "no measure speed; choose from train_fp32" in run.stderr


@pytest.mark.skipif(not (HOME / "bench/results.json").exists(), reason="nothing measured yet")
def test_results_name_machine_and_versions() -> None:
    found = json.loads((HOME / "bench/results.json").read_text())
    assert found["machine"]["cpu"]
    assert found["versions"]["torch"]
    for name in found.keys() - {"machine", "versions"}:
        assert {"ratio", "runs", "ours", "theirs", "unit", "what", "machine"} <= found[name].keys()
