"""What Serve's configuration of HAProxy has no settings for: one rule each, about one line of the file.

`serve_app.cli.haproxy` puts this text into the program that Serve starts as HAProxy, where a bare interpreter runs it
before each start: so it imports the standard library alone.

    python haproxy_rules.py CONFIG HOST SECONDS RETRY_AFTER

corrects the file CONFIG. A rule that does not find its one line, or a line that no rule allows afterwards, ends the
program with a message and the status 1, and HAProxy does not start: another version of Serve may write what these
rules do not know.
"""

import re
import sys

LOOPBACK = "127.0.0.1"
AS_SERVE_SAYS = ""
"""The HOST that leaves the front end where Serve has put it."""

REFUSED = ".refused"
"""Ending of the file beside CONFIG that holds the message, for `sam3-serve up`: Serve only logs it, and tries again."""

Rule = tuple[str, str, str]
"""What it achieves, the line as a regular expression, and what takes its place, as `re.sub` takes it."""
_DEFAULTS = (
    "option http-buffer-request",
    "timeout http-request {seconds}s",
    "option http-ignore-probes",  # a connection on which nothing came is closed without a word
    "http-error status 408 content-type application/json"
    """ string '{{"message": "The request did not arrive in time."}}'""",
)
_UNKNOWN = (
    "503 content-type application/json hdr Retry-After {retry_after}"
    """ string '{{"message": "The server is starting."}}'"""
)
_BIND = r"( *bind )\S*(:\d+)$"
_FRONT = r"(?<=frontend http_frontend\n)" + _BIND


def rules(host: str, seconds: str, retry_after: str) -> list[Rule]:
    """host: that the front end listens on. seconds: that a request may take to arrive. retry_after: seconds."""
    added = "".join(rf"\n\1{line.format(seconds=seconds)}" for line in _DEFAULTS)
    inside = rf"\g<1>{LOOPBACK}\2"
    front = rf"\g<1>{host}\2" if host != AS_SERVE_SAYS else r"\g<0>"
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
            r"\g<1>" + _UNKNOWN.format(retry_after=retry_after),
        ),
    ]


FORBIDDEN = (
    ("only the front end may leave loopback", rf"^ *bind (?!{re.escape(LOOPBACK)}:).*$"),
    ("only this user may command HAProxy", r"^ *stats socket (?!.* mode 600 ).*$"),
    ("nothing may be logged to an address", r"^ *log (?!global$|/).*$"),
)
"""What no line may be afterwards, the front end's `bind` aside."""


def corrected(config: str, host: str, seconds: str, retry_after: str) -> str:
    """The configuration with every rule applied. Raises ValueError, which names the rule, where one does not hold."""
    for name, line, instead in rules(host, seconds, retry_after):
        config, found = re.subn(line, instead, config, flags=re.MULTILINE)
        if found != 1:
            raise ValueError(f"{name}: {found} lines, and not one, look like {line}")
    for name, line in FORBIDDEN:
        bad = re.search(line, re.sub(_FRONT, "", config, flags=re.MULTILINE), re.MULTILINE)
        if bad:
            raise ValueError(f"{name}: {bad[0].strip()}")
    return config


def main(path: str, *values: str) -> None:
    """Correct the file."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes longer to import than all of this
        config = file.read()
    try:
        config = corrected(config, *values)
    except ValueError as error:
        reason = f"HAProxy is not started, as Serve's configuration of it is not as expected. {error}"
        with open(path + REFUSED, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(reason)
        sys.exit(reason)
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(config)


if __name__ == "__main__":
    main(*sys.argv[1:])
