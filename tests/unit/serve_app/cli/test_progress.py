import io

from rich.console import Console

from serve_app.cli.progress import progress


def test_a_log_gets_a_line_for_each_step() -> None:
    file = io.StringIO()
    with progress(Console(file=file, width=20), "starting a long first step") as show:
        for text in ("loading [1 of 2]", "loading [1 of 2]", "loading [2 of 2]", ""):
            show(text)
    assert file.getvalue().splitlines() == [
        "starting a long first step",
        "loading [1 of 2]",
        "loading [2 of 2]",
    ]


def test_steps_too_soon_after_a_line_are_left_out_of_a_log() -> None:
    file = io.StringIO()
    with progress(Console(file=file, width=20), "loading", every_s=3600) as show:
        for text in ("frame 1", "frame 2", "frame 3"):
            show(text)
    assert file.getvalue().splitlines() == ["loading", "frame 1"]


def test_a_terminal_gets_one_line_that_changes_and_goes() -> None:
    file = io.StringIO()
    with progress(Console(file=file, force_terminal=True, width=60), "first") as show:
        show("second")
        show("")
    text = file.getvalue()
    assert "second" in text
    assert text.count("\n") < 4
