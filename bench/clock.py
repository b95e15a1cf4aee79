"""The time, when all work that was begun is done."""

import time

import torch


def now() -> float:
    """Seconds; a GPU is waited for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
