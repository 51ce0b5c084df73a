"""What a decoder does for one kind of request, from its prompts to its masks. No torch here."""

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
"""What the engine takes for one request."""
Found = TypeVar("Found")
"""What the engine gives for one request."""


class Handler(ABC, Generic[Asked, Item, Found]):
    """The part of a decoder that knows one kind of request. Its row in `deployments.decoder.prompts` makes it known."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    @abstractmethod
    def item(self, key: ImageKey, image: "HotImage", request: Asked) -> tuple[Item, int]:
        """What the engine is asked, and how many prompts that is."""

    @abstractmethod
    def run(self, items: Sequence[Item]) -> Sequence[Found]:
        """Ask the engine, in the thread of the model: one result per item."""

    @abstractmethod
    def masks(self, found: Found) -> int:
        """How many masks are to be encoded."""

    @abstractmethod
    def instances(self, found: Found, size: ImageSize, request: Asked) -> Any:
        """The request's `Results`, masks encoded. Called in a thread where there are many pixels."""

    def keep(self, key: ImageKey, request: Asked, found: Found) -> None:
        """Keep what later requests for the image may start from."""

    def forget(self, key: ImageKey) -> None:
        """Drop what is kept of an image's requests."""
