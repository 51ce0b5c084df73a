import json
from pathlib import Path
from typing import Any

import pytest

from deployments.workflows.definitions import MOST_BYTES, Definitions, UnknownWorkflow

DEFINITION = {"version": "1.0", "inputs": [], "steps": [], "outputs": []}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path, "acme/shop/count", DEFINITION)
    save(tmp_path, "acme/shop/count@2", {**DEFINITION, "version": "1.1"})
    save(tmp_path, "acme/shop/exported", {"specification": DEFINITION})
    save(tmp_path, "other/shop/secret", DEFINITION)
    return tmp_path


def save(folder: Path, name: str, definition: Any) -> None:
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(definition))


def test_a_workflow_is_found_by_tenant_workspace_id_and_version(folder: Path) -> None:
    found = Definitions(folder, cache_s=60)
    assert found.find("acme", "shop", "count") == DEFINITION
    assert found.find("acme", "shop", "count", "2")["version"] == "1.1"
    assert found.find("acme", "shop", "exported") == DEFINITION


@pytest.mark.parametrize(
    ("tenant", "workspace", "name", "version"),
    [
        ("acme", "shop", "secret", None),
        ("acme", "other", "secret", None),
        ("acme", "../other/shop", "secret", None),
        ("acme", "..", "shop", None),
        ("acme", "shop", "../../other/shop/secret", None),
        ("acme", "shop", "..%2f..%2fother%2fshop%2fsecret", None),
        ("acme", "shop", "count", "../2"),
        ("acme", "shop", "count.json", None),
        ("acme", "shop", "count@2", None),
        ("acme", "shop", "count\x00", None),
        ("acme", "shop", "", None),
        ("acme", "", "count", None),
        ("acme", "/etc", "passwd", None),
        ("acme", "shop", "a" * 200, None),
        ("..", "acme", "shop", None),
        ("", "shop", "count", None),
        ("nobody", "shop", "count", None),
    ],
)
def test_nothing_else_is(folder: Path, tenant: str, workspace: str, name: str, version: str | None) -> None:
    with pytest.raises(UnknownWorkflow):
        Definitions(folder, cache_s=60).find(tenant, workspace, name, version)


def test_links_lead_nowhere_outside_the_tenants_folder(folder: Path) -> None:
    (folder / "acme/shop/theirs.json").symlink_to(folder / "other/shop/secret.json")
    (folder / "acme/away").symlink_to(folder / "other/shop")
    (folder / "acme/shop/mine.json").symlink_to(folder / "acme/shop/count.json")
    found = Definitions(folder, cache_s=60)
    for workspace, name in (("shop", "theirs"), ("away", "secret")):
        with pytest.raises(UnknownWorkflow):
            found.find("acme", workspace, name)
    assert found.find("acme", "shop", "mine") == DEFINITION, "as Kubernetes mounts a ConfigMap"


def test_the_cache_is_used_where_it_may_be(folder: Path) -> None:
    now = 0.0
    found = Definitions(folder, cache_s=60, clock=lambda: now)
    found.find("acme", "shop", "count")
    newer = {**DEFINITION, "version": "1.2"}
    save(folder, "acme/shop/count", newer)
    assert found.find("acme", "shop", "count") == DEFINITION
    assert found.find("acme", "shop", "count", use_cache=False) == newer
    assert found.find("acme", "shop", "count") == newer, "what was read is kept"
    save(folder, "acme/shop/count", DEFINITION)
    now = 61.0
    assert found.find("acme", "shop", "count") == DEFINITION
    (folder / "acme/shop/count.json").unlink()
    with pytest.raises(UnknownWorkflow):
        found.find("acme", "shop", "count", use_cache=False)
    with pytest.raises(UnknownWorkflow):
        found.find("acme", "shop", "count")


@pytest.mark.parametrize(
    "content", ["", "no json", "[]", "5", '{"specification": 5}', " " * (MOST_BYTES + 1) + "{}"]
)
def test_files_that_are_no_definitions_are_not_there(folder: Path, content: str) -> None:
    (folder / "acme/shop/broken.json").write_text(content)
    with pytest.raises(UnknownWorkflow):
        Definitions(folder, cache_s=60).find("acme", "shop", "broken")


def test_without_a_folder_there_is_nothing() -> None:
    with pytest.raises(UnknownWorkflow, match="send the specification"):
        Definitions(None, cache_s=60).find("default", "shop", "count")
