"""A stand-in for a model, whose predictions are known beforehand."""

import torch
from torch import nn


class Recall(nn.Module):
    """Predicts for each image the label that came with the next step when the same features were seen last; else with none.

    Features are the numbers of the images. What it was given is kept in `seen`.
    """

    def __init__(self, n_way):
        super().__init__()
        self.n_way, self.seen = n_way, []
        self.anchor = nn.Parameter(torch.zeros(()))

    def embed(self, images):
        return images.flatten(1)

    def forward_features(self, features, labels, state=None, resets=None, mask=None):
        self.seen.append((features, labels, mask))
        logits = torch.zeros(*labels.shape, self.n_way + 1)
        for b, stream in enumerate(features.tolist()):
            known, last = {}, None
            for t, feature in enumerate(map(tuple, stream)):
                if mask is not None and not mask[b, t]:
                    continue
                if last is not None:
                    known[last] = int(labels[b, t])
                logits[b, t, known.get(feature, self.n_way)] = 1
                last = feature
        return logits + self.anchor, None
