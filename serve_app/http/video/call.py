"""Reads a request about a video: its tenant, its session, its fields."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from fastapi import Request
from pydantic import ValidationError

from deployments.ingress.video.service import VideoSessions
from deployments.store.sessions import SessionLimits
from deployments.video.protocol import UnknownSession
from serve_app.http.around.exchange import Exchange, exchange_of
from serve_app.http.caller import authenticated, tenant_of
from serve_app.http.context import HttpContext, context_of
from serve_app.http.errors import InvalidRequest, NoVideo
from serve_app.http.schemas import RequestModel
from serve_app.http.tenants.auth import KeyRing
from serve_app.settings import Settings

Fields = TypeVar("Fields", bound=RequestModel)

ID_CHARACTERS = frozenset("0123456789abcdef")
ID_LENGTH = 32
SHARE_OF_A_TENANT = 0.75


@dataclass(frozen=True, slots=True)
class VideoCall(Generic[Fields]):
    """A valid request and its tenant."""

    context: HttpContext
    exchange: Exchange
    service: VideoSessions
    tenant: str
    fields: Fields

    @property
    def limits(self) -> SessionLimits:
        """What the tenant may have."""
        return limits_of(self.context.settings, self.context.keys)


def service_of(request: Request) -> VideoSessions:
    """The service of videos. Raises NoVideo."""
    service = context_of(request).video
    if service is None:
        raise NoVideo
    return service


def session_in(request: Request) -> str:
    """The session's id in the path. Raises UnknownSession for anything that is no id."""
    found: str = request.path_params["session_id"]
    if len(found) != ID_LENGTH or not ID_CHARACTERS.issuperset(found):
        raise UnknownSession(found)
    return found


def limits_of(settings: Settings, keys: KeyRing) -> SessionLimits:
    """What one tenant may have. Where there is only one, it may have everything."""
    share = 1.0 if keys.open else SHARE_OF_A_TENANT
    return SessionLimits(settings.video_sessions, int(settings.video_bytes * share))


def caller_of(request: Request) -> str:
    """The tenant of a request without a body. Raises NoVideo, Unauthorized, RateLimited."""
    service_of(request)
    return tenant_of(request, context_of(request).keys)


async def read_fields(
    request: Request, form: type[Fields], with_file: type[Fields] | None = None
) -> tuple[VideoCall[Fields], list[bytes]]:
    """Read a request, and its parts `video` if it is a form. with_file: the schema of a form's JSON; None: this request
    has no file. Raises the errors of the table about keys and bodies, and NoVideo."""
    service = service_of(request)
    tenant, body = await authenticated(request, part="video")
    if body.files is not None and with_file is None:
        raise InvalidRequest.one("send application/json: this request has no file")
    if body.files == []:
        raise InvalidRequest.one(
            "the form has no part `video`: send application/json without a file", "video"
        )
    try:
        fields = (with_file if body.files and with_file else form).model_validate(body.document)
    except ValidationError as error:
        raise InvalidRequest.of(error) from None
    call = VideoCall(context_of(request), exchange_of(request), service, tenant, fields)
    return call, body.files or []
