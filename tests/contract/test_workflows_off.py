"""Workflows where they are not switched on: their routes say how to switch them on."""

import pytest
import requests

from tests.contract.conftest import ServerFactory
from tests.support.patience import PATIENCE_S

ROUTES = [
    ("POST", "/workflows/run"),
    ("POST", "/infer/workflows"),
    ("POST", "/shop/workflows/count"),
    ("POST", "/infer/workflows/shop/count"),
    ("POST", "/workflows/validate"),
    ("POST", "/workflows/describe_interface"),
    ("POST", "/shop/workflows/count/describe_interface"),
    ("POST", "/workflows/blocks/describe"),
    ("GET", "/workflows/blocks/describe"),
    ("GET", "/workflows/execution_engine/versions"),
]


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_501_says_how_to_switch_them_on(start_server: ServerFactory, method: str, route: str) -> None:
    with start_server() as url:
        answer = requests.request(
            method, url + route, json={} if method == "POST" else None, timeout=PATIENCE_S
        )
    assert answer.status_code == 501
    assert "make serve WORKFLOWS=1" in answer.json()["message"]
