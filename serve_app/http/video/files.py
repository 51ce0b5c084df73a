"""The video file that a request brings: a part of a form, base64, or a URL."""

import asyncio
from collections.abc import Sequence

from deployments.store.sessions import SessionLimits
from sam3_engine.data_urls import decode_base64, is_data_url
from sam3_engine.errors import UnreadableImage
from serve_app.http.errors import BadImage, InvalidRequest, TooLarge
from serve_app.http.video.call import VideoCall
from serve_app.http.video.session_schemas import VideoFile, VideoSessionFields, VideoSessionRequest


async def file_of(
    call: VideoCall[VideoSessionFields], fields: VideoSessionFields, parts: Sequence[bytes]
) -> bytes:
    """The video file that a request brings; empty where it brings none. Raises BadImage, InvalidRequest, TooLarge."""
    if len(parts) > 1:
        raise InvalidRequest.one("send one video", "video")
    content = parts[0] if parts else b""
    given = fields.video if isinstance(fields, VideoSessionRequest) else None
    if given is not None:
        content = await _given(call, given)
    if (parts or given) and not content:
        raise BadImage("the video is empty")
    if len(content) > call.limits.nbytes:
        raise beyond(call.limits)
    return content


def beyond(limits: SessionLimits) -> TooLarge:
    """The error of a file that is larger than all of a tenant's sessions may be."""
    return TooLarge(f"the video is larger than {limits.nbytes} bytes, which all of your sessions may take")


async def _given(call: VideoCall[VideoSessionFields], video: VideoFile) -> bytes:
    settings = call.context.settings
    match video.type, video.value:
        case "base64" | "url", None | "":
            return b""
        case "url", str(url) if is_data_url(url):
            return await asyncio.to_thread(_decoded, url)
        case "url", str(url):
            most = min(call.limits.nbytes, int(settings.max_body_bytes))
            return await call.context.fetcher.fetch_video(call.tenant, url, most, settings.body_timeout_s)
        case "base64", str(text):
            return await asyncio.to_thread(_decoded, text)
    raise BadImage(f"video type {video.type[:40]!r} is not known: use 'base64' or 'url'")


def _decoded(text: str) -> bytes:
    try:
        return decode_base64(text)
    except UnreadableImage as error:
        raise BadImage(str(error).replace("image", "video")) from None
