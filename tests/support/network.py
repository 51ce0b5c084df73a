"""Kubernetes' network policies, worked out for one connection between pods of the namespace or outside it."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]
NAMESPACE_NAME = "kubernetes.io/metadata.name"


@dataclass(frozen=True, slots=True)
class Peer:
    """A pod (namespace and labels), or an address outside the cluster."""

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


def may_connect(
    policies: Iterable[Policy], source: Peer, target: Peer, port: int, protocol: str = "TCP"
) -> bool:
    """True if both sides allow the connection: the source's egress and the target's ingress."""
    policies = list(policies)
    return _allows(policies, "Egress", source, target, port, protocol) and _allows(
        policies, "Ingress", target, source, port, protocol
    )


def _allows(
    policies: list[Policy], direction: str, subject: Peer, other: Peer, port: int, protocol: str
) -> bool:
    spec = [
        policy["spec"]
        for policy in policies
        if policy["metadata"]["namespace"] == subject.namespace
        and direction in policy["spec"]["policyTypes"]
        and _matches(policy["spec"]["podSelector"], subject.labels)
    ]
    if not spec:
        return True  # no policy selects it
    side, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    return any(
        _port(rule.get("ports"), port, protocol)
        and (not rule.get(peers) or any(_is(peer, other, each["namespace"]) for peer in rule[peers]))
        for each in ({"namespace": subject.namespace, **one} for one in spec)
        for rule in each.get(side) or []
    )


def _port(ports: list[Mapping[str, Any]] | None, port: int, protocol: str) -> bool:
    return not ports or any((each["port"], each["protocol"]) == (port, protocol) for each in ports)


def _is(peer: Mapping[str, Any], other: Peer, own_namespace: str) -> bool:
    if "ipBlock" in peer:
        if not other.address:
            return False
        address, block = ipaddress.ip_address(other.address), peer["ipBlock"]
        inside = [
            address in ipaddress.ip_network(each)
            for each in (block["cidr"], *block.get("except", []))
            if ipaddress.ip_network(each).version == address.version
        ]
        return inside[:1] == [True] and not any(inside[1:])
    if other.address:
        return False
    if "namespaceSelector" in peer:
        if not _matches(peer["namespaceSelector"], {NAMESPACE_NAME: other.namespace}):
            return False
    elif other.namespace != own_namespace:
        return False
    return _matches(peer.get("podSelector", {}), other.labels)


def _matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or []
    assert all(each["operator"] == "In" for each in expressions), "only In is worked out here"
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        labels.get(each["key"]) in each["values"] for each in expressions
    )
