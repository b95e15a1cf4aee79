"""Our code against what published code computes, on vectors that it left.

    python -m tests.parity hvpnet FOLDER
    python -m tests.parity grounding FOLDER
    python -m tests.parity mega FOLDER
    python -m tests.parity umt FOLDER
    python -m tests.parity umgf FOLDER

FOLDER is a set such as `shared/golden/hvpnet/set_a`. Prints the largest difference of each
quantity, and ends with 1 where one is too large.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tests.parity.differences import Differences
from tests.parity.grounding import grounding
from tests.parity.hvpnet import hvpnet
from tests.parity.mega import mega
from tests.parity.umgf import umgf
from tests.parity.umt import umt

SETS: dict[str, Callable[[Path], Differences]] = {
    "hvpnet": hvpnet,
    "grounding": grounding,
    "mega": mega,
    "umt": umt,
    "umgf": umgf,
}


def main(arguments: list[str] | None = None) -> int:
    """Compare one set; 0 where all is within the tolerances."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("kind", choices=SETS)
    parser.add_argument("folder", type=Path, help="a set of vectors, such as …/hvpnet/set_a")
    asked = parser.parse_args(arguments)
    if not (asked.folder / "meta.json").is_file():
        parser.error(f"{asked.folder}: expected a set of vectors, found no meta.json in it")
    found = SETS[asked.kind](asked.folder.absolute())
    print("\n".join(found.lines()))
    return 1 if found.too_large() else 0


if __name__ == "__main__":
    sys.exit(main())
