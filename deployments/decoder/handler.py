"""The interface of a handler, which serves one kind of request in a decoder. No torch here."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from deployments.keys import ImageKey
from deployments.protocol import PromptRequest
from sam3_engine.types import ImageSize

if TYPE_CHECKING:
    from deployments.decoder.features import HotImage
    from sam3_engine.engine import Engine

Asked = TypeVar("Asked", bound=PromptRequest[Any])
Item = TypeVar("Item")
"""The engine's input for one request."""
Found = TypeVar("Found")
"""The engine's output for one request."""


class Handler(ABC, Generic[Asked, Item, Found]):
    """Turns one kind of request into engine calls and results. `deployments.decoder.prompts.HANDLERS` lists them."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    @abstractmethod
    def item(self, key: ImageKey, image: "HotImage", request: Asked) -> tuple[Item, int]:
        """The engine's input, and its number of prompts."""

    @abstractmethod
    def run(self, items: Sequence[Item]) -> Sequence[Found]:
        """Call the engine, in the model's thread: one result per item."""

    @abstractmethod
    def masks(self, found: Found) -> int:
        """Number of masks to encode."""

    @abstractmethod
    def instances(self, found: Found, size: ImageSize, request: Asked) -> Any:
        """The request's `Results`, with encoded masks. Called in a thread when there are many pixels."""

    def keep(self, key: ImageKey, request: Asked, found: Found) -> None:
        """Keep data that later requests for the image may start from, such as logits."""

    def forget(self, key: ImageKey) -> None:
        """Drop the data that `keep` kept for an image."""
