"""A Prometheus of one's own: Debian's binary as a process, on loopback, with the rules of k8s/monitoring."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

from harness.orphans import end_with_parent
from serve_app.cli.addresses import free_ports

RULES = Path(__file__).parents[1] / "k8s" / "monitoring" / "rules.yaml"
START_S = 200.0
STOP_S = 30.0


class InvalidQuery(Exception):
    """Prometheus does not accept a query."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """An expression's value now: series with `metric` and `value`. Raises InvalidQuery."""
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """Series with `metric` and `values`. Raises InvalidQuery."""
        found = self.get("query_range", query=expression, start=start, end=end, step=step)
        series: list[dict[str, Any]] = found["result"]
        return series

    def value(self, expression: str) -> float:
        """The only value of an expression; NaN where it has none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if len(found) == 1 else float("nan")

    def get(self, path: str, **parameters: Any) -> Any:
        """The data of an answer of its API. Raises InvalidQuery."""
        try:
            with urlopen(f"{self.url}/api/v1/{path}?{urlencode(parameters)}", timeout=30) as response:
                return json.load(response)["data"]
        except HTTPError as error:
            raise InvalidQuery(f"{parameters}: {error.read().decode()}") from error


@contextmanager
def prometheus(folder: Path, target: str, interval_s: float = 2.0) -> Iterator[Prometheus]:
    """Scrape `target` (a server's URL) and evaluate the rules until the end of the block."""
    port = free_ports(1)[0]
    config = {
        "global": {"scrape_interval": f"{interval_s:g}s", "evaluation_interval": f"{interval_s:g}s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "sam3", "static_configs": [{"targets": [urlsplit(target).netloc]}]}],
    }
    file = folder / "prometheus.yml"
    file.write_text(json.dumps(config))  # YAML too
    log = (folder / "prometheus.log").open("w")
    with log, subprocess.Popen(
        [
            "prometheus",
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'prometheus-data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=log,
        stderr=subprocess.STDOUT,
        preexec_fn=end_with_parent,
    ) as process:  # fmt: skip
        try:
            server = Prometheus(f"http://127.0.0.1:{port}")
            _wait_until_ready(server, process, folder)
            yield server
        finally:
            process.terminate()
            process.wait(STOP_S)


def _wait_until_ready(server: Prometheus, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urlopen(f"{server.url}/-/ready", timeout=5) as response:
                if response.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"Prometheus did not start: {(folder / 'prometheus.log').read_text()}")
