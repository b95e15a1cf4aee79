"""Compare the speed and memory of two ways of doing the same work: `python -m bench [NAME …]`.

All measures run by default, each in its own process, and the two ways take turns. The median ratio
and the runs are written by name to `bench/results.json`; entries of measures that are not run stay.
`--device cuda` measures training and extraction on a GPU.
"""

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.engine.files import write_json
from pipeline.engine.versions import versions

RESULTS = Path(__file__).parent / "results.json"
# Goals for the ratios: lower bounds for rates, upper bounds for costs.
AT_LEAST = {
    "train_fp32": 7.0,
    "train_bf16": 16.0,
    "prefix_cost": 0.95,
    "knowledge_cost": 0.95,
    "systems": 0.5,
    "whole_job": 12.0,
    "extract": 0.9,
    "extract_fp32": 0.9,
    "read_warm": 0.95,
    "read_cold": 0.95,
    "predict": 0.85,
}
AT_MOST = {
    "crf_share": 0.05,
    "noop": 3.0,
    "memory_train": 1.1,
    "memory_extract": 1.1,
    "memory_predict": 1.1,
}
ON_A_GPU = {"prefix_cost": 0.95, "extract": 0.85}  # lower bounds
# The two sizes of input whose peak memory is compared, and their unit.
SIZES = {
    "memory_train": (9_000, 1_000, "pictures"),
    "memory_extract": (9_000, 1_000, "pictures"),
    "memory_predict": (20_000, 1_000, "posts"),
}


def measures() -> dict[str, Callable[..., dict[str, Any]]]:
    """Return the measures of two rates, by name; each takes the material and a device."""
    from bench import bookkeeping, extraction, prediction, reading, training

    return {
        "train_fp32": training.train_fp32,
        "train_bf16": training.train_bf16,
        "prefix_cost": training.prefix_cost,
        "knowledge_cost": training.knowledge_cost,
        "systems": training.systems,
        "whole_job": training.whole_job,
        "extract": extraction.extract_bf16,
        "extract_fp32": extraction.extract_fp32,
        "read_warm": reading.read_warm,
        "read_cold": reading.read_cold,
        "crf_share": training.crf_share,
        "noop": bookkeeping.train_noop,
        "predict": prediction.predict,
    }


def peaks() -> dict[str, Callable[..., int]]:
    """Return the measures of peak memory, by name; each takes the material, a size and a device."""
    from bench import extraction, prediction, training

    return {
        "memory_train": training.memory_train,
        "memory_extract": extraction.memory_extract,
        "memory_predict": prediction.memory_predict,
    }


def main() -> None:
    """Run the measures that the command line names."""
    names = [*AT_LEAST, *AT_MOST]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    # --in and --count are for child processes.
    parser.add_argument("--in", dest="root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(names):
        parser.error(f"no measure {', '.join(sorted(unknown))}; choose from {', '.join(names)}")
    if asked.root is not None:
        _measure(asked.names[0], asked.root, asked.device, asked.count)
        return
    wanted = asked.names or (list(ON_A_GPU) if asked.device == "cuda" else names)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results |= {"machine": _machine(), "versions": versions()}
    with tempfile.TemporaryDirectory(prefix="bench-") as root:
        for name in wanted:
            began = time.monotonic()
            result = _in_children(name, Path(root), asked.device)
            result |= {"seconds": round(time.monotonic() - began), "machine": results["machine"]}
            results[name if asked.device == "cpu" else f"{name}_{asked.device}"] = result
            write_json(RESULTS, results)
            print(_line(name, result, asked.device), flush=True)


def _in_children(name: str, root: Path, device: str) -> dict[str, Any]:
    """Run a measure in a child process; peak memory in two, one per size."""
    command = [sys.executable, "-m", "bench", name, "--in", str(root), "--device", device]
    if name not in peaks():
        return _result_of(command)
    most, least, things = SIZES[name]
    many, few = (_result_of([*command, "--count", str(n)])["bytes"] for n in (most, least))
    return {
        "ratio": many / few,
        "runs": [many / few],
        "ours": many / 2**20,
        "theirs": few / 2**20,
        "unit": "MiB",
        "what": f"peak private memory with {most:,} {things} : with {least:,}",
    }


def _result_of(command: list[str]) -> dict[str, Any]:
    """Run a command and parse its last line of output as JSON."""
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def _measure(name: str, root: Path, device: str, count: int | None) -> None:
    """Measure in a child process, and print the entry as one line of JSON."""
    from bench.material import Material

    logging.basicConfig(level=logging.INFO, format=f"{name}: %(message)s")
    logging.getLogger("pipeline").setLevel(logging.WARNING)
    if count is not None:
        result: dict[str, Any] = {"bytes": peaks()[name](Material(root), count, device)}
    else:
        measure = measures()[name]
        what = " ".join(str(measure.__doc__).split("\n\n")[0].split())
        result = {"what": what, **measure(Material(root), device)}
    print(json.dumps(result))


def _line(name: str, result: dict[str, Any], device: str) -> str:
    """Format a result for the terminal: ratio, goal, spread of the runs, medians, description."""
    at_least = AT_LEAST | ON_A_GPU if device == "cuda" else AT_LEAST
    least, most = at_least.get(name), AT_MOST.get(name)
    goal = f"≥ {least:g}" if least is not None else f"≤ {most:g}"
    ratio = result["ratio"]
    good = ratio >= least if least is not None else ratio <= (most or 0)
    spread = f"{min(result['runs']):.3g} to {max(result['runs']):.3g}"
    figures = f"{result['ours']:.4g} : {result['theirs']:.4g} {result['unit']}"
    verdict = "reached" if good else "missed"
    return f"{name:15}{ratio:8.3g}  {goal:7} {verdict:8} {spread:16} {figures:28} {result['what']}"


def _machine() -> dict[str, Any]:
    import torch

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "gpu": gpu,
        "system": f"{platform.system()} {platform.machine()}",
    }


if __name__ == "__main__":
    main()
