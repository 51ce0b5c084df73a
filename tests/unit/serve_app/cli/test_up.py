import os
import socket
import zipfile
from contextlib import nullcontext
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from serve_app.cli.addresses import free_ports
from serve_app.cli.greeting import welcome
from serve_app.cli.haproxy_rules import REFUSED
from serve_app.cli.main import main
from serve_app.cli.preflight import refuse_unwise, weights
from serve_app.cli.ray_head import RayNotStarted, ray_head
from serve_app.cli.up import answers, reason, refusal
from serve_app.settings import Settings


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, arguments, env=environment)
    return done.exit_code, done.output


def test_a_busy_port_is_refused_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code, output = run("up", "--port", str(server.getsockname()[1]))
    assert code == 1
    assert "already listens" in output
    assert "--port" in output


def test_a_public_address_without_keys_is_refused() -> None:
    code, output = run("up", "--host", "0.0.0.0")
    assert code == 1
    assert "no API keys" in output
    assert "--allow-open" in output


@pytest.mark.parametrize("setting", [{"allow_open": True}, {"api_keys_file": "none.json"}])
def test_a_public_address_is_allowed_with_keys_or_on_purpose(setting: dict[str, object]) -> None:
    refuse_unwise(Settings(host="0.0.0.0", port=free_ports(1)[0], **setting))  # type: ignore[arg-type]


def test_a_key_file_that_is_broken_or_missing_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.json"
    settings = Settings(port=free_ports(1)[0], api_keys_file=path)
    refuse_unwise(settings)
    assert f"every request is refused until `sam3-serve keys add` makes {path}" in capsys.readouterr().err
    path.write_text("{")
    with pytest.raises(click.ClickException, match=r"SAM3_API_KEYS_FILE: .* is not a valid key file"):
        refuse_unwise(settings)


def test_the_refusal_of_haproxys_rules_is_found_in_the_folder_of_its_node(tmp_path: Path) -> None:
    assert refusal(tmp_path) == ""
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / f"haproxy.cfg{REFUSED}").write_text("HAProxy is not started")
    assert refusal(tmp_path) == "HAProxy is not started"


def test_a_node_that_does_not_start_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def init(**_: object) -> None:
        print("ray says a lot")
        raise Exception("The current node timed out during startup. This could happen\nand more")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr("serve_app.cli.ray_head.worker_template", nullcontext)  # nothing asks it for a worker
    monkeypatch.setattr(os, "environ", dict(os.environ))
    settings = Settings(haproxy=False, port=free_ports(1)[0])
    with pytest.raises(RayNotStarted) as raised, ray_head(settings, tmp_path):
        pytest.fail("it has not started")
    assert str(raised.value) == "The current node timed out during startup. This could happen"


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(click.ClickException, match="cannot listen on 203"):
        refuse_unwise(Settings(host="203.0.113.1", allow_open=True))


def test_invalid_settings_are_named() -> None:
    code, output = run("up", SAM3_PORT="0", SAM3_DEVICE="tpu")
    assert code == 2
    assert "SAM3_PORT" in output
    assert "SAM3_DEVICE" in output


def test_weights_that_are_not_there_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="no checkpoint at"):
        weights(Settings(model="sam3", checkpoint=tmp_path / "none.pt"))


def test_a_given_file_is_found_and_the_bundled_one_needs_no_path(tmp_path: Path) -> None:
    file = str(tmp_path / "sam3.pt")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("sam3/data.pkl", b"")
    assert weights(Settings(model="sam3", checkpoint=tmp_path)) == {"checkpoint": file}
    assert weights(Settings(base_checkpoint=file)) == {"base_checkpoint": file}
    assert weights(Settings()) == {}


def test_the_reason_of_a_failure_is_the_last_error_of_the_traceback() -> None:
    message = """The deployment failed to start 3 times in a row. See the traceback:
      File "x.py", line 3, in load
        raise CheckpointError("no file")
    sam3_engine.errors.CheckpointError: no file: give a path
    """
    assert reason(message) == "no file: give a path"
    assert reason(message + "\nValueError: wrong\nnothing: else") == "ValueError: wrong"
    assert reason(message + "\ntorch.cuda.OutOfMemoryError: 3 GB") == "OutOfMemoryError: 3 GB"
    assert reason("it just failed") == "it just failed"
    assert reason("") == "no reason given"


def test_a_server_that_is_not_there_does_not_answer() -> None:
    assert not answers(f"http://127.0.0.1:{free_ports(1)[0]}/readiness")


def test_the_greeting_breaks_no_line_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    welcome(Console(width=40), Settings(port=9005), 12.3, tmp_path)
    output = capsys.readouterr().out
    assert "http://127.0.0.1:9005/docs" in output
    assert "only knows coloured shapes" in output
    command = output[output.index("curl") :].strip()
    assert all(line.endswith("\\") for line in command.splitlines()[:-1])
    assert command.endswith("'")


@pytest.mark.parametrize("option", ["--checkpoint", "--base-checkpoint"])
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"PK\x03\x04" + bytes(900), "only a part of a download"),
        (b"", "is an empty file"),
    ],
)
def test_a_broken_file_is_told_before_anything_starts(
    tmp_path: Path, option: str, content: bytes, what: str
) -> None:
    (tmp_path / "mine.pt").write_bytes(content)
    code, output = run("up", option, str(tmp_path / "mine.pt"), "--port", str(free_ports(1)[0]))
    assert code == 1
    assert what in output
    assert "Ray" not in output
