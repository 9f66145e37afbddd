"""The container image, compose.yaml and the manifests of Kubernetes agree with the code."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tasker.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
OURS = ("upgrade", "server", "worker")


def is_setting(variable: str) -> bool:
    """Return whether a variable of the environment names a setting."""
    first = variable.removeprefix(PREFIX).partition("__")[0].lower()
    return variable.startswith(PREFIX) and first in Settings.model_fields


@pytest.mark.parametrize("name", OURS)
def test_the_variables_and_secrets_of_compose_are_settings(name: str) -> None:
    service = SERVICES[name]

    assert [] == [variable for variable in service["environment"] if not is_setting(variable)]
    assert [] == [secret for secret in service["secrets"] if not is_setting(secret.upper())]


def test_the_files_named_by_compose_exist() -> None:
    paths = [
        path
        for option, _, path in (word.partition("=") for word in SERVICES["worker"]["command"])
        if option in ("--handlers", "--templates")
    ]

    assert 2 == len(paths)
    assert [] == [path for path in paths if not (ROOT / path).exists()]


def test_all_services_except_the_upgrade_are_restarted() -> None:
    policies = {name: service.get("restart") for name, service in SERVICES.items()}

    kept = dict.fromkeys(("postgres", "server", "worker"), "unless-stopped")
    assert kept | {"upgrade": None} == policies


@pytest.mark.parametrize("name", OURS)
def test_containers_have_no_unneeded_privileges(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"]
    assert service["init"]
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]
    assert "max-size" in service["logging"]["options"]


def test_compose_contains_no_password() -> None:
    text = (ROOT / "compose.yaml").read_text()

    assert "POSTGRES_PASSWORD_FILE" in text
    assert "postgresql://" not in text
    assert "TASKER_PASSWORD" not in text


MANIFESTS: dict[str, dict[str, Any]] = {
    f"{document['kind']}/{document.get('metadata', {}).get('name', '')}": document
    for path in sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
}
WORKLOADS = ("Deployment/tasker-server", "Deployment/tasker-worker", "Job/tasker-upgrade")


def pod_of(workload: str) -> dict[str, Any]:
    """Return the pod template of a workload."""
    template: dict[str, Any] = MANIFESTS[workload]["spec"]["template"]
    return template


def test_the_files_named_by_kustomize_exist() -> None:
    resources = MANIFESTS["Kustomization/"]["resources"]

    assert [] == [name for name in resources if not (ROOT / "deploy/kubernetes" / name).exists()]


@pytest.mark.parametrize("workload", WORKLOADS)
def test_pods_meet_the_restricted_security_standard(workload: str) -> None:
    pod = pod_of(workload)["spec"]
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"]
    assert 10001 == pod["securityContext"]["runAsUser"]
    assert "RuntimeDefault" == pod["securityContext"]["seccompProfile"]["type"]
    assert {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    } == container["securityContext"]
    assert not pod["automountServiceAccountToken"]  # it would be mounted over /run/secrets


@pytest.mark.parametrize("workload", WORKLOADS)
def test_pods_set_only_existing_settings(workload: str) -> None:
    (container,) = pod_of(workload)["spec"]["containers"]
    names = [variable["name"] for variable in container.get("env", ())]

    assert [] == [name for name in names if not is_setting(name)]
    assert [{"name": "secrets", "mountPath": "/run/secrets", "readOnly": True}] == [
        mount for mount in container["volumeMounts"] if mount["name"] == "secrets"
    ]
    assert [] == [
        name for name in MANIFESTS["Secret/tasker"]["stringData"] if not is_setting(name.upper())
    ]


def test_selectors_match_their_pods() -> None:
    labels = {
        workload.partition("-")[2]: pod_of(workload)["metadata"]["labels"] for workload in WORKLOADS
    }
    selected = {
        name: (spec.get("podSelector") or spec["selector"]).get("matchLabels") or spec["selector"]
        for name, spec in ((name, manifest.get("spec", {})) for name, manifest in MANIFESTS.items())
        if "podSelector" in spec or "selector" in spec
    }

    assert 10 == len(selected)  # Deployments, Service, budgets, policies, monitors
    for name, selector in selected.items():
        assert labels[name.partition("-")[2]] == selector, name


@pytest.mark.parametrize("component", ["server", "worker"])
def test_probes_and_policies_use_named_ports(component: str) -> None:
    (container,) = pod_of(f"Deployment/tasker-{component}")["spec"]["containers"]
    (port,) = container["ports"]
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("liveness", "readiness", "startup")]
    (rule,) = MANIFESTS[f"NetworkPolicy/tasker-{component}"]["spec"]["ingress"]

    assert {port["name"]} == {probe["port"] for probe in probes}
    assert ["/live", "/ready", "/live"] == [probe["path"] for probe in probes]
    assert [{"port": port["name"]}] == rule["ports"]


def test_pods_may_run_for_their_whole_grace() -> None:
    server, worker = (pod_of(f"Deployment/tasker-{name}")["spec"] for name in ("server", "worker"))
    (container,) = server["containers"]
    drain = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    settings = Settings()

    assert server["terminationGracePeriodSeconds"] > drain + settings.server.grace.total_seconds()
    assert worker["terminationGracePeriodSeconds"] > settings.worker.grace.total_seconds()
