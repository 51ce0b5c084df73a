"""Several models: see drills/models.py."""

from harness.programs import run_program


def test_no_request_fails_while_the_set_of_models_changes() -> None:
    assert run_program("drills.models") == 0
