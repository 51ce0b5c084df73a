"""`sam3-serve up`: the whole server in the foreground, on a Ray cluster of its own."""

import os
import re
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from deployments.protocol import StoreAway
from deployments.store.server import ServerFailed
from serve_app.cli.addresses import url_of
from serve_app.cli.client import Unanswered, read
from serve_app.cli.drain import drain
from serve_app.cli.greeting import welcome
from serve_app.cli.haproxy_rules import REFUSED
from serve_app.cli.janitor import MARK, janitor, keep_folder
from serve_app.cli.preflight import refuse_unwise, served_weights
from serve_app.cli.progress import Progress, progress
from serve_app.cli.ray_head import PROXY_DIR, RayNotStarted, logs_in, new_run_dir, ray_head
from serve_app.cli.stop_signal import StopSignal
from serve_app.cli.store import store_of
from serve_app.settings import Settings
from serve_app.store import NoStore

if TYPE_CHECKING:
    from ray.serve.schema import ApplicationStatusOverview

POLL_S = 0.5
ANSWER_S = 5.0
FAILED = "DEPLOY_FAILED"
ERROR_LINE = re.compile(r"(?P<module>(?:[a-z_]\w*\.)*)(?P<name>[A-Z]\w*): (?P<text>.+)")
"""The last line of a traceback: `package.module.Name: text`."""


def run(settings: Settings) -> None:
    """Start the server, print how to use it, and wait for Ctrl-C. Raises click.ClickException."""
    refuse_unwise(settings)
    settings = settings.model_copy(
        update={"server_id": settings.server_id or uuid.uuid4().hex, **served_weights(settings)}
    )
    try:
        run_dir = new_run_dir(settings)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    console = Console(highlight=False)
    started = time.monotonic()
    stop = StopSignal()
    stop.listen()
    with janitor(run_dir) as cleaner:
        try:
            with (
                progress(console, "starting Ray") as show,
                store_of(settings, run_dir) as settings,
                ray_head(settings, run_dir, stop),
            ):
                stop.listen()
                if not stop and deploy(settings, stop, show):
                    show("")
                    welcome(console, settings, time.monotonic() - started, run_dir)
                    stop.wait()
                    show("answering requests under way (the next Ctrl-C does not wait)")
                    drain(run_dir / PROXY_DIR, settings.request_timeout_s)
                show("stopping")
        except (StoreAway, ServerFailed) as error:
            raise click.ClickException(str(error)) from error
        except (DeploymentFailed, RayNotStarted) as error:
            if not stop:
                keep_folder(cleaner)
                why = refusal(run_dir / PROXY_DIR) or str(error)
                raise click.ClickException(
                    f"the server could not start: {why}\nlogs: {logs_in(run_dir)}"
                ) from error
    console.print("stopped")


class DeploymentFailed(Exception):
    """The application did not start; the message gives the reason in one line."""


def deploy(settings: Settings, stop: StopSignal, show: Progress) -> bool:
    """Deploy the application and wait until it answers. Returns False after a stop signal. show: gets the
    progress.

    Raises DeploymentFailed.
    """
    from ray import serve

    from deployments.resources import NotEnough
    from serve_app.builder import build_app
    from serve_app.encoder_groups import WrongTrunk
    from serve_app.replica_configs import APP_NAME
    from serve_app.workflows import NotInstalled

    try:
        target = serve.RunTarget(build_app(settings), name=APP_NAME, route_prefix="/")
    except (NotEnough, NotInstalled, NoStore, WrongTrunk) as error:
        raise DeploymentFailed(str(error)) from error
    serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
    readiness = f"{url_of(settings.host, settings.port)}/readiness"
    proxy_dir = Path(os.environ[MARK]).parent
    while not stop.wait(POLL_S):
        if why := refusal(proxy_dir):
            raise DeploymentFailed(why)
        application = serve.status().applications.get(APP_NAME)
        if application is None:
            continue
        refuse_failed(application)
        states = [info.status.value for info in application.deployments.values()]
        up = states.count("HEALTHY")
        named = f"{len(settings.models)} models" if settings.models else f"the model {settings.model!r}"
        show(f"loading {named}: {up} of {len(states)} deployments are up")
        if application.status.value == "RUNNING" and answers(readiness):
            return True
    return False


def refusal(proxy_dir: Path) -> str:
    """The message why HAProxy was not started (`haproxy_rules`); empty where it was. Serve has a folder there for each
    node."""
    return next((found.read_text() for found in proxy_dir.rglob(f"*{REFUSED}")), "")


def refuse_failed(application: "ApplicationStatusOverview") -> None:
    """Raises DeploymentFailed when Serve reports that the application failed."""
    if application.status.value == FAILED:
        messages = [info.message for info in application.deployments.values() if info.status.value == FAILED]
        raise DeploymentFailed(reason("\n".join([application.message, *messages])))


def answers(url: str) -> bool:
    """True if a GET of the URL is answered with 200 within ANSWER_S."""
    with suppress(Unanswered):
        read(url, ANSWER_S)
        return True
    return False


def reason(message: str) -> str:
    """The useful part of a failed deployment's message: the last error of its traceback.

    The engine's own errors say what to do, so their text is enough; other errors keep their class name.
    """
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    errors = [found for line in lines if (found := ERROR_LINE.match(line))]
    if not errors:
        return lines[-1] if lines else "no reason given"
    module, name, text = errors[-1]["module"], errors[-1]["name"], errors[-1]["text"]
    return text if module.startswith("sam3_engine.") else f"{name}: {text}"
