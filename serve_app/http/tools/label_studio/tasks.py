"""The images of tasks. Label Studio's own are paths on its server, to be fetched with the token that it gave at the
setup of the project; the token goes to that server alone.

The projects that have introduced themselves are kept by tenant, in each ingress replica: Label Studio sets a project up
again whenever its settings are opened.
"""

import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

from yarl import URL

from deployments.protocol import ImageFile
from serve_app.http.errors import BadImage, InvalidRequest
from serve_app.http.reading.fetch import Access, ImageFetcher, is_of, parse_url
from serve_app.http.reading.images import Base64Image, UrlImage
from serve_app.http.tools.label_studio.schemas import LabelStudioSetup, LabelStudioTask

MOST_PROJECTS = 10_000
CLOUD = ("s3:", "gs:", "azure-blob:")
"""Files in a project's cloud storage: Label Studio redirects to an address that its storage has signed."""
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*")
_HOST = re.compile(r"[\w.:-]+")
_TOKEN = re.compile(r"[!-~]*")


@dataclass(frozen=True, slots=True)
class Server:
    """A Label Studio. base: its address, perhaps with a path."""

    base: URL
    access: Access

    def url(self, path: str) -> str:
        """The URL of a path that Label Studio writes into a task."""
        below = self.base.path.rstrip("/")
        whole = path if path.startswith(f"{below}/") else f"{below}{path}"
        return f"{self.base.origin()}{whole}"


def server_of(setup: LabelStudioSetup) -> Server | None:
    """The server that a project names; None for one that names none. Raises InvalidRequest."""
    if not setup.hostname:
        return None
    try:
        base = parse_url(setup.hostname)
        if base.scheme not in ("http", "https") or not _HOST.fullmatch(base.host or ""):
            raise BadImage("not a server")
        if base.user or base.password:
            raise BadImage("a password in its address")
    except BadImage:
        raise InvalidRequest.one("it is not the address of a server", "hostname") from None
    token = setup.access_token or ""
    if not _TOKEN.fullmatch(token):
        raise InvalidRequest.one("it holds characters that no token has", "access_token")
    scheme = "Bearer" if _JWT.fullmatch(token) else "Token"
    return Server(base, Access(base.origin(), f"{scheme} {token}" if token else ""))


def image_of(
    task: LabelStudioTask, key: str, server: Server | None, fetcher: ImageFetcher, tenant: str
) -> ImageFile:
    """The image under this key of a task's data. Raises BadImage."""
    value: Any = task.data.get(key)
    if not isinstance(value, str) or not value:
        raise BadImage(f"the task has no image: its data has no text {key[:80]!r}")
    if value.startswith("data:"):
        return Base64Image(value)
    if value.startswith(("http://", "https://")):
        ours = server is not None and is_of(parse_url(value), server.access.origin)
        return UrlImage(fetcher, tenant, value, server.access if server and ours else None)
    if server is None:
        raise BadImage(
            "the image is a path on Label Studio's server, and this server does not know it yet: open the project's "
            "settings, Model, and save the connection again"
        )
    if value.startswith(CLOUD):
        uri = urlsafe_b64encode(value.encode()).decode()
        value = f"/tasks/{task.id}/presign/?fileuri={uri}"
    if not value.startswith("/"):
        value = f"/data/{value}" if value.startswith("upload/") else f"/{value}"
    return UrlImage(fetcher, tenant, server.url(value), server.access)
