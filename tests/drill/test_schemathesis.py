"""Requests generated from the API's document, in number."""

from pathlib import Path

from tests.contract.conftest import own_server
from tests.contract.generated import check_generated_requests


def test_all_checks_hold(tmp_path: Path) -> None:
    with own_server() as url:
        check_generated_requests(url, tmp_path, examples=300)
