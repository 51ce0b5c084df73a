"""Connections to the store's server: one server, one behind Sentinels, or the node of a cluster that has our slot."""

from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from valkey.asyncio import Valkey
from valkey.asyncio.cluster import ValkeyCluster
from valkey.asyncio.connection import BlockingConnectionPool
from valkey.asyncio.retry import Retry
from valkey.asyncio.sentinel import Sentinel
from valkey.backoff import NoBackoff
from valkey.exceptions import ConnectionError as Disconnected

from deployments.config import StoreConfig

ANSWER_S = 2.0
"""Seconds that a step waits for the server, which needs a millisecond."""
CONNECTIONS = 64
"""Most connections of one process."""
RECONNECTS = 1
"""Repetitions of a step whose connection broke: docs/retries.md. Repeating a step changes nothing more."""
CLUSTER, SENTINEL = "+cluster", "+sentinel"
"""Ends of a URL's scheme. Hosts are separated by commas; the first part of a Sentinel's path names the primary."""
SENTINEL_PORT = 26379


class Client(Protocol):
    """The commands that the store uses, of any of the three kinds of client."""

    async def hget(self, name: str, key: str) -> Any:
        """A field of a hash."""
        ...

    async def ping(self) -> Any:
        """Succeeds if a server is there; else raises the client's error."""
        ...

    def register_script(self, script: str) -> Any:
        """A script that can be called."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


def connect(config: StoreConfig) -> Client:
    """A client that connects with its first command. Raises ValueError for a URL that means nothing, OSError for a file
    of the password that cannot be read."""
    scheme, _, rest = config.url.partition("://")
    kind = next((kind for kind in (CLUSTER, SENTINEL) if scheme.endswith(kind)), "")
    url = f"{scheme.removesuffix(kind)}://{rest}"
    options = {
        "socket_timeout": ANSWER_S,
        "socket_connect_timeout": ANSWER_S,
        **({"password": password} if (password := password_of(config)) else {}),
    }
    tls = scheme.startswith(("rediss", "valkeys"))
    if tls and config.ca_file:
        options["ssl_ca_certs"] = config.ca_file
    client: Any
    if kind == CLUSTER:
        client = ValkeyCluster.from_url(url, retry=Retry(NoBackoff(), RECONNECTS), **options)
    elif kind == SENTINEL:
        client = _by_sentinel(url, {"ssl": tls, **options})
    else:
        retry = {"retry": Retry(NoBackoff(), RECONNECTS), "retry_on_error": [Disconnected]}
        pool = BlockingConnectionPool.from_url(
            url, max_connections=CONNECTIONS, timeout=ANSWER_S, **retry, **options
        )
        client = Valkey.from_pool(pool)
    found: Client = client
    return found


async def close(client: Client) -> None:
    """Close a client's connections, those to Sentinels included."""
    await client.aclose()
    sentinel = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    for each in sentinel.sentinels if sentinel else ():
        await each.aclose()


def password_of(config: StoreConfig) -> str | None:
    """The password, from its file where there is one."""
    if config.password_file:
        return Path(config.password_file).read_text().strip()
    return config.password or None


def _by_sentinel(url: str, options: dict[str, Any]) -> Any:
    """The primary that Sentinels name: `scheme://user@host:port,host:port/primary/0`. They need no password."""
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    primary, _, database = parts.path.strip("/").partition("/")
    sentinels = []
    for host in hosts.split(","):
        name, _, port = host.partition(":")
        sentinels.append((name, int(port or SENTINEL_PORT)))
    own = {"username": user} if user else {}
    timeouts = {name: value for name, value in options.items() if name.startswith("socket_")}
    asked = Sentinel(sentinels, sentinel_kwargs=timeouts, **options, **own)  # type: ignore[no-untyped-call]
    return asked.master_for(primary, db=int(database or 0))
