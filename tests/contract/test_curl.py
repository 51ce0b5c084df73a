"""Requests as people type them: curl, as the documents show it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json, encoded, scene

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def curl(*arguments: str) -> tuple[int, str]:
    """Status and body."""
    command = ["curl", "--silent", "--show-error", "--write-out", "\n%{http_code}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def test_json(server: str, tmp_path: Path) -> None:
    body = {"image": as_json(encoded(scene())), "prompts": [{"type": "text", "text": "red circle"}]}
    (tmp_path / "body.json").write_text(json.dumps(body))
    status, text = curl(
        f"{server}/sam3/concept_segment?api_key=KEY",
        "--header",
        "Content-Type: application/json",
        "--data",
        f"@{tmp_path}/body.json",
    )
    assert status == 200, text
    assert len(json.loads(text)["prompt_results"][0]["predictions"]) == 2


def test_multipart(server: str, tmp_path: Path) -> None:
    (tmp_path / "scene.png").write_bytes(encoded(scene()))
    request = json.dumps({"prompts": [{"text": "red circle"}]})
    status, text = curl(
        f"{server}/sam3/concept_segment",
        "--form",
        f"image=@{tmp_path}/scene.png",
        "--form",
        f"request={request}",
    )
    assert status == 200, text
    assert len(json.loads(text)["prompt_results"][0]["predictions"]) == 2


def test_a_forgotten_content_type_is_told(server: str) -> None:
    """curl says that --data is a form."""
    status, text = curl(f"{server}/sam3/embed_image", "--data", '{"image": {"type": "base64", "value": ""}}')
    assert status == 422
    assert "application/json" in text


def test_compressed(server: str) -> None:
    status, text = curl("--compressed", f"{server}/openapi.json")
    assert status == 200
    assert json.loads(text)["openapi"] == "3.1.0"
