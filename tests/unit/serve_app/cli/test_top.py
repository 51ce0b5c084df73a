import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from click.testing import CliRunner
from rich.console import Console

from deployments.observe.exposition import Merged
from deployments.observe.metrics import NAMES, Metrics
from deployments.ray.metrics import RAYS
from serve_app.cli.main import main
from serve_app.cli.top import view
from serve_app.cli.top_figures import Figures, Scrape, figures, quantile
from tests.support.ray_exposition import reported

CLICKS = "/sam3/visual_segment"


def exposition(clicks: int = 0, failed: int = 0, seconds: float = 0.003) -> str:
    """The text of GET /metrics after so many clicks, made by the code that writes it."""
    metrics = Metrics()
    for _ in range(clicks):
        metrics.observe(NAMES.request_seconds, seconds, route=CLICKS, model="m")
        metrics.observe(NAMES.stage_seconds, seconds / 2, stage="prompt")
    metrics.add(NAMES.requests, clicks, route=CLICKS, status="200", model="m")
    metrics.add(NAMES.requests, failed, route=CLICKS, status="503", model="m")
    metrics.add(NAMES.cache_lookups, clicks * 0.75, tier="hot", model="m")
    metrics.add(NAMES.cache_lookups, clicks * 0.25, tier="miss", model="m")
    metrics.add(NAMES.images_encoded, clicks * 0.25, cause="new")
    for part, count in (("ingress", 1), ("encoder", 1), ("decoder", 2), ("pool", 1)):
        metrics.set(NAMES.processes, count, part=part)
    metrics.set(NAMES.in_flight, 3, route=CLICKS)
    metrics.set(NAMES.pool_bytes, 21 * 2**20, tier="warm")
    metrics.set(NAMES.pool_entries, 42, tier="warm")
    lines = [reported(metrics, 'NodeAddress="n"')]
    target, queued = "ray_serve_autoscaling_target_replicas", "ray_serve_deployment_queued_queries"
    assert {target, queued} <= {ray.name for ray in RAYS}
    for name, value in ((target, 3), (queued, 7)):
        lines += [f"# TYPE {name} gauge", f'{name}{{NodeAddress="n",deployment="PromptDecoder"}} {value}']
    merged = Merged()
    merged.read("\n".join(lines) + "\n")
    merged.put(NAMES.nodes, 1, state="answered")
    return merged.text().decode()


def between(first: str, second: str, seconds: float = 10) -> Figures:
    return figures(Scrape.read(first, 0), Scrape.read(second, seconds))


def shown(seen: Figures, problem: str = "") -> str:
    file = io.StringIO()
    console = Console(file=file, width=120, height=60, force_terminal=False)
    console.print(view("http://host:9001", seen, problem))
    return file.getvalue()


def test_rates_are_of_what_happened_in_between() -> None:
    seen = between(exposition(100), exposition(300, failed=10))
    assert seen.requests_per_s == pytest.approx(21)
    assert seen.failed_per_s == pytest.approx(1)
    assert seen.lookups == {"hot": pytest.approx(15), "miss": pytest.approx(5)}
    (route,) = seen.routes
    assert (route.name, route.per_s, route.now) == (CLICKS, pytest.approx(20), 3)
    assert route.p50 is not None
    assert 0.002 < route.p50 < 0.005
    assert seen.processes == {"ingress": 1, "encoder": 1, "decoder": 2, "pool": 1}
    assert seen.targets == {"PromptDecoder": 3}
    assert seen.queued == {"PromptDecoder": 7}


def test_a_counter_that_fell_counts_from_zero() -> None:
    assert between(exposition(300), exposition(20)).requests_per_s == pytest.approx(2)


def test_quantiles_are_of_the_span_and_not_of_all_time() -> None:
    assert between(exposition(100), exposition(100)).routes[0].p50 is None, "nothing happened in between"


@pytest.mark.parametrize(
    ("share", "buckets", "expected"),
    [
        (0.5, [(1.0, 10.0), (2.0, 10.0), (float("inf"), 10.0)], 0.5),
        (0.99, [(1.0, 0.0), (2.0, 100.0), (float("inf"), 100.0)], 1.99),
        (0.99, [(1.0, 0.0), (float("inf"), 4.0)], 1.0),
        (0.5, [(1.0, 0.0), (float("inf"), 0.0)], None),
        (0.5, [], None),
    ],
)
def test_quantiles_are_interpolated(share: float, buckets: list, expected: float | None) -> None:
    assert quantile(share, buckets) == (expected if expected is None else pytest.approx(expected))


def test_the_view_shows_all_figures() -> None:
    text = shown(between(exposition(100), exposition(300, failed=10)))
    rates = ("21.0 requests/s", "1.0 failed/s", "75%", "new 5.0/s")
    for part in (*rates, CLICKS, "prompt", "decoder", "hot", "42", "21 MiB"):
        assert part in text


def test_scrape_errors_are_shown_in_the_view() -> None:
    quiet = between(exposition(1), exposition(1))
    assert "no new figures: refused" in shown(quiet, "refused")


def test_a_text_that_is_no_exposition_of_ours_is_refused() -> None:
    with pytest.raises(ValueError, match="no figures of sam3-serve"):
        Scrape.read("# TYPE up gauge\nup 1\n", 0)


@pytest.fixture
def url() -> Iterator[str]:
    count = 0

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal count
            count += 100
            body = exposition(count).encode()
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_top_prints_the_view_once_without_a_terminal(url: str) -> None:
    done = CliRunner().invoke(main, ["top", "--url", url + "/", "--every", "0.1"])
    assert done.exit_code == 0, done.output
    assert "requests/s" in done.output
    assert CLICKS in done.output


def test_a_server_that_is_not_there_is_one_line() -> None:
    done = CliRunner().invoke(main, ["top", "--url", "http://127.0.0.1:1"])
    assert done.exit_code == 1
    assert "cannot read http://127.0.0.1:1/metrics" in done.output
