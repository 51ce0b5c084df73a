"""Measures two versions of this server in turns, in one run: `python -m loadtest.compare --before COMMIT`.

The earlier version runs from a checkout of its own, in this version's Python environment. Both get the same requests,
and their answers are checked.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.machine import this_machine
from harness.server import ROOT, server_process
from harness.usage import tree
from loadtest.baselines import ALONE, CROWD, Contender, compare
from loadtest.plan import Plan
from loadtest.reference import ask_quietly, warm
from loadtest.scenarios import CONCEPT, SCENARIOS, VISUAL
from loadtest.workers import worker


@contextmanager
def checkout(commit: str, folder: Path) -> Iterator[Path]:
    """The files of a commit, in a folder that is deleted at the end of the block."""
    at = folder / "before"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(at), commit], check=True)
    try:
        yield at
    finally:
        subprocess.run([*git, "remove", "--force", str(at)], check=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", required=True, help="commit to compare with")
    parser.add_argument("--alone", nargs="*", choices=sorted(SCENARIOS), default=list(ALONE))
    parser.add_argument("--crowd", nargs="*", choices=sorted(SCENARIOS), default=list(CROWD))
    parser.add_argument("--size", default="640x480", help="of the images")
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args(arguments)
    width, height = (int(side) for side in asked.size.split("x"))
    plan = Plan("", "click", asked.seconds, seed=1, pictures=asked.pictures, height=height, width=width)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sam3-compare-")))
        generator = stack.enter_context(worker(folder, "loadtest.drive"))
        roots = {"served": ROOT, "before": stack.enter_context(checkout(asked.before, folder))}
        each = []
        for name, root in roots.items():
            server = stack.enter_context(
                server_process(folder, root=root, model="tiny", object_store_bytes="512MiB")
            )
            quiet = ask_quietly(server.url, plan.corpus())
            warm(server.url, plan.corpus())
            processes = tree(server.process.pid)
            each.append(Contender(name, generator.run, server.url, (CONCEPT, VISUAL), processes, quiet))
        found = compare(
            each,
            plan,
            folder,
            seconds=asked.seconds,
            rounds=asked.rounds,
            alone=asked.alone,
            crowd=asked.crowd,
        )
    print(this_machine().line(), f"before: {asked.before}", sep="\n", end="\n\n")
    print(found.tables())
    return 0


if __name__ == "__main__":
    sys.exit(main())
