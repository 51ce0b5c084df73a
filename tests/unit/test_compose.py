"""compose.yaml without a Docker: its settings are the server's, and the files that it names are there."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from serve_app.settings import Settings
from tests.support.dockerfile import ROOT, stages

SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
PROMETHEUS = ROOT / "k8s" / "monitoring" / "compose-prometheus.yml"


def test_the_server_understands_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given = SERVICES["server"]["environment"]
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.allow_open
    assert list(settings.allowed_hosts) == ["server"]
    assert str(settings.store) == "valkey://store:6379/0"
    assert {name.removeprefix("SAM3_").lower() for name in given} <= Settings.model_fields.keys()


def test_both_know_one_password_and_only_this_machine_reaches_the_ports() -> None:
    password = SERVICES["server"]["environment"]["SAM3_STORE_PASSWORD"]
    assert SERVICES["store"]["environment"]["PASSWORD"] == password
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert "ports" not in SERVICES["store"]


def test_files_targets_and_services_that_it_names_are_there() -> None:
    assert SERVICES["server"]["build"]["target"] in stages()
    mounts = [each.split(":") for service in SERVICES.values() for each in service.get("volumes", [])]
    assert all(Path(ROOT / source).is_file() for source, *_ in mounts if source.startswith("./"))
    (scrape,) = yaml.safe_load(PROMETHEUS.read_text(encoding="utf-8"))["scrape_configs"]
    ((target,),) = [each["targets"] for each in scrape["static_configs"]]
    assert target.partition(":")[0] in SERVICES


@pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is missing: scripts/setup test installs it"
)
def test_its_prometheus_is_configured_well() -> None:
    words = ["promtool", "check", "config", str(PROMETHEUS)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
