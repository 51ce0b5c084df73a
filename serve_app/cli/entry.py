"""`sam3-serve`: the way in. It loads the commands, which takes a moment, and runs them."""

import signal


def main() -> None:
    """The program. Ctrl-C while it loads ends it without a word: an import that is interrupted prints a traceback."""
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from serve_app.cli.main import main as commands

    signal.signal(signal.SIGINT, interrupt)
    commands()


if __name__ == "__main__":
    main()
