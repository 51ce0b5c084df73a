"""`sam3-serve` with encoders that fail now and then (`faulty_encoder`): `python -m tests.support.faulty_server up`."""

from typing import Any

from serve_app.cli import up
from serve_app.cli.main import main

_deploy = up.deploy


def deploy(*args: Any) -> bool:
    """Deploy as `sam3-serve up` does, but for the encoder. Ray must not be imported earlier."""
    from serve_app import builder
    from tests.support.faulty_encoder import FaultyEncoder

    vars(builder)["ImageEncoder"] = FaultyEncoder
    return _deploy(*args)


if __name__ == "__main__":
    vars(up)["deploy"] = deploy
    main()
