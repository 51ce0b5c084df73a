"""The errors that the engine raises; each message says what to do. No HTTP here."""


class EngineError(Exception):
    """Base of all errors that the engine raises on purpose."""


class UnreadableImage(EngineError):
    """The bytes are not an image that this installation can decode."""


class ImageTooLarge(EngineError):
    """The image has more pixels than allowed, or its file would cost more to decode than its pixels justify."""


class DecodingStopped(EngineError):
    """The caller of the decoder has stopped it."""


class CheckpointError(EngineError):
    """The weights cannot be found, downloaded or used; the message says how to get them."""


class GatedAccess(CheckpointError):
    """The Hub refuses the download: no token was sent, or the token's owner has not been granted access."""


class Offline(CheckpointError):
    """The weights are not on this machine and the Hub cannot be reached."""


class WrongCheckpoint(CheckpointError):
    """The file is not a checkpoint of this model: unreadable, missing or superfluous keys, other shapes."""


class DeviceFull(EngineError):
    """The GPU has too little free memory for a single image or prompt."""

    def __init__(self) -> None:
        super().__init__("the GPU has too little free memory for this request: try again later")


class StaleEmbedding(EngineError):
    """The embedding was made by another model, other weights, another preprocessing, layout or dtype than this
    engine's."""


class StaleTrack(EngineError):
    """The track was made by another model, other weights, layout or dtype than this engine's."""


class UnreadableVideo(EngineError):
    """The file is no video that this installation can decode, or has no frame."""


class VideoTooLarge(EngineError):
    """The video has more frames, or more pixels in a frame, than allowed."""
