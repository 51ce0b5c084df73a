"""The Serve configuration of one of the chart's examples, deployed as the operator does on a cluster with its groups.

Nodes are processes of this machine and their GPUs are declared, not there: the model runs on CPUs, in small. The
head's state lies in Valkey, as `ha` has it. Nodes without a model have no torch, as the image `http`.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass

import pytest
import requests

from deployments.store.server import LocalServer
from harness.local_cluster import LocalCluster, Node, local_cluster
from harness.redis import PASSWORD, state_server
from harness.waiting import wait_until
from serve_app.http.tenants import keyfile
from tests.support.kubernetes import Manifest, groups, quantity, serve_config
from tests.support.scenes import as_json, numbered

EXAMPLE = "gpu"
APP = "sam3"
CLICK = {"points": [{"x": 70, "y": 80, "positive": True}]}
SPARE_CPUS = 4
"""Of an ingress node, so that another one's replicas find room: in a cluster the autoscaler brings a node."""


@dataclass
class Deployed:
    cluster: LocalCluster
    head: Node
    config: Manifest
    key: str
    ingress: list[Node]
    gpu: list[Node]


def in_small(config: Manifest, keys: str, port: int, store: str) -> Manifest:
    """The configuration with another model on another device: placement, sizes and all else as they are."""
    config = deepcopy(config)
    (application,) = config["applications"]
    arguments = application["args"]
    del arguments["checkpoint"], arguments["access_log"]  # a volume, and the output of a container
    arguments.update(model="tiny-random", device="cpu", encoder_threads=1, decoder_threads=1)
    arguments.update(api_keys_file=keys, warm_bytes="100MiB", store=store)
    config["http_options"]["port"] = port
    return config


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    with local_cluster() as cluster, ExitStack() as stack:
        hide_the_model(cluster)
        cluster.keep_state_in(stack.enter_context(state_server(cluster.folder)).address, PASSWORD)
        head = cluster.start_head()
        nodes: dict[str, list[Node]] = {"ingress": [], "gpu": []}
        for group in groups(EXAMPLE):
            resources = group["template"]["spec"]["containers"][0]["resources"]
            # As the operator does: the requests count where there is no limit, as for an ingress's cores.
            limits = {**resources["requests"], **resources["limits"]}
            spare = SPARE_CPUS if group["groupName"] == "ingress" else 0
            for _ in range(group["minReplicas"]):
                node = cluster.start_worker(
                    group["labels"],
                    num_cpus=int(quantity(limits["cpu"])) + spare,
                    num_gpus=int(quantity(limits.get("nvidia.com/gpu", 0))),
                )
                nodes[group["groupName"]].append(node)
        store = LocalServer(cluster.folder / "store", 2**30)
        store.start()
        stack.callback(store.stop)
        keys = cluster.folder / "keys.json"
        key = keyfile.add(keys, "somebody")
        config = in_small(serve_config(EXAMPLE), str(keys), int(head.url.rpartition(":")[2]), store.url)
        cluster.deploy(config)
        cluster.wait_until_running(APP)
        found = Deployed(cluster, head, config, key, **nodes)
        wait_until_probed(found)  # a pod that is not ready gets no traffic
        yield found


def hide_the_model(cluster: LocalCluster) -> None:
    """Packages that the image of HTTP nodes lacks cannot be imported on nodes without a model."""
    cluster.without_model = cluster.folder / "without-model"
    for name in ("torch", "torchvision", "sam3", "open_clip"):
        package = cluster.without_model / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"raise ModuleNotFoundError('No module named {name}')")


def ask(node: Node, key: str, number: int) -> requests.Response:
    image = as_json(numbered(number))
    body = {"image": image, "prompts": [CLICK], "api_key": key}
    return requests.post(f"{node.url}/sam3/visual_segment", json=body, timeout=None)


def wait_until_probed(deployed: Deployed) -> None:
    """Until the operator's probes find every worker well."""

    def failing() -> dict[str, list[str]]:
        found = {node.url: node.failing_probes() for node in [*deployed.ingress, *deployed.gpu]}
        return {url: names for url, names in found.items() if names}

    wait_until(lambda: not failing(), problem=lambda: str(failing()))


def nodes_of(deployed: Deployed, name: str) -> set[str]:
    """Where a deployment's running replicas are."""
    found = deployed.cluster.application(APP)["deployments"][name]["replicas"]
    return {replica["node_id"] for replica in found if replica["state"] == "RUNNING"}


def labels(deployed: Deployed) -> dict[str, dict[str, str]]:
    found = deployed.cluster.api("GET", "/api/v0/nodes?limit=100&detail=true")["data"]["result"]["result"]
    return {node["node_id"]: node["labels"] for node in found if node["state"] == "ALIVE"}


def pool_nodes(deployed: Deployed) -> set[str]:
    found = deployed.cluster.api("GET", "/api/v0/actors?limit=500&detail=true")["data"]["result"]["result"]
    return {
        actor["node_id"]
        for actor in found
        if actor["class_name"] == "PoolShard" and actor["state"] == "ALIVE"
    }


def test_every_node_answers_those_who_have_a_key(deployed: Deployed) -> None:
    for number, node in enumerate([*deployed.ingress, *deployed.gpu]):
        answer = ask(node, deployed.key, number)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["predictions"]) == 1
        assert ask(node, "wrong", number).status_code == 401


def test_replicas_are_where_the_labels_say(deployed: Deployed) -> None:
    by_node = labels(deployed)
    (application,) = deployed.config["applications"]
    for deployment in application["deployments"]:
        ((label, value),) = deployment["ray_actor_options"]["label_selector"].items()
        where = nodes_of(deployed, deployment["name"])
        assert where
        assert all(by_node[node][label] == value for node in where), deployment["name"]
    assert len(nodes_of(deployed, "Ingress")) == len(deployed.ingress), "spread over the nodes"


def test_the_pool_is_kept_off_the_head_and_gpu_nodes(deployed: Deployed) -> None:
    ask(deployed.ingress[0], deployed.key, 0)
    by_node = labels(deployed)
    where = pool_nodes(deployed)
    assert where
    assert all(by_node[node].get("sam3/pool") == "true" for node in where)


def test_the_dashboard_and_its_job_api_ask_for_the_token(deployed: Deployed) -> None:
    base = f"http://127.0.0.1:{deployed.cluster.dashboard_port}"
    for path in ("/api/serve/applications/", "/api/jobs/", "/api/v0/actors"):
        assert requests.get(base + path, timeout=30).status_code == 401, path
    run_code = {"entrypoint": "true"}
    assert requests.post(f"{base}/api/jobs/", json=run_code, timeout=30).status_code == 401


def test_the_operators_probes_find_every_worker_well_without_a_token(deployed: Deployed) -> None:
    wait_until_probed(deployed)


def test_a_node_that_is_drained_under_load_fails_no_request(deployed: Deployed) -> None:
    leaving, staying = deployed.ingress
    before = nodes_of(deployed, "Ingress")
    stop, statuses = threading.Event(), []

    def load() -> None:
        number = 0
        while not stop.is_set():
            statuses.append(ask(staying, deployed.key, number % 8).status_code)
            number += 1

    thread = threading.Thread(target=load)
    thread.start()
    try:
        node_id = node_of(deployed, leaving)
        assert node_id in before
        drained = subprocess.run(
            [sys.executable, "-m", "serve_app.cli.entry", "drain", "--node", node_id, "--seconds", "120"],
            env=leaving.environment,
            capture_output=True,
            text=True,
        )
    finally:
        stop.set()
        thread.join()
    assert drained.returncode == 0, drained.stderr
    assert node_id not in nodes_of(deployed, "Ingress")
    leaving.kill()
    wait_until(lambda: knows_the_key(deployed, staying))
    assert ask(staying, deployed.key, 99).status_code == 200
    assert set(statuses) == {200}
    assert len(statuses) > 5


def test_a_head_that_dies_costs_no_request_and_heals_when_it_is_back(deployed: Deployed) -> None:
    """The last one of this module: it leaves one node for HTTP, and another head."""
    cluster, node = deployed.cluster, deployed.ingress[-1]
    cluster.wait_until_running(APP, 120)
    renew_ingress(deployed, node)
    before = running(deployed, "PromptDecoder")
    deployed.head.kill()
    assert {ask(node, deployed.key, number % 4).status_code for number in range(20)} == {200}
    assert [name for each in (node, *deployed.gpu) for name in each.failing_probes()] == []
    os.kill(next(iter(before.values())), signal.SIGKILL)  # nobody is there to start another one

    def answers_again() -> bool:
        if deployed.head.process.poll() is not None:  # as the kubelet does
            deployed.head.start_again()
        now = running(deployed, "PromptDecoder")
        return len(now) == len(before) and now.keys() != before.keys()

    wait_until(answers_again, 240, lambda: deployed.head.output.read_text())
    assert {ask(node, deployed.key, number % 4).status_code for number in range(4)} == {200}


def running(deployed: Deployed, name: str) -> dict[str, int]:
    """A deployment's replicas that run: process ids by replica."""
    found = deployed.cluster.application(APP).get("deployments", {}).get(name, {})
    return {
        each["replica_id"]: each["pid"] for each in found.get("replicas", []) if each["state"] == "RUNNING"
    }


def renew_ingress(deployed: Deployed, node: Node) -> None:
    """Kill every ingress replica, until others are there, none of which has had to do with the model."""
    before = running(deployed, "Ingress")
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)

    def renewed() -> bool:
        now = running(deployed, "Ingress").keys()
        return len(now) == len(before) and not now & before.keys()

    wait_until(renewed, 240)
    wait_until(lambda: knows_the_key(deployed, node))


def knows_the_key(deployed: Deployed, node: Node) -> bool:
    """Whether the node answers, which it need not do at once."""
    key = {"Authorization": f"Bearer {deployed.key}"}
    try:
        return requests.get(f"{node.url}/openapi.json", headers=key, timeout=30).ok
    except requests.RequestException:
        return False


def node_of(deployed: Deployed, node: Node) -> str:
    """The id that Ray gave it: by the proxy that listens on its port."""
    found = deployed.cluster.api("GET", "/api/serve/applications/")["proxies"]
    pids = {process.pid for process in node.process.children(recursive=True)}
    actors = deployed.cluster.api("GET", "/api/v0/actors?limit=500&detail=true")["data"]["result"]["result"]
    by_name = {actor["name"]: actor["pid"] for actor in actors}
    (node_id,) = [one for one, proxy in found.items() if by_name.get(proxy["actor_name"]) in pids]
    return str(node_id)
