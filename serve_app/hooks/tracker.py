"""The tracker behind the hooks: objects followed from picture to picture, each from a box in its first one.

Objects that begin in one picture share a session of the server, so their later pictures are encoded once.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary, ref

from PIL import Image

from sam3_engine.errors import EngineError
from sam3_engine.rle import from_rle
from sam3_engine.types import Box, ImageSize, VisualPrompt
from serve_app.cli.local_engine import local_engine
from serve_app.cli.question import Question
from serve_app.hooks.model import Found, ModelError, file_of
from serve_app.settings import Settings
from serve_app.video_client import Frame, VideoClient, VideoError, VideoSession

if TYPE_CHECKING:
    from sam3_engine.features import Features
    from sam3_engine.tracking.sessions import Answer, Session

Picture = TypeVar("Picture")
Track = TypeVar("Track")


class Tracker(Protocol, Generic[Picture, Track]):
    """Follows objects. Every method raises ModelError."""

    def picture(self, image: Image.Image) -> Picture:
        """A picture, for all objects in it."""
        ...

    def begin(self, picture: Picture, box: Box) -> Track:
        """The object in a box, to be followed from this picture on."""
        ...

    def follow(self, track: Track, picture: Picture) -> Found | None:
        """The object in the picture after the one that it was followed to; None where it is not seen."""
        ...


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class SentPicture:
    """A picture as the bytes of its file. eq: it is told from others by its place in memory."""

    content: bytes


@dataclass(slots=True, eq=False)
class SharedSession:
    """A session of the server, and its latest answer."""

    session: VideoSession
    picture: "ref[SentPicture]"
    answer: Frame

    def send(self, picture: SentPicture, number: int, box: Box | None = None) -> Frame:
        """The answer to a picture of this number. The latest one is not asked for again."""
        if box is None and self.picture() is picture and self.answer["frame"] == number:
            return self.answer
        self.session.next_frame = number  # an earlier one is answered again as before
        (self.answer,) = self.session.frames([picture.content], {} if box is None else {number: _prompt(box)})
        self.picture = ref(picture)
        return self.answer


@dataclass(slots=True)
class SentTrack:
    """An object of a session. frame: the last one that it was followed to."""

    shared: SharedSession
    number: int
    frame: int = 0


class ServerTracker:
    """`Tracker` of a running server."""

    def __init__(self, client: VideoClient) -> None:
        self._client = client
        self._begun: WeakKeyDictionary[SentPicture, SharedSession] = WeakKeyDictionary()

    def picture(self, image: Image.Image) -> SentPicture:
        """See Tracker."""
        return SentPicture(file_of(image))

    def begin(self, picture: SentPicture, box: Box) -> SentTrack:
        """See Tracker."""
        try:
            shared = self._begun.get(picture)
            if shared is None:
                shared = self._begun[picture] = self._open(picture, box)
                answer = shared.answer
            else:
                answer = shared.session.prompt(_prompt(box), frame=0)
        except VideoError as error:
            raise ModelError(str(error)) from error
        return SentTrack(shared, max([*(one["id"] for one in answer["objects"]), *answer["hidden"]]))

    def _open(self, picture: SentPicture, box: Box) -> SharedSession:
        shared = SharedSession(self._client.begin(every=0), ref(picture), {})
        try:
            shared.send(picture, 0, box)
        except VideoError:
            with suppress(VideoError):
                shared.session.end()
            raise
        return shared

    def follow(self, track: SentTrack, picture: SentPicture) -> Found | None:
        """See Tracker."""
        try:
            answer = track.shared.send(picture, track.frame + 1)
        except VideoError as error:
            raise ModelError(str(error)) from error
        track.frame += 1
        found = next((one for one in answer["objects"] if one["id"] == track.number), None)
        return None if found is None else Found(found["confidence"], from_rle(found["masks"]))


@dataclass(frozen=True, slots=True)
class ExpandedPicture:
    """A picture as the model's features."""

    features: "Features"
    size: ImageSize


@dataclass(slots=True)
class OwnTrack:
    """An object, alone in a session of this process."""

    session: "Session"


class OwnTracker:
    """`Tracker` by the model in this process. The errors of its making are the engine's."""

    def __init__(self, settings: Settings) -> None:
        self._engine = local_engine(settings, video=True)

    def picture(self, image: Image.Image) -> ExpandedPicture:
        """See Tracker."""
        from sam3_engine.images import decode_picture

        square = decode_picture(image.convert("RGB"), self._engine.spec.image_size).square
        (embedding,) = self._engine.encode([square])
        return ExpandedPicture(self._engine.expand(embedding), ImageSize(image.height, image.width))

    def begin(self, picture: ExpandedPicture, box: Box) -> OwnTrack:
        """See Tracker."""
        from sam3_engine.tracking.sessions import Rules, Session

        return OwnTrack(self._next(Session(Rules(every=0)), picture, box).session)

    def follow(self, track: OwnTrack, picture: ExpandedPicture) -> Found | None:
        """See Tracker."""
        from sam3_engine.regions import mask_of_array

        answer = self._next(track.session, picture)
        track.session = answer.session
        (one,) = answer.shown
        if not one.visible:
            return None
        return Found(one.score, mask_of_array(one.mask_logits.numpy(), picture.size).full())

    def _next(self, session: "Session", picture: ExpandedPicture, box: Box | None = None) -> "Answer":
        from sam3_engine.prompt_values import check_inside
        from sam3_engine.tracking.sessions import NewObject, Turn, advance

        prompts = [] if box is None else [VisualPrompt(box=box)]
        new = [NewObject(prompt) for prompt in prompts]
        try:
            check_inside(prompts, picture.size)
            turn = Turn(session, picture.features, picture.size, session.frame + 1, new)
            return advance(self._engine, [turn])[0]
        except (EngineError, ValueError) as error:
            raise ModelError(str(error)) from error


def tracker_of(url: str = "", key: str = "", model: str = "tiny") -> Tracker[Any, Any]:
    """The default model of the server at a URL; without one, a model of this name (`tiny`, `sam3`) in this process.
    Raises ModelError."""
    if url:
        return ServerTracker(VideoClient(url.rstrip("/"), key or None))
    try:
        return OwnTracker(Settings(model=cast("Any", model)))
    except (EngineError, ValueError) as error:
        raise ModelError(str(error)) from error


def _prompt(box: Box) -> list[dict[str, Any]]:
    return Question(box=box).clicks()
