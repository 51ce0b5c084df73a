"""A few generated requests; `make drill` sends many."""

from pathlib import Path

from tests.contract.generated import check_generated_requests


def test_all_checks_hold(server: str, tmp_path: Path) -> None:
    check_generated_requests(server, tmp_path, 10, "--phases=fuzzing")
