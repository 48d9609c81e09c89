"""The feed-forward sub-layer of a block."""

from torch import Tensor, nn


class FeedForward(nn.Module):
    """Pre-norm feed-forward sub-layer: x + W2 relu(W1 LayerNorm(x)), with dropout after each of the two; (..., d_model).

    Args:
        d_model: width of input and output.
        d_hidden: width between the two linear maps.
        dropout: probability of dropout.
    """

    def __init__(self, d_model: int, d_hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.linear_in = nn.Linear(d_model, d_hidden)
        self.linear_out = nn.Linear(d_hidden, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the sub-layer to each position separately: (..., d_model) -> (..., d_model).

        Args:
            x: (..., d_model).

        Returns:
            (..., d_model).
        """
        hidden = self.dropout(self.linear_in(self.norm(x)).relu())
        y: Tensor = x + self.dropout(self.linear_out(hidden))
        return y
