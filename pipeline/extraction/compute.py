"""Pixels -> rows, by one backbone on one device. Knows no store: prediction computes rows too."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from features.backbone import Backbone, load_backbone
from features.folded import Folded
from features.pictures import Box, PictureError, Preparation, normalise, read_picture, square
from features.pyramid import pool
from pipeline.extraction.config import ExtractConfig
from pipeline.machine import BFLOAT16, Machine, pick_device

BATCHES = {"cpu": 8, "cuda": 128}  # more don't fit a CPU's cache: a third slower at 32

Square = tuple[bytes, np.ndarray | None]  # key, (S, S, 3) uint8; None: an all-zero input
Open = Callable[[Path], tuple[Image.Image, float]]  # a picture, the share of its data filled
Keyed = tuple[list[bytes], np.ndarray]  # N keys, rows (N, ΣC, h, w) float16


@dataclass(frozen=True)
class Wanted:
    """The rows to compute from one picture.

    boxes: the name of each row -> a box in the picture (pixels), or None for the whole picture.
    file: None asks for the row of an all-zero input, after normalisation.
    """

    file: Path | None
    boxes: dict[bytes, Box | None]


@dataclass(frozen=True)
class Decoded:
    """A picture's prepared pixels.

    problem: why some or all are missing, if they are. filled: share of the file's data that was
    missing and is filled.
    """

    squares: list[Square]
    problem: str | None = None
    filled: float = 0.0


class RowComputer:
    """Computes rows: a backbone's blocks, pooled and joined."""

    def __init__(self, config: ExtractConfig, machine: Machine) -> None:
        """Raises WeightsError, DeviceError."""
        self.config = config
        self.device = torch.device(pick_device(machine.device))
        self.batch_size = machine.batch_size or BATCHES[self.device.type]
        self.threads = machine.threads
        self.preparation = Preparation(config.resize, config.size)
        dtype = torch.bfloat16 if config.precision == BFLOAT16 else torch.float32
        backbone = load_backbone(config.backbone, config.weights, config.seed)
        self.backbone = Folded(backbone, dtype).to(self.device)

    def rows(
        self,
        wanted: Iterable[Wanted],
        problems: dict[Path, str],
        filled: dict[Path, float],
        open_file: Open = read_picture,
        span: int | None = None,
    ) -> Iterator[Keyed]:
        """Rows in the order asked for, a batch at a time.

        problems: gets the reason for each file, or box in it, that cannot be used; it has no row.
        filled: gets the share of the data that was missing in each file that was filled. open_file:
        is called in threads. span: no batch reaches over a multiple of so many rows, so that a run
        that goes on from there makes the batches it would have made.
        """
        squares = self._squares(wanted, problems, filled, open_file)
        return self._forward(self._batches(squares, span))

    def _squares(
        self,
        wanted: Iterable[Wanted],
        problems: dict[Path, str],
        filled: dict[Path, float],
        open_file: Open,
    ) -> Iterator[Square]:
        """Prepared pixels in order. Threads decode, each picture once, a few pictures ahead.

        On a CPU they decode in turns with the forward pass, which wants the same cores (on two of
        them that is faster by an eighth: a convolution waits for the slower half).
        """
        in_turns = self.device.type == "cpu"
        waiting = iter(wanted)
        ahead: deque[tuple[Wanted, Future[Decoded]]] = deque()
        with ThreadPoolExecutor(self.threads) as executor:
            while True:
                if not (in_turns and ahead):
                    for one in islice(waiting, 4 * self.threads - len(ahead)):
                        ahead.append((one, executor.submit(self._decode, one, open_file)))
                    if in_turns:
                        wait([future for _, future in ahead])
                if not ahead:
                    return
                one, future = ahead.popleft()
                decoded = future.result()
                if one.file is not None and decoded.problem is not None:
                    problems[one.file] = decoded.problem
                if one.file is not None and decoded.filled:
                    filled[one.file] = decoded.filled
                yield from decoded.squares

    def _decode(self, wanted: Wanted, open_file: Open) -> Decoded:
        if wanted.file is None:
            return Decoded([(key, None) for key in wanted.boxes])
        try:
            picture, filled = open_file(wanted.file)
        except PictureError as error:
            return Decoded([], f"{error.kind}: {error.reason}")
        squares: list[Square] = []
        problem = None
        for key, box in wanted.boxes.items():
            try:
                squares.append((key, square(picture, box, self.preparation)))
            except PictureError as error:  # a bad box costs only itself
                problem = f"crop: {error}"
        return Decoded(squares, problem, filled)

    def _batches(
        self, squares: Iterator[Square], span: int | None
    ) -> Iterator[tuple[list[bytes], Tensor, list[int]]]:
        """Keys, squares (N, S, S, 3) uint8, and the numbers of the all-zero inputs among them."""
        size = self.config.size
        nothing = np.zeros((size, size, 3), np.uint8)
        left = span or self.batch_size
        while batch := list(islice(squares, min(self.batch_size, left))):
            left = (left - len(batch)) or span or self.batch_size
            zero = [n for n, (_, pixels) in enumerate(batch) if pixels is None]
            stacked = np.stack([nothing if pixels is None else pixels for _, pixels in batch])
            yield [key for key, _ in batch], torch.from_numpy(stacked), zero

    @torch.inference_mode()
    def _forward(self, batches: Iterable[tuple[list[bytes], Tensor, list[int]]]) -> Iterator[Keyed]:
        """A GPU works on a batch while the one before is fetched and the next one is made."""
        before: tuple[list[bytes], Tensor] | None = None
        for keys, squares, zero in batches:
            if self.device.type == "cuda":
                squares = squares.pin_memory().to(self.device, non_blocking=True)
            pixels = normalise(squares)
            if zero:
                pixels[zero] = 0
            rows = pool(self.backbone(pixels), self.config.grid, self.config.pooling).half()
            if before is not None:
                yield before[0], before[1].cpu().numpy()
            before = keys, rows
        if before is not None:
            yield before[0], before[1].cpu().numpy()


def maps_of(backbone: Backbone, pixels: Tensor, config: ExtractConfig) -> Tensor:
    """Pixels (N, 3, S, S) -> pyramids (N, ΣC, h, w) float32, in the extraction's own precision."""
    low = config.precision == BFLOAT16
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=low):
        blocks = backbone(pixels)
    return pool(blocks, config.grid, config.pooling)
