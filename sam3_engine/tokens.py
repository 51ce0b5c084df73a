"""The text encoder's tokens: how many it reads, and the guard against control tokens in a text."""

import re
from os import PathLike

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


def cut_warning(tokens: int, context: int) -> str | None:
    """A sentence about a text of more tokens than fit beside the two that begin and end it; None for one that fits."""
    most = context - 2
    if tokens <= most:
        return None
    return f"the text has {tokens} tokens, and the model reads only the first {most}: the rest has no effect"
