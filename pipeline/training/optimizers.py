"""The optimizers of the recipes, and the schedules of their rates."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pipeline.training import config


class UncorrectedAdamW(Optimizer):
    """AdamW whose moments are not corrected for their start at zero, as in BERT's own code.

    Its first steps are up to 1 / sqrt(1 - β2) times larger than AdamW's. Weights decay after the
    step, by rate · decay.
    """

    max_norm: ClassVar[float | None] = None  # of each weight's gradient by itself; None: no limit
    decays_first: ClassVar[bool] = False  # decay the weights before the step

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make a step. closure: computes the loss anew, if given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            beta, gamma = group["betas"]
            kept = 1 - group["lr"] * group["weight_decay"]
            weights = [weight for weight in group["params"] if weight.grad is not None]
            for weight in weights:
                if self.max_norm is not None:
                    clip_grad_norm_(weight, self.max_norm)
                if self.decays_first:
                    weight.mul_(kept)
                state = self.state[weight]
                if not state:
                    state["mean"] = torch.zeros_like(weight)
                    state["square"] = torch.zeros_like(weight)
                state["mean"].lerp_(weight.grad, 1 - beta)
                state["square"].mul_(gamma).addcmul_(weight.grad, weight.grad, value=1 - gamma)
                root = state["square"].sqrt().add_(group["eps"])
                weight.addcdiv_(state["mean"], root, value=-group["lr"])
                if not self.decays_first:
                    weight.mul_(kept)
        return loss


class BertAdam(UncorrectedAdamW):
    """Adam as UMT's published code has it from BERT: w ← w - rate · (m / (√v + ε) + decay · w).

    The gradient of each weight is first clipped to norm 1 by itself.
    """

    max_norm = 1.0
    decays_first = True  # so that `decay · w` is of the weight before the step


def make_optimizer(
    name: str, groups: list[dict[str, Any]], rate: float, momentum: float = 0.0
) -> Optimizer:
    """Return an optimizer by its name.

    groups: parameters, each group with its rate and decay; in adam and sgd the decay is L2, part of
        the gradient.
    rate: of groups without one.
    momentum: of sgd alone.
    """
    if name == config.SGD:
        return SGD(groups, lr=rate, momentum=momentum)
    if name == config.ADAM:
        return Adam(groups, lr=rate, fused=True)
    if name == config.ADAMW:
        return AdamW(groups, lr=rate, fused=True)
    kinds = {config.UNCORRECTED: UncorrectedAdamW, config.BERT_ADAM: BertAdam}
    return kinds[name](groups, lr=rate)


def make_schedule(
    name: str, optimizer: Optimizer, warmup: int, steps: int, epochs: int
) -> LambdaLR:
    """Return the schedule of an optimizer's rates; arguments as for `factor`."""
    return LambdaLR(optimizer, lambda step: factor(name, step, warmup, steps, epochs))


def factor(schedule: str, step: int, warmup: int, steps: int, epochs: int) -> float:
    """Return the share of its peak that a rate has at a step, counted from 0.

    Rates rise linearly in `warmup` steps. Then they fall linearly to 0 ("linear"), stay ("none"),
    or are constant within an epoch e, counted from 0: 1 / (1 + 0.05 e) ("inverse", Ma & Hovy,
    ACL 2016) or 0.8 after every second epoch ("step", UMGF, AAAI 2021).

    steps, epochs: of the whole run.
    """
    rise = step / warmup if step < warmup else 1.0
    epoch = step * epochs // steps
    fall = {
        config.LINEAR: 1.0 if step < warmup else max(0, steps - step) / max(1, steps - warmup),
        config.NONE: 1.0,
        config.INVERSE: 1 / (1 + 0.05 * epoch),
        config.STEP: 0.8 ** (epoch // 2),
    }
    return rise * fall[schedule]
