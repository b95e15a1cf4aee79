"""A clock that first waits for the GPU."""

import time

import torch


def now() -> float:
    """Return the time in seconds, once the GPU, if any, has finished all queued work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
