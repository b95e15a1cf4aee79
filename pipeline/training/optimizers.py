"""The optimizers of the recipes."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import AdamW, Optimizer

from pipeline.training.config import ADAMW, UNCORRECTED


class UncorrectedAdamW(Optimizer):
    """AdamW whose moments are not corrected for their start at zero, as in BERT's own code.

    Its first steps are up to 1 / sqrt(1 - β2) times larger than AdamW's. Weights decay after the
    step, by rate · decay.
    """

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
            weights = [weight for weight in group["params"] if weight.grad is not None]
            for weight in weights:
                state = self.state[weight]
                if not state:
                    state["mean"] = torch.zeros_like(weight)
                    state["square"] = torch.zeros_like(weight)
                state["mean"].lerp_(weight.grad, 1 - beta)
                state["square"].mul_(gamma).addcmul_(weight.grad, weight.grad, value=1 - gamma)
                root = state["square"].sqrt().add_(group["eps"])
                weight.addcdiv_(state["mean"], root, value=-group["lr"])
                weight.mul_(1 - group["lr"] * group["weight_decay"])
        return loss


def make_optimizer(name: str, groups: list[dict[str, Any]], rate: float) -> Optimizer:
    """Return an optimizer by its name.

    groups: parameters, each group with its rate and decay. rate: of groups without one.
    """
    if name == UNCORRECTED:
        return UncorrectedAdamW(groups, lr=rate)
    assert name == ADAMW, name
    return AdamW(groups, lr=rate, fused=True)
