"""A cache of text features: they depend on the text alone, and the text encoder is slow."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

import torch
from sam3.model.sam3_image import Sam3Image

from sam3_engine.concept import TextFeatures, encode_text


class PhraseCache:
    """The features of the most recently used phrases. Safe to use from several threads."""

    def __init__(self, model: Sam3Image, capacity: int = 2048) -> None:
        self._model = model
        self._capacity = capacity
        self._known: OrderedDict[str, tuple[torch.Tensor, torch.Tensor]] = OrderedDict()
        self._lock = threading.Lock()

    def features(self, phrases: Sequence[str]) -> TextFeatures:
        """Features of N distinct phrases, in their order."""
        with self._lock:
            found = {phrase: self._known[phrase] for phrase in phrases if phrase in self._known}
            for phrase in found:
                self._known.move_to_end(phrase)
        missing = [phrase for phrase in phrases if phrase not in found]
        if missing:
            fresh = encode_text(self._model, missing)
            for column, phrase in enumerate(missing):
                found[phrase] = (fresh.tokens[:, column].clone(), fresh.padding[column].clone())
            with self._lock:
                self._known.update((phrase, found[phrase]) for phrase in missing)
                while len(self._known) > self._capacity:
                    self._known.popitem(last=False)
        rows = [found[phrase] for phrase in phrases]
        return TextFeatures(torch.stack([t for t, _ in rows], dim=1), torch.stack([p for _, p in rows]))
