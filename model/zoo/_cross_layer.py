"""A layer of BERT whose words may attend to other states than their own."""

from torch import Tensor, nn
from torch.nn import functional

from model.hvpnet.dropout import Dropout
from model.zoo._attention import in_heads, shares_of

DROPOUT = 0.1  # everywhere in the layer, as in BERT
EPSILON = 1e-12  # of BERT's LayerNorm
INNER = 4  # widths of the feed-forward map's inner states
DEVIATION = 0.02  # of BERT's first weights


class CrossLayer(nn.Module):
    """Attention of `states` to `source`, then a feed-forward map, each with residual and LayerNorm.

    With `source` equal to `states` it is a layer of BERT (Devlin et al., 2019).

    width: H of both. heads: of the attention; a divisor of H.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        assert width % heads == 0, (width, heads)
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.merge = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=EPSILON)
        self.inner = nn.Linear(width, INNER * width)
        self.outer = nn.Linear(INNER * width, width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.dropout = Dropout(DROPOUT)
        initialise(self)

    def forward(self, states: Tensor, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return new states (B, T, H).

        states: (B, T, H), which give the queries. source: (B, S, H), which give keys and values.
        mask: (B, S) bool, False for states that are not attended to; None: all are.
        """
        shares = self.dropout(self.attention(states, source, mask))
        mixed = (shares @ in_heads(self.value(source), self.heads)).transpose(1, 2).flatten(2)
        states = self.attention_norm(states + self.dropout(self.merge(mixed)))
        inner = functional.gelu(self.inner(states))
        changed: Tensor = self.norm(states + self.dropout(self.outer(inner)))
        return changed

    def attention(self, states: Tensor, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the shares (B, heads, T, S) of attention, which sum to 1 over S.

        Arguments as for `forward`.
        """
        queries, keys = self.query(states), self.key(source)
        return shares_of(in_heads(queries, self.heads), in_heads(keys, self.heads), mask)


def initialise(module: nn.Module) -> None:
    """Draw the first weights of all linear maps in a module as BERT does; set biases to 0."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=DEVIATION)
            nn.init.zeros_(part.bias)
