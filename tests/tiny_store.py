"""Small shards for tests, of random rows."""

from pathlib import Path

import numpy as np

from features.store import write_shard


def some(n: int, seed: int = 0, channels: int = 8) -> tuple[list[bytes], np.ndarray]:
    draw = np.random.default_rng(seed)
    keys = [draw.bytes(32) for _ in range(n)]
    return keys, draw.normal(size=(n, channels, 2, 2)).astype(np.float16)


def one_shard(folder: Path, n: int = 5) -> tuple[Path, list[bytes], np.ndarray]:
    keys, rows = some(n)
    return folder / write_shard(folder, keys, rows), keys, rows


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)
