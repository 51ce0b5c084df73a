"""A token table for training with only the few rows that the vocabulary of shapes uses, of 49,408."""

from collections.abc import Mapping

import torch
from sam3.model.sam3_image import Sam3Image
from torch import nn

from training.concepts import ARTICLE, READ_AS_THE_ARTICLE, known_phrases

PAD = 0


def known_token_ids(model: Sam3Image) -> list[int]:
    """Ids of all tokens that the model reads as something, ascending."""
    return sorted({*trained_token_ids(model), *same_token_ids(model)})


def trained_token_ids(model: Sam3Image) -> list[int]:
    """Ids of padding, start, end and of every token in a known phrase, ascending."""
    tokenizer = model.backbone.language_backbone.tokenizer
    ids = {PAD, *tokenizer.control}
    for text in known_phrases():
        ids.update(tokenizer.encode(text))
    return sorted(ids)


def same_token_ids(model: Sam3Image) -> dict[int, int]:
    """Ids of tokens that are read as another one, by that one's id."""
    encode = model.backbone.language_backbone.tokenizer.encode
    (article,) = encode(ARTICLE)
    return {token: article for word in READ_AS_THE_ARTICLE for token in encode(word)}


class CompactEmbedding(nn.Module):
    """Replaces the token table during training: each trained id has a row, all others share the last one.

    same: ids that have another one's row.
    """

    row_of: torch.Tensor

    def __init__(self, ids: list[int], same: Mapping[int, int], vocabulary: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(len(ids) + 1, width) * 0.1)
        row_of = torch.full((vocabulary,), len(ids), dtype=torch.long)
        row_of[torch.tensor(ids)] = torch.arange(len(ids))
        row_of[torch.tensor(list(same))] = row_of[torch.tensor(list(same.values()))]
        self.register_buffer("row_of", row_of, persistent=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return nn.functional.embedding(self.row_of[ids], self.weight)

    def table(self) -> torch.Tensor:
        """The whole table, [vocabulary, width]."""
        return self.weight.detach()[self.row_of]


def compact_embedding(model: Sam3Image) -> CompactEmbedding:
    """A compact token table of the model's size, with random rows."""
    encoder = model.backbone.language_backbone.encoder
    return CompactEmbedding(
        trained_token_ids(model), same_token_ids(model), encoder.vocab_size, encoder.width
    )


def compact_tokens(model: Sam3Image, *, keep: bool = False) -> CompactEmbedding:
    """Replace the model's token table by a compact one, in place. keep: with the rows that the model has."""
    encoder = model.backbone.language_backbone.encoder
    compact = compact_embedding(model)
    if keep:
        ids, same = trained_token_ids(model), same_token_ids(model)
        table = encoder.token_embedding.weight
        other = next(row for row in range(encoder.vocab_size) if row not in ids and row not in same)
        with torch.no_grad():
            compact.weight.copy_(table[[*ids, other]])
    encoder.token_embedding = compact
    return compact
