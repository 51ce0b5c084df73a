import re
from typing import Any

import pytest

from deployments.protocol import CacheTier, Timings
from serve_app.http.around.exchange import Exchange, request_id_of


def exchange(**timings: Any) -> Exchange:
    return Exchange(Timings("id", **timings), model_id="sam3/sam3_final")


def entries(timing: str) -> dict[str, str]:
    return dict(entry.split(";") for entry in timing.split(", "))


def test_a_request_without_an_image_has_only_a_total() -> None:
    assert list(entries(exchange().server_timing())) == ["total"]


@pytest.mark.parametrize(
    ("tier", "word"),
    [("hot", "hit"), ("warm", "hit"), ("cold", "miss"), ("miss", "miss"), ("joined", "miss")],
)
def test_cache_is_a_hit_when_nothing_was_encoded(tier: CacheTier, word: str) -> None:
    timing = entries(exchange(cache=tier).server_timing())
    assert timing["cache"] == f"desc={word}"
    assert timing["tier"] == f"desc={tier}"


def test_stages_are_in_milliseconds_and_in_order() -> None:
    timing = entries(
        exchange(cache="miss", stages={"prompt": 0.5, "encode": 1.25, "queue": 0.001}).server_timing()
    )
    assert list(timing) == ["decode", "cache", "encode", "prompt", "post", "queue", "tier", "total"]
    assert timing["encode"] == "dur=1250.00"
    assert timing["queue"] == "dur=1.00"
    assert timing["decode"] == "dur=0.00"


def test_server_timing_is_a_well_formed_header() -> None:
    timing = exchange(cache="hot", stages={"decode": 1e-9, "transfer": 1234.5}).server_timing()
    assert re.fullmatch(r"\w+;(dur=\d+\.\d\d|desc=\w+)(, \w+;(dur=\d+\.\d\d|desc=\w+))*", timing)


def test_headers() -> None:
    headers = dict(exchange().headers())
    assert set(headers) == {b"x-request-id", b"x-processing-time", b"x-model-id", b"server-timing"}
    assert float(headers[b"x-processing-time"]) >= 0


@pytest.mark.parametrize("given", ["a", "abc-123/=+", "x" * 128])
def test_fit_request_ids_are_kept(given: str) -> None:
    assert request_id_of(given) == given


@pytest.mark.parametrize("given", [None, "", "a b", "a\nb", "x" * 129, "é", "\x7f"])
def test_unfit_request_ids_are_replaced(given: str | None) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", request_id_of(given))
    assert request_id_of(given) != request_id_of(given)


def test_merge_sums_stages_and_is_a_hit_only_if_all_are() -> None:
    total = Timings("id")
    again = {"a": 2.0, "b": 3.0}
    total.merge([Timings("id", cache="hot", stages={"a": 1.0}), Timings("id", cache="warm", stages=again)])
    assert total.stages == {"a": 3.0, "b": 3.0}
    assert total.cache == "hot"
    mixed = Timings("id")
    mixed.merge([Timings("id", cache="hot"), Timings("id", cache="joined")])
    assert mixed.cache == "joined"
    unknown = Timings("id")
    unknown.merge([Timings("id", cache="hot"), Timings("id")])
    assert unknown.cache is None
