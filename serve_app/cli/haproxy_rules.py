"""Corrections of HAProxy's configuration that Serve has no settings for: one rule each, about one line of the file.

`serve_app.cli.haproxy` puts this text into the program that Serve starts as HAProxy, where a bare interpreter runs it
before each start: so it imports the standard library alone.

    python haproxy_rules.py CONFIG HOST BODY_SECONDS RETRY_AFTER CONNECTIONS ORIGINS BODY_BYTES

corrects the file CONFIG. A rule that does not find its one line, or a line that no rule allows afterwards, ends the
program with a message and the status 1, and HAProxy does not start: another version of Serve may write lines that
these rules do not know.
"""

import re
import sys

LOOPBACK = "127.0.0.1"
AS_SERVE_SAYS = ""
"""The HOST that leaves the front end where Serve has put it."""

REFUSED = ".refused"
"""Ending of the file beside CONFIG that holds the message, for `sam3-serve up`: Serve only logs it, and tries again."""

Rule = tuple[str, str, str]
"""The rule's purpose, its line as a regular expression, and the replacement, both as `re.sub` takes them."""
FAILED = ".500"
"""Ending of the file beside CONFIG that HAProxy answers where no server did: it is a 500, as Serve makes it."""
_FAILED = """{"message": "Internal error."}"""
HEADERS_S = 10
"""Seconds for a request's headers, from the connection's start or the headers' first byte."""
_DEFAULTS = (
    f"timeout http-request {HEADERS_S}s",
    "option http-ignore-probes",  # a connection on which nothing came is closed without a word
)
_OF_SERVE = (
    "^(x-request-timeout-seconds|x-request-disconnect-disabled|serve[-_]multiplexed[-_]model[-_]id"
    "|x[-_]session[-_]id|x-serve-router-.*)$"
)
"""Headers by which Serve is told how to run a request: clients may not."""
_NETWORK = "src,ipmask(32,64)"
"""The client that connections are counted for: an IPv4 address, or the network that one host of IPv6 has."""
_OWN_ERRORS = {
    400: "The request is malformed.",
    403: "The request is refused.",
    408: "The request did not arrive in time.",
    413: "The request is too large.",
    500: "Internal error.",
    501: "The server does not support what the request asks for.",
}
_ERRORS_OF_SERVERS = {
    400: "The request is not HTTP.",
    403: "The server has no WebSockets: send the request without the header Upgrade.",
    404: "There is no such route.",
    408: "The request took too long and was given up.",
    500: "Internal error.",
    503: "The server is busy.",
}
"""Instead of plain text, which Serve and its web server answer: the application's errors are JSON."""
_STARTING = "The server is starting."
_NO_PATH = "The request names no path of a route, such as /info."
_REQUEST_ID = "^[!-~]{1,128}$"
"""Any other id is replaced. Serve answers the client's id as it is; the logs hold ids that fit into a line."""
_ORIGIN = re.compile(r"\*|[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9.:\[\]_-]+|null")
"""No browser sends anything else as its origin."""
_BIND = r"( *bind )\S*(:\d+)$"
_FRONT = r"(?<=frontend http_frontend\n)" + _BIND
_CORRECTED_FRONT = r"(?<=frontend http_frontend\n) *bind \S+( v6only)?$"
_BOTH_VERSIONS = "[::]", "[::ffff:"
"""Beginnings of IPv6 hosts that listen for IPv4 too. For every other IPv6 host the kernel sets the socket's option
v6only, and HAProxy takes over a socket only if its options are those of the configuration."""


def _json(status: int, message: str, retry_after: str) -> str:
    again = f" hdr Retry-After {retry_after}" if status == 503 else ""
    return f"""{status} content-type application/json{again} string '{{"message": "{message}"}}'"""


def _cors(origins: str) -> list[str]:
    """The lines that let pages of `origins` (separated by commas) read the errors of HAProxy itself. The origin is
    captured, as rules for answers cannot read the request."""
    names = [name for name in map(str.strip, origins.split(",")) if _ORIGIN.fullmatch(name)]
    if not names:
        return []
    asked = "found" if "*" in names else f"str {' '.join(names)}"
    value = "*" if "*" in names else "%[capture.req.hdr(0)]"
    when = f"if {{ capture.req.hdr(0) -m {asked} }} !{{ res.hdr(access-control-allow-origin) -m found }}"
    return [
        "capture request header origin len 256",
        f"http-after-response set-header Vary Origin {when}",
        f"http-after-response set-header Access-Control-Expose-Headers Retry-After {when}",
        # This header makes the condition false, so it comes last.
        f"http-after-response set-header Access-Control-Allow-Origin {value} {when}",
    ]


def _connections(most: str) -> list[str]:
    """The lines that close the connections of an address beyond `most`; none for 0."""
    if not int(most):
        return []
    return [
        "stick-table type ipv6 size 64k expire 1m store conn_cur",
        f"tcp-request connection track-sc0 {_NETWORK}",
        f"tcp-request connection reject if {{ sc0_conn_cur gt {int(most)} }}",
    ]


def _size(size: str) -> int:
    """Bytes as the settings' variables tell them, such as 64MiB; 0 for a text of another form."""
    found = re.fullmatch(r"\s*(\d*\.?\d+)\s*([kmgtp]?)(i?)b?\s*", size, re.IGNORECASE)
    if not found:
        return 0
    number, unit, binary = found.groups()
    power = "kmgtp".index(unit.lower()) + 1 if unit else 0
    return int(float(number) * (1024 if binary else 1000) ** power)


def _declared(size: str) -> list[str]:
    """The line that refuses a body by its Content-Length, before it comes; none for a size of another form, as the
    application checks it too."""
    most = _size(size)
    if not most:
        return []
    too_large = _json(413, f"the request body is larger than {most} bytes", "")
    return [f"http-request return status {too_large} if {{ req.hdr_val(content-length) gt {most} }}"]


def _front_lines(
    seconds: str, retry_after: str, connections: str, origins: str, body_bytes: str
) -> list[str]:
    unfit = f"!{{ req.fhdr_cnt(x-request-id) 1 }} || !{{ req.fhdr(x-request-id) -m reg '{_REQUEST_ID}' }}"
    return [
        *_connections(connections),
        f"http-request return status {_json(404, _NO_PATH, retry_after)} if !{{ path -m beg / }}",
        *_declared(body_bytes),
        f"http-request wait-for-body time {seconds}s",
        f"http-request del-header x-request-id if {unfit}",
        f"http-request del-header '{_OF_SERVE}' -m reg",
        *(
            f"http-response return status {_json(status, message, retry_after)}"
            f" if {{ status {status} }} {{ res.hdr(content-type) -m beg text/plain }}"
            for status, message in _ERRORS_OF_SERVERS.items()
        ),
        *_cors(origins),
    ]


def rules(
    host: str,
    seconds: str,
    retry_after: str,
    connections: str,
    origins: str,
    body_bytes: str,
    failed: str,
) -> list[Rule]:
    """host: that the front end listens on. seconds: that a body may take to arrive. retry_after: seconds. connections:
    most of one address; 0: any number. origins: of CORS. body_bytes: most of a body. failed: path of the file that is
    answered where no server did."""
    own = [
        f"http-error status {_json(status, message, retry_after)}" for status, message in _OWN_ERRORS.items()
    ]
    added = "".join(rf"\n\1{line}" for line in _DEFAULTS)
    added += "".join(f"\n    {_literal(line)}" for line in own)
    in_front = "".join(
        f"\n    {_literal(line)}"
        for line in _front_lines(seconds, retry_after, connections, origins, body_bytes)
    )
    inside = rf"\g<1>{LOOPBACK}\2"
    alone = " v6only" if host.startswith("[") and not host.startswith(_BOTH_VERSIONS) else ""
    front = (rf"\g<1>{host}\2{alone}" if host != AS_SERVE_SAYS else r"\g<0>") + in_front
    return [
        ("the front end listens on the host of the settings", _FRONT, front),
        ("statistics stay on loopback", r"(?<=listen stats\n)" + _BIND, inside),
        ("HAProxy's metrics stay on loopback", r"(?<=frontend prometheus\n)" + _BIND, inside),
        ("only this user commands HAProxy", r"^( *stats socket .* mode )666( level admin )", r"\g<1>600\2"),
        ("no URL is logged", r"^ *log \S+ local0 info\n", ""),
        ("a request arrives whole, and in time", r"^( *)option httplog$", r"\g<0>" + added),
        (
            "an application that is not known yet is a 503",
            r'^( *http-request return status )404 .* for available routes\."$',
            r"\g<1>" + _literal(_json(503, _STARTING, retry_after)),
        ),
        (
            "an answer that no server gave is JSON",
            r"^( *errorfile 502 )\S+(\n *errorfile 503 )\S+(\n *errorfile 504 )\S+$",
            "".join(rf"\g<{place}>{_literal(failed)}" for place in (1, 2, 3)),
        ),
    ]


def _literal(text: str) -> str:
    """Text in what `re.sub` puts in place of a line."""
    return text.replace("\\", r"\\")


FORBIDDEN = (
    ("only the front end may leave loopback", rf"^ *bind (?!{re.escape(LOOPBACK)}:).*$"),
    ("only this user may command HAProxy", r"^ *stats socket (?!.* mode 600 ).*$"),
    ("nothing may be logged to an address", r"^ *log (?!global$|/).*$"),
)
"""Lines that must not be there afterwards, as regular expressions with their reasons. The front end's `bind` may."""


def corrected(config: str, *values: str) -> str:
    """The configuration with every rule applied; `values` are the arguments of `rules`. Raises ValueError, which names
    the rule, where one does not hold."""
    for name, line, instead in rules(*values):
        config, found = re.subn(line, instead, config, flags=re.MULTILINE)
        if found != 1:
            raise ValueError(f"{name}: {found} lines, and not one, look like {line}")
    for name, line in FORBIDDEN:
        bad = re.search(line, re.sub(_CORRECTED_FRONT, "", config, flags=re.MULTILINE), re.MULTILINE)
        if bad:
            raise ValueError(f"{name}: {bad[0].strip()}")
    return config


def main(path: str, *values: str) -> None:
    """Correct the file. values: HOST and the arguments after it."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes longer to import than all of this
        config = file.read()
    try:
        config = corrected(config, *values, path + FAILED)
    except ValueError as error:
        reason = f"HAProxy is not started, as Serve's configuration of it is not as expected. {error}"
        with open(path + REFUSED, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(reason)
        sys.exit(reason)
    head = f"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: {len(_FAILED)}"
    for name, text in ((path, config), (path + FAILED, f"{head}\r\n\r\n{_FAILED}")):
        with open(name, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123
            file.write(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
