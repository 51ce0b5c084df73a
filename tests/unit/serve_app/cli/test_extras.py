import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT = """
import sys
sys.modules[sys.argv.pop(1)] = None
from serve_app.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("pyarrow", ("label", ".", "--class", "circle", "-o", "set")),
        ("scipy.optimize", ("evaluate", "--ground-truth", "truth.json", "--model", "tiny")),
    ],
)
def test_a_command_without_its_extra_says_how_this_python_gets_it(
    module: str, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "truth.json").touch()
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, module, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert f"{module} is missing" in done.stderr
    assert f"{sys.executable} -m pip install 'sam3-serve[label]'" in done.stderr
