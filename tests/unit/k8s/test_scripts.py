"""The scripts for clusters: a linter's findings, and their actions against fakes of the programs that they call."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from scripts.helm_chart import CHART, render, values
from tests.support.kubernetes import ROOT, Manifest, kubectl, quantity, read

KIND, BATCH = ROOT / "scripts" / "kind", ROOT / "k8s" / "batch" / "run.sh"
PROGRAMS = ("docker", "kind", "kubectl", "helm", "curl", "openssl")
FAKE = """#!/bin/sh
echo "$(basename "$0") $*" >>"$LOG"
case "$(basename "$0") $*" in
    *"$FAILS"*) exit 3 ;;
    "curl "*) echo '{"masks": []}' ;;
    *jsonpath*) echo sam3-worker2 ;;
esac
exit 0
"""


@pytest.mark.parametrize("script", [KIND, BATCH], ids=lambda path: path.name)
def test_the_linter_has_nothing_to_say(script: Path) -> None:
    program = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run([program, script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def dry_run(folder: Path, fails: str = "no command", **environment: str) -> tuple[int, list[str]]:
    """The exit status of scripts/kind, and the commands that it ran, none of which did anything."""
    programs, log = folder / "bin", folder / "log"
    programs.mkdir()
    for name in PROGRAMS:
        (programs / name).write_text(FAKE)
        (programs / name).chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [KIND],
        env={"PATH": path, "LOG": str(log), "FAILS": fails, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, log.read_text().splitlines()


def test_a_cluster_is_made_tried_and_removed(tmp_path: Path) -> None:
    status, commands = dry_run(tmp_path)
    assert status == 0
    steps = [
        "docker build --target cpu",
        "kind create cluster",
        "kind load docker-image",
        "helm upgrade --install kuberay-operator",
        "kubectl apply --filename k8s/namespace.yaml",
        "helm upgrade --install sam3 k8s/chart",
        "kubectl wait rayservice/sam3 --namespace sam3 --for condition=Ready",
        "curl ",
        "kubectl drain sam3-worker2",
        "curl ",
        "kubectl uncordon sam3-worker2",
        "helm upgrade sam3 k8s/chart",
        "kubectl wait rayservice/sam3 --namespace sam3 --for condition=UpgradeInProgress=true",
        "kubectl wait rayservice/sam3 --namespace sam3 --for condition=UpgradeInProgress=false",
        "curl ",
        "helm rollback sam3",
        "kubectl wait rayservice/sam3 --namespace sam3 --for condition=UpgradeInProgress=false",
        "curl ",
        "kind delete cluster",
    ]
    rest = iter(commands)
    for step in steps:
        assert any(command.startswith(step) for command in rest), (step, commands)


def test_a_step_that_fails_ends_it_shows_the_pods_and_removes_the_cluster(tmp_path: Path) -> None:
    status, commands = dry_run(tmp_path, fails="kubectl drain")
    assert status == 3
    assert not any(command.startswith("helm rollback") for command in commands)
    assert any(command.startswith("kubectl get rayservice,pods") for command in commands)
    assert commands[-1] == "kind delete cluster --name sam3"


def test_a_cluster_is_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    status, commands = dry_run(tmp_path, KEEP="1")
    assert status == 0
    assert not any(command.startswith("kind delete") for command in commands)


def test_the_values_of_the_trial_are_values_of_the_chart() -> None:
    """Two machines take requests, with what one machine of Docker's has."""
    given = values([CHART / "examples" / "demo.yaml", ROOT / "k8s" / "kind-values.yaml"])
    found = read(render(given).values())
    (service,) = [each for each in found if each["kind"] == "RayService"]
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert (group["minReplicas"], group["maxReplicas"]) == (2, 3)
    assert group["template"]["spec"]["containers"][0]["image"] == "sam3-serve:kind"
    kind = yaml.safe_load((ROOT / "k8s" / "kind.yaml").read_text(encoding="utf-8"))
    machines = [node.get("labels", {}).get("sam3-machine") for node in kind["nodes"]]
    assert sorted(filter(None, machines)) == ["requests", "requests", "state"]


def test_the_trials_upgrade_fits_machines_of_four_cores_and_its_drain_takes_neither_head_nor_store() -> None:
    found = read(
        render(values([CHART / "examples" / "demo.yaml", ROOT / "k8s" / "kind-values.yaml"])).values()
    )
    (service,) = [each for each in found if each["kind"] == "RayService"]
    (server,) = [each for each in found if each["kind"] == "StatefulSet"]
    cluster = service["spec"]["rayClusterConfig"]
    (group,) = cluster["workerGroupSpecs"]
    head, worker = cluster["headGroupSpec"]["template"]["spec"], group["template"]["spec"]
    store = server["spec"]["template"]["spec"]
    assert worker["nodeSelector"] == {"sam3-machine": "requests"}
    assert head["nodeSelector"] == store["nodeSelector"] == {"sam3-machine": "state"}

    def cores(*containers: Manifest) -> float:
        return sum(quantity(each["resources"]["requests"]["cpu"]) for each in containers)

    kept = 0.5  # Kubernetes' own pods
    two_heads = 2 * cores(*head["containers"], cluster["autoscalerOptions"])
    assert two_heads + cores(*store["containers"]) <= 4 - kept
    assert 2 * cores(*worker["containers"]) <= 4 - kept, "an old and a new one, or one that was drained"


def test_a_public_ci_runs_the_same() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/kubernetes.yaml").read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    assert [step.get("run") for step in job["steps"]][-1] == "make kind"
    assert workflow["permissions"] == {"contents": "read"}
    assert "\tscripts/kind" in (ROOT / "Makefile").read_text().replace("\t@", "\t")


class Asked(NamedTuple):
    """A request for one image."""

    image: str
    key: str
    at: float


@contextmanager
def server(busy: int = 0, status: int = 503, retry_after: int = 1) -> Iterator[tuple[str, list[Asked]]]:
    """A server that is overloaded for its first requests, and its notes of all requests."""
    asked: list[Asked] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                asked.append(Asked(body["image"]["value"], self.headers["Authorization"], time.monotonic()))
                refused = len(asked) <= busy
            answer = json.dumps({"of": body["image"]["value"]}).encode()
            broken = body["image"]["value"].endswith("broken.jpg")
            self.send_response(422 if broken else status if refused else 200)
            if refused:
                self.send_header("Retry-After", str(retry_after))
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}", asked
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def batch(folder: Path, lines: str, url: str, phrase: str = "car") -> subprocess.CompletedProcess[str]:
    (folder / "urls").write_text(lines)
    (folder / "answers").mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "SERVER": url,
        "KEY": "secret",
        "PHRASE": phrase,
        "PARALLEL": "4",
    }
    words = ["sh", str(BATCH), str(folder / "urls"), str(folder / "answers")]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)


def answers(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The images of the answers, by the number of their line; of the folder that a run names."""
    folder = Path(done.stdout.split("answers are in ")[1].strip())
    return {path.stem: json.loads(path.read_text())["of"] for path in folder.glob("*.json")}


def test_a_batch_waits_where_it_is_told_to_and_gets_every_answer(tmp_path: Path) -> None:
    urls = [f"https://images.example/{number}.jpg" for number in range(6)]
    with server(busy=3) as (url, asked):
        done = batch(tmp_path, "\n".join(urls) + "\n", url)
    assert done.returncode == 0, done.stderr
    assert answers(done) == {str(place + 1): image for place, image in enumerate(urls)}
    assert len(asked) == len(urls) + 3
    assert {each.key for each in asked} == {"Bearer secret"}


@pytest.mark.parametrize("status", [429, 503])
def test_a_batch_asks_again_no_sooner_than_the_server_says(tmp_path: Path, status: int) -> None:
    """curl by itself would ask again after one second."""
    with server(busy=1, status=status, retry_after=3) as (url, asked):
        assert batch(tmp_path, "https://images.example/0.jpg\n", url).returncode == 0
    refused, answered = asked
    assert answered.at - refused.at >= 3


def test_a_batch_that_runs_again_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    urls = ["https://images.example/0.jpg", "https://images.example/broken.jpg"]
    with server() as (url, asked):
        first = batch(tmp_path, "\n".join(urls) + "\n", url)
        assert first.returncode == 1
        assert "no answer for line 2: https://images.example/broken.jpg" in first.stderr
        again = batch(tmp_path, "\n".join(urls) + "\n", url)
        assert again.returncode == 1
    assert sorted(each.image for each in asked) == [urls[0], urls[1], urls[1]]
    assert answers(again) == {"1": urls[0]}


def test_the_next_list_or_phrase_is_not_taken_for_answered(tmp_path: Path) -> None:
    first, second = "https://images.example/first.jpg", "https://images.example/second.jpg"
    with server() as (url, asked):
        assert answers(batch(tmp_path, first, url)) == {"1": first}
        assert answers(batch(tmp_path, second, url)) == {"1": second}
        assert answers(batch(tmp_path, second, url, phrase="dog")) == {"1": second}
        assert answers(batch(tmp_path, first, url)) == {"1": first}
    assert [each.image for each in asked] == [first, second, second]


def test_lines_of_a_batch_may_be_empty_or_without_an_end_and_hold_quotes(tmp_path: Path) -> None:
    quoted, broken = "https://images.example/it's.jpg", "https://images.example/broken.jpg"
    with server() as (url, _):
        done = batch(tmp_path, f"\n{quoted}\n\n{broken}", url)
    assert answers(done) == {"2": quoted}
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"no answer for line 4: {broken}"


def test_the_image_of_the_batch_comes_from_a_registry_of_ones_own_as_the_file_says(tmp_path: Path) -> None:
    job = ROOT / "k8s" / "batch" / "job.yaml"
    shutil.copy(job, tmp_path)
    text = job.read_text(encoding="utf-8")
    lines = text[text.index("#   resources:") : text.index("apiVersion")].splitlines()
    (tmp_path / "kustomization.yaml").write_text("".join(f"{line[4:]}\n" for line in lines))
    done = subprocess.run([kubectl(), "kustomize", tmp_path], capture_output=True, text=True, check=True)
    (found,) = [each for each in yaml.safe_load_all(done.stdout) if each["kind"] == "Job"]
    spec = found["spec"]["template"]["spec"]
    assert spec["containers"][0]["image"].startswith("registry.example/curl:")
    assert spec["imagePullSecrets"] == [{"name": "registry"}]


def test_the_job_runs_that_script_as_a_tenant_of_its_own() -> None:
    documents = list(yaml.safe_load_all((ROOT / "k8s/batch/job.yaml").read_text(encoding="utf-8")))
    (job,) = [each for each in documents if each["kind"] == "Job"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["sh", "/job/run.sh", "/job/urls", "/answers"]
    given = {each["name"] for each in container["env"]}
    assert given >= {"SERVER", "KEY", "PHRASE", "PARALLEL"}
    assert job["spec"]["backoffLimit"] > 0
