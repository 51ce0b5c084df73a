"""The text encoder's tokens: how many it reads, and the guard against control tokens in a text."""

import re
from functools import cache
from os import PathLike

import torch
from sam3.model.tokenizer_ve import SimpleTokenizer, get_clean_fn

CONTROL = re.compile("<(start_of_text|end_of_text)>")


class Tokenizer(SimpleTokenizer):
    """The package's tokenizer, but no text contains a control token.

    The package reads a literal `<end_of_text>` as the token that ends a text, which cuts the text there.
    """

    def __init__(self, vocabulary: str | PathLike[str]) -> None:
        """vocabulary: see `assembly.vocabulary_path`."""
        super().__init__(bpe_path=str(vocabulary), clean="lower")
        clean = get_clean_fn("lower")
        # The space changes no other token: the tokenizer never joins a letter with a bracket.
        self.clean_fn = lambda text: CONTROL.sub(r"< \1>", clean(text))


class LazyTokenizer:
    """A tokenizer that reads its vocabulary with the first text: it takes half a second, and neither the shapes of a
    model nor an image encoder need it. All of a process share one."""

    def __init__(self, vocabulary: str | PathLike[str]) -> None:
        self._vocabulary = str(vocabulary)

    def __call__(self, texts: list[str], context_length: int) -> torch.Tensor:
        """Tokens, int64 [N, context_length], as the package's tokenizer gives them."""
        tokens: torch.Tensor = _read(self._vocabulary)(texts, context_length)
        return tokens

    @property
    def control(self) -> tuple[int, int]:
        """The tokens that begin and end each text."""
        read = _read(self._vocabulary)
        return read.sot_token_id, read.eot_token_id

    def encode(self, text: str) -> list[int]:
        """The tokens of one text alone."""
        tokens: list[int] = _read(self._vocabulary).encode(text)
        return tokens


@cache
def _read(vocabulary: str) -> Tokenizer:
    return Tokenizer(vocabulary)


def cut_warning(tokens: int, context: int) -> str | None:
    """A sentence about a text of more tokens than fit beside the two that begin and end it; None for one that fits."""
    most = context - 2
    if tokens <= most:
        return None
    return f"the text has {tokens} tokens, and the model reads only the first {most}: the rest has no effect"
