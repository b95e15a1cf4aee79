"""The order of the tests: slow files first, so that parallel workers end at the same time.

pytest-xdist would start files of few tests last, as `test_crash.py` is, which takes a minute.
"""

import pytest

SLOW = (  # slowest first
    "tests/test_crash.py",
    "tests/pipeline/training/test_tasks.py",
    "tests/pipeline/prediction",  # together: they share trained runs
    "tests/test_staleness.py",
    "tests/test_stages.py",
    "tests/pipeline/grounding/test_tasks.py",
    "tests/pipeline/training/test_train.py",
    "tests/pipeline/experiments",
    "tests/test_docs.py",
    "tests/test_import.py",
    "tests/pipeline/engine/test_prune.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the tests of SLOW to the front, in its order."""

    def rank(item: pytest.Item) -> int:
        return next((n for n, path in enumerate(SLOW) if item.nodeid.startswith(path)), len(SLOW))

    items.sort(key=rank)
