"""A cache of text features: they depend on the text alone, and the text encoder is slow."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from cachetools import LRUCache
from sam3.model.sam3_image import Sam3Image

from sam3_engine.concept import TextFeatures, encode_text
from sam3_engine.tokens import cut_warning


@dataclass(frozen=True, slots=True)
class Phrase:
    """One phrase's features: tokens [L, d_model], padding bool [L]. warnings: sentences for the client."""

    tokens: torch.Tensor
    padding: torch.Tensor
    warnings: tuple[str, ...] = ()


class PhraseCache:
    """The features of the most recently used phrases. Safe to use from several threads."""

    def __init__(self, model: Sam3Image, capacity: int = 2048) -> None:
        self._model = model
        self._known: LRUCache[str, Phrase] = LRUCache(capacity)
        self._lock = threading.Lock()

    def phrases(self, texts: Sequence[str]) -> list[Phrase]:
        """The phrases of N distinct texts, in their order."""
        with self._lock:
            found = {text: known for text in texts if (known := self._known.get(text))}
        missing = [text for text in texts if text not in found]
        if missing:
            fresh = encode_text(self._model, missing)
            for column, text in enumerate(missing):
                found[text] = Phrase(
                    fresh.tokens[:, column].clone(), fresh.padding[column].clone(), self._warnings(text)
                )
            with self._lock:
                self._known.update((text, found[text]) for text in missing)
        return [found[text] for text in texts]

    def _warnings(self, text: str) -> tuple[str, ...]:
        language = self._model.backbone.language_backbone
        warning = cut_warning(len(language.tokenizer.encode(text)), language.context_length)
        return (warning,) if warning else ()


def stack(phrases: Sequence[Phrase]) -> TextFeatures:
    """The features of N phrases as one batch."""
    return TextFeatures(
        torch.stack([phrase.tokens for phrase in phrases], dim=1),
        torch.stack([phrase.padding for phrase in phrases]),
    )
