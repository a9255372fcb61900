"""The loss of a note under a causal model, each row for itself.

Knows: padding, labels, the mean per row. Must not know: patients, gradients, privacy. The built-in loss of the model
library is a mean over all tokens of the batch and couples rows; it is not used anywhere here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ray_actors.training_data import Row

_NO_LABEL = -100


def row_losses(model: Any, rows: Sequence[Row], *, pad_id: int) -> torch.Tensor:
    """Mean negative log-likelihood per note token of each row, in nats; the header is read, not predicted.

    Rows are padded on the right, where a causal model never looks back from, and padding has no label: a row's loss
    is the same alone and in company.
    """
    device = next(model.parameters()).device
    longest = max(len(row.tokens) for row in rows)
    ids = torch.full((len(rows), longest), pad_id)
    labels = torch.full((len(rows), longest), _NO_LABEL)
    for i, row in enumerate(rows):
        ids[i, : len(row.tokens)] = torch.tensor(row.tokens)
        labels[i, row.n_header : len(row.tokens)] = torch.tensor(row.tokens[row.n_header :])
    # scores before the first note token of any row are never looked at, and the vocabulary makes them expensive
    n_kept = longest - min(row.n_header for row in rows) + 1
    logits = model(input_ids=ids.to(device), use_cache=False, logits_to_keep=n_kept).logits[:, :-1].float()
    targets = labels[:, 1 - n_kept :].to(device)
    # flat, because a softmax along an inner dimension costs several times as much
    token_losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=_NO_LABEL, reduction="none"
    )
    return token_losses.view_as(targets).sum(dim=1) / (targets != _NO_LABEL).sum(dim=1)
