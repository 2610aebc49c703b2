"""systemd's units, the compose file and Kubernetes' manifests: taken by those who read them, and true of this program.

What is not run here: containers (no daemon), a cluster, and Dagster's chart, which no package registry carries. Its values
are checked by what it makes of them (docs/operations.md says how it was rendered by hand): the run launcher's own schema,
Dagster's own reading of its instance, Kubernetes' own models, and the names that the chart reads.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from asset_ledger.cli.main import COMMANDS
from asset_ledger.settings import Settings
from tests.patience import until
from tests.sshd import free_port

PROJECT = Path(__file__).parents[2]
UNITS = sorted((PROJECT / "deploy" / "systemd").glob("*.service")) + sorted(
    (PROJECT / "deploy" / "systemd").glob("*.timer")
)
COMPOSE = PROJECT / "deploy" / "compose"
KUBERNETES = PROJECT / "deploy" / "kubernetes"


def placed(folder: Path) -> list[Path]:
    """Return the units as they are where the project is in this folder, and not in /opt/asset-ledger."""
    found = []
    for unit in UNITS:
        text = unit.read_text().replace("/opt/asset-ledger/.venv/bin", str(Path(sys.executable).parent))
        path = folder / unit.name
        path.write_text(text.replace("/opt/asset-ledger", str(PROJECT)))
        found.append(path)
    return found


@pytest.mark.needs("systemd-analyze")
def test_systemd_takes_every_unit(tmp_path: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", *placed(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.needs("systemd-analyze")
def test_a_unit_that_systemd_does_not_know_would_be_noticed(tmp_path: Path) -> None:
    unit = next(each for each in placed(tmp_path) if each.name == "asset-ledger-api.service")
    unit.write_text(unit.read_text().replace("ProtectSystem=strict", "ProtectSytem=strict"))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit, *tmp_path.glob("*migrate*")], capture_output=True, text=True, check=False
    )
    assert "ProtectSytem" in done.stderr


@pytest.mark.needs("systemd-analyze")
def test_no_unit_may_do_more_than_it_has_to(tmp_path: Path) -> None:
    units = [each for each in placed(tmp_path) if each.suffix == ".service"]
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", *units]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def option_names(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield every `asset-ledger` command that a configuration starts, with where it stands."""
    for unit in UNITS:
        for line in re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE):
            for words in re.findall(r"\.venv/bin/asset-ledger ([^|;\"]*)", line):
                yield unit.name, shlex.split(words)
    document = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    for name, service in document["services"].items():
        words = service.get("command") or []
        if words[:1] == ["asset-ledger"]:
            yield f"compose {name}", words[1:]
        script = " ".join(words) if words[:1] == ["sh"] else ""
        for each in re.findall(r"asset-ledger ([a-z][^&|]*)", script):
            yield f"compose {name}", shlex.split(each)
    for manifest in manifests():
        for container in containers(manifest):
            words = [*container.get("command", []), *container.get("args", [])]
            if words[:1] == ["asset-ledger"]:
                yield f"{manifest['kind']} {manifest['metadata']['name']}", words[1:]


def test_every_command_that_a_configuration_starts_is_there() -> None:
    from typer.testing import CliRunner

    from asset_ledger.cli.main import app

    seen = 0
    for where, words in commands():
        seen += 1
        assert words[0] in COMMANDS, where
        if words[0] == "dagster":
            program = Path(sys.executable).parent / words[2]
            assert words[1] == "--", where
            assert program.exists(), where
            continue
        arguments = [word for word in words[: words.index("--") if "--" in words else None] if word.startswith("--")]
        path = [words[0], *([words[1]] if words[0] == "db" else [])]
        told = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"}).output
        assert set(arguments) <= option_names(told), where
    assert seen > 15


def test_the_examples_of_environments_name_variables_that_are_read() -> None:
    read = (
        "\n".join(
            path.read_text()
            for folder in ("asset_ledger", "deploy/backup", "deploy/celery", "deploy/compose")
            for path in sorted((PROJECT / folder).rglob("*"))
            if path.suffix in {".py", ".sh", ".yaml"}
        )
        + (PROJECT / "deploy" / "workspace.yaml").read_text()
    )
    for example in (PROJECT / "deploy" / "systemd").glob("*.example"):
        for name in re.findall(r"^#?([A-Z_]+)=", example.read_text(), re.MULTILINE):
            assert name in read or name.startswith("PG"), f"{example.name}: {name}"


def test_the_example_of_the_environment_is_one_that_the_settings_take() -> None:
    text = (PROJECT / "deploy" / "systemd" / "environment.example").read_text()
    found = dict(line.split("=", 1) for line in re.findall(r"^#?([A-Z_]+=.*)$", text, re.MULTILINE))
    settings = Settings.load(found)
    assert settings.database_url is not None
    assert settings.redis_url is not None


def test_one_machines_unit_and_the_others_take_each_others_place() -> None:
    """Two daemons, or a worker beside the service that does the runs itself, would do everything twice."""
    whole = "asset-ledger.service"
    named = {
        (unit.name, other)
        for unit in UNITS
        for line in re.findall(r"^Conflicts=(.*)$", unit.read_text(), re.MULTILINE)
        for other in line.split()
    }
    ordered = {
        (unit.name, other)
        for unit in UNITS
        for line in re.findall(r"^After=(.*)$", unit.read_text(), re.MULTILINE)
        for other in line.split()
    }
    for unit in UNITS:
        if unit.name == whole or "backup" in unit.name:
            continue
        # one of a number of instances cannot be named by others
        pair = (unit.name, whole) if "@" in unit.name else (whole, unit.name)
        assert pair in named, unit.name
        # without an order the one would start while the other one still ends
        assert pair in ordered, unit.name


def test_no_more_runs_are_handed_out_than_the_documented_workers_have_processes_for() -> None:
    """What is handed out and finds no process waits in Redis, and is given up and done again."""
    most = yaml.safe_load((PROJECT / "deploy" / "celery" / "dagster.yaml").read_text())["concurrency"]["runs"]
    words = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]["worker"]["command"]
    processes = int(words[words.index("-c") + 1])
    for page in (COMPOSE / "compose.yaml", PROJECT / "docs" / "operations.md"):
        scales = re.findall(r"--scale worker=(\d+)", page.read_text())
        assert [int(scale) * processes for scale in scales] == [most["max_concurrent_runs"]], page.name
    # what the units and the page on workers start is such a worker
    for page in (
        PROJECT / "deploy" / "systemd" / "asset-ledger-worker@.service",
        PROJECT / "docs" / "workers.md",
    ):
        assert re.findall(r"worker\.py -n \S+ -- -c (\d+)", page.read_text()) == [str(processes)], page.name


ENTRY_POINT = """#!/bin/sh
# what the image's own does with root's rights, on this machine: note what it is told to start, and become it
echo "$@" > "$NOTED"
exec "$@" --port "$PORT" --bind 127.0.0.1 --dir "$(dirname "$NOTED")"
"""


@pytest.mark.needs("redis-server")
def test_redis_of_compose_is_started_by_its_entry_point_and_shows_no_password(tmp_path: Path) -> None:
    """No container is run here: the image's entry point drops root where its first word is redis-server."""
    password = "p%20@/:#?& '\"$(id)`id`\\密"
    (tmp_path / "secret").write_text(password + "\n")
    (tmp_path / "data").mkdir()
    entry_point = tmp_path / "docker-entrypoint.sh"
    entry_point.write_text(ENTRY_POINT)
    entry_point.chmod(0o755)
    service = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]["redis"]
    command = [
        word.replace("$$", "$").replace("/run/secrets/redis_password", str(tmp_path / "secret"))
        for word in service["command"]
    ]
    port, noted = free_port(), tmp_path / "data" / "noted"
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "NOTED": str(noted),
        "PORT": str(port),
    }
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        client: Any = redis.Redis(port=port, password=password, decode_responses=True)
        until(lambda: answers(client))
        assert noted.read_text().split()[0] == "redis-server"
        told = Path(f"/proc/{server.pid}/cmdline").read_bytes() + noted.read_bytes()
        assert b"redis-server" in told, "it has the place of the shell, so it is what is told to stop"
        assert b"p%20" not in told
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port).ping()
        for path in (path for path in tmp_path.rglob("*") if path.is_file() and path.name != "secret"):
            assert b"p%20" not in path.read_bytes(), path
    finally:
        server.terminate()
        server.wait()


def answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.mark.needs("docker-compose")
def test_compose_takes_the_file() -> None:
    done = subprocess.run(
        ["docker-compose", "-f", COMPOSE / "compose.yaml", "config"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    resolved = yaml.safe_load(done.stdout)
    assert set(resolved["services"]) >= {"postgres", "redis", "code", "webserver", "daemon", "api", "worker", "migrate"}


def test_what_the_compose_file_keeps_running_says_how_it_is_and_has_no_secret_in_it() -> None:
    document = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    for name, service in document["services"].items():
        lasting = service.get("restart") == "unless-stopped"
        assert not lasting or "healthcheck" in service or name == "worker", name
        for value in (service.get("environment") or {}).values():
            assert not re.search(r"://[^/]*:(?!PASSWORD@)[^@/]+@", str(value)), name
        for secret in service.get("secrets", []):
            assert "file" in document["secrets"][secret], name
        # a registry's host has a dot, or a port before the first slash
        assert "/" not in service["image"], name


def test_a_health_check_that_needs_secrets_has_the_entry_point_before_it() -> None:
    """A health check is started beside the entry point, not through it: without the wrapper no URL has its password."""
    wrapper = re.search(r'^ENTRYPOINT \["(.*)"\]$', (COMPOSE / "Containerfile").read_text(), re.MULTILINE)
    assert wrapper
    document = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    seen = 0
    for name, service in document["services"].items():
        words = service.get("healthcheck", {}).get("test", [])
        if "asset-ledger" in " ".join(words).split():
            seen += 1
            assert words[:3] == ["CMD", wrapper[1], "asset-ledger"], name
    assert seen == 1


def test_the_server_of_compose_lets_the_backup_copy_it(tmp_path: Path) -> None:
    (tmp_path / "pg_hba.conf").write_text("local all all trust\n")
    document = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    server = document["services"]["postgres"]
    (mounted,) = (each for each in server["volumes"] if ":/docker-entrypoint-initdb.d/" in each)
    subprocess.run(
        [COMPOSE / mounted.partition(":")[0]],
        env=os.environ | {"PGDATA": str(tmp_path), "POSTGRES_USER": server["environment"]["POSTGRES_USER"]},
        check=True,
    )
    login = document["services"]["backup"]["environment"]["PGUSER"]
    lines = (tmp_path / "pg_hba.conf").read_text().splitlines()
    assert lines == ["local all all trust", f"host replication {login} all scram-sha-256"]


def test_the_command_of_a_shell_has_the_environment_of_the_units(tmp_path: Path) -> None:
    example = (PROJECT / "deploy" / "systemd" / "environment.example").read_text()
    (tmp_path / "environment").write_text(example + "ASSET_LEDGER_REDIS_URL=redis://h/0?a=1&b=$(id) '#\n")
    script = (PROJECT / "deploy" / "systemd" / "asset-ledger").read_text()
    (tmp_path / "asset-ledger").write_text(re.sub(r"^command=.*$", "command=env", script, flags=re.MULTILINE))
    # the units' user is not on this machine
    text = (tmp_path / "asset-ledger").read_text()
    (tmp_path / "asset-ledger").write_text(text.replace("--reuid asset-ledger --regid asset-ledger --init-groups", ""))
    done = subprocess.run(
        ["sh", tmp_path / "asset-ledger", "-0"],
        env={
            "PATH": os.environ["PATH"],
            "ASSET_LEDGER_ENVIRONMENT_FILE": str(tmp_path / "environment"),
            "ASSET_LEDGER_HOME": "/elsewhere",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    found = dict(each.split("=", 1) for each in done.stdout.split("\0") if each)
    assert found["ASSET_LEDGER_REDIS_URL"] == "redis://h/0?a=1&b=$(id) '#"
    assert found["ASSET_LEDGER_SOURCES"] == "/etc/asset-ledger/sources.yaml"
    assert found["ASSET_LEDGER_HOME"] == "/elsewhere"


def test_the_image_is_built_from_the_lock_and_from_files_that_are_there() -> None:
    text = (COMPOSE / "Containerfile").read_text()
    installs = [line for line in text.splitlines() if "pip install" in line]
    assert installs
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)
    for words in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        for name in words.split():
            assert (PROJECT / name).exists(), name
    assert all("/" not in image for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE))


def with_secrets(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMPOSE / "with-secrets.sh", "sh", "-c", command],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_secrets_come_from_files_and_passwords_into_urls_whatever_signs_they_have(tmp_path: Path) -> None:
    password = "p%20@/:#?& '\"$(id)`id`密"
    for name, content in (("database", password), ("redis", "r/1"), ("key", "a=b\n")):
        (tmp_path / name).write_text(content)
    done = with_secrets(
        "env -0",
        ASSET_LEDGER_DATABASE_URL="postgresql://ledger:PASSWORD@postgres:5432/asset_ledger",
        ASSET_LEDGER_DATABASE_PASSWORD_FILE=str(tmp_path / "database"),
        ASSET_LEDGER_REDIS_URL="redis://:PASSWORD@redis:6379/0",
        ASSET_LEDGER_REDIS_PASSWORD_FILE=str(tmp_path / "redis"),
        ASSET_LEDGER_CREDENTIALS_KEY_FILE=str(tmp_path / "key"),
    )
    assert done.returncode == 0, done.stderr
    found = dict(each.split("=", 1) for each in done.stdout.split("\0") if each)
    settings = Settings.load(found)
    from psycopg.conninfo import conninfo_to_dict

    assert settings.database_url is not None
    assert conninfo_to_dict(settings.database_url)["password"] == password
    assert found["ASSET_LEDGER_REDIS_URL"] == "redis://:%72%2f%31@redis:6379/0"
    assert found["ASSET_LEDGER_CREDENTIALS_KEY"] == "a=b"
    assert not [name for name in found if name.endswith(("_FILE", "_PASSWORD"))]


def test_a_secret_that_is_missing_or_empty_is_named_and_nothing_is_started(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    for file in ("gone", "empty"):
        done = with_secrets("echo started", ASSET_LEDGER_CREDENTIALS_KEY_FILE=str(tmp_path / file))
        assert done.returncode == 1
        assert "ASSET_LEDGER_CREDENTIALS_KEY" in done.stderr
        assert "next:" in done.stderr
        assert done.stdout == ""


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((KUBERNETES / "manifests.yaml").read_text()))


def pod(manifest: dict[str, Any]) -> dict[str, Any] | None:
    spec = manifest.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    found: dict[str, Any] | None = spec.get("template", {}).get("spec")
    return found


def containers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return (pod(manifest) or {}).get("containers", [])


def in_kubernetes_eyes(kind: str, document: dict[str, Any]) -> Any:
    """Read a document as Kubernetes' own model of it; a field that it does not have is an error."""
    import kubernetes.client
    from dagster_k8s.models import k8s_model_from_dict, k8s_snake_case_dict

    model = getattr(kubernetes.client, kind)
    return k8s_model_from_dict(model, k8s_snake_case_dict(model, document))


def test_kubernetes_models_take_every_manifest() -> None:
    for each in manifests():
        in_kubernetes_eyes(f"V1{each['kind']}", each)


def test_a_field_that_kubernetes_does_not_have_would_be_noticed() -> None:
    deployment = next(each for each in manifests() if each["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["comand"] = ["x"]
    with pytest.raises(Exception, match=r"comand|Unexpected keys"):
        in_kubernetes_eyes("V1Deployment", deployment)


def test_what_pods_name_is_there_and_none_is_root() -> None:
    every = manifests()
    names = {(each["kind"], each["metadata"]["name"]) for each in every}
    told = (KUBERNETES / "values.yaml").read_text() + (KUBERNETES / "manifests.yaml").read_text()
    for each in every:
        found = pod(each)
        if found is None:
            continue
        assert found["securityContext"]["runAsNonRoot"], each["metadata"]
        for volume in found["volumes"]:
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in names
            elif (files := volume.get("configMap")) and files["name"] != "asset-ledger-backup":
                assert ("ConfigMap", files["name"]) in names
        for container in found["containers"]:
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted <= {volume["name"] for volume in found["volumes"]}
            for source in container.get("envFrom", []):
                secret = source.get("secretRef", {}).get("name")
                assert secret is None or re.search(rf"^#   {secret} ", told, re.MULTILINE), secret
    settings = next(each["data"] for each in every if each["metadata"]["name"] == "asset-ledger")
    Settings.load(settings)


def snake_case(values: dict[str, Any]) -> dict[str, Any]:
    return {re.sub(r"([A-Z])", lambda found: "_" + found[1].lower(), name): value for name, value in values.items()}


def test_the_run_launcher_takes_what_the_chart_makes_of_the_values() -> None:
    """The chart writes these values into dagster.yaml under the launcher's own names: the words in snake case."""
    from dagster._config import process_config, resolve_to_config_type
    from dagster_k8s.launcher import K8sRunLauncher

    values = yaml.safe_load((KUBERNETES / "values.yaml").read_text())
    mine = values["runLauncher"]["config"]["k8sRunLauncher"]
    assert values["runLauncher"]["type"] == "K8sRunLauncher"
    made = snake_case(mine)
    made["env_config_maps"] = [each["name"] for each in made["env_config_maps"]]
    made["env_secrets"] = [each["name"] for each in made["env_secrets"]]
    made["run_k8s_config"] = snake_case(made["run_k8s_config"])
    made |= {
        "service_account_name": "x",
        "instance_config_map": "x-instance",
        "postgres_password_secret": "asset-ledger-dagster",
        "dagster_home": "/opt/dagster/dagster_home",
        "job_namespace": "ledger",
    }
    checked = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), made)
    assert checked.success, checked.errors


def test_the_values_pods_are_kubernetes_own() -> None:
    values = yaml.safe_load((KUBERNETES / "values.yaml").read_text())
    deployment = values["dagster-user-deployments"]["deployments"][0]
    for part in (values["dagsterWebserver"], values["dagsterDaemon"], deployment):
        in_kubernetes_eyes("V1PodSecurityContext", part["podSecurityContext"])
        in_kubernetes_eyes("V1SecurityContext", part["securityContext"])
        in_kubernetes_eyes("V1ResourceRequirements", part["resources"])
    for volume in deployment["volumes"]:
        in_kubernetes_eyes("V1Volume", volume)
    for mount in deployment["volumeMounts"]:
        in_kubernetes_eyes("V1VolumeMount", mount)
    launched = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    in_kubernetes_eyes("V1PodSpec", {"containers": [], **launched["podSpecConfig"]})
    in_kubernetes_eyes("V1JobSpec", {"template": {}, **launched["jobSpecConfig"]})
    # Dagster's own storage: a bare postgresql:// would take psycopg 3
    assert values["postgresql"]["postgresqlScheme"] == "postgresql+psycopg2"
    assert json.loads(json.dumps(values)) == values


def the_values() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((KUBERNETES / "values.yaml").read_text())
    return found


# What the chart's templates read where its schema lets any other name pass unsaid: such a name would do nothing. Its
# schema refuses unknown names by itself in the webserver, the daemon, the launcher, concurrency, retention and logs.
READ_BY_THE_CHART = {
    "": "global dagsterWebserver computeLogManager pythonLogs dagster-user-deployments scheduler runLauncher postgresql "
    "generatePostgresqlPasswordSecret generateCeleryConfigSecret rabbitmq redis flower ingress dagsterDaemon busybox "
    "telemetry serviceAccount retention concurrency additionalInstanceConfig",
    "global": "postgresqlSecretName dagsterHome serviceAccountName celeryConfigSecretName dagsterInstanceConfigMap",
    "postgresql": "enabled image postgresqlHost postgresqlUsername postgresqlPassword postgresqlDatabase postgresqlParams "
    "postgresqlScheme service",
    "dagsterWebserver.workspace": "enabled servers externalConfigmap",
    "dagsterDaemon.runMonitoring": "enabled startTimeoutSeconds cancelTimeoutSeconds maxRuntimeSeconds "
    "maxResumeRunAttempts pollIntervalSeconds freeSlotsAfterRunEndSeconds",
    "dagsterDaemon.runRetries": "enabled maxRetries retryOnAssetOrOpFailure",
    "dagsterDaemon.sensors": "useThreads numWorkers numSubmitWorkers",
    "dagsterDaemon.schedules": "useThreads numWorkers numSubmitWorkers",
    "dagsterDaemon.backfills": "useThreads numWorkers numSubmitWorkers",
    "dagster-user-deployments": "enabled enableSubchart imagePullSecrets deployments",
    "dagster-user-deployments.deployments.0": "name image dagsterApiGrpcArgs codeServerArgs port "
    "includeConfigInLaunchedRuns env envConfigMaps envSecrets labels volumes volumeMounts annotations podSecurityContext "
    "securityContext resources readinessProbe livenessProbe startupProbe service",
}


def test_the_chart_reads_every_value_that_is_set() -> None:
    for path, names in READ_BY_THE_CHART.items():
        part: Any = the_values()
        for step in path.split(".") if path else []:
            part = part[int(step)] if step.isdigit() else part[step]
        assert set(part) <= set(names.split()), path


def test_the_webserver_is_asked_how_it_is_on_the_port_that_it_listens_on() -> None:
    """The chart's own probe asks port 80: a pod that listens elsewhere would never be ready, and the Service empty."""
    webserver = the_values()["dagsterWebserver"]
    assert webserver["readinessProbe"]["httpGet"]["port"] == webserver["service"]["port"]
    # a port below 1024 is not for a process that is not root
    assert webserver["service"]["port"] >= 1024


def test_the_code_location_has_the_same_name_in_a_cluster() -> None:
    """What schedules are on, and what a command puts into the queue, is told by the location's name."""
    (elsewhere,) = yaml.safe_load((PROJECT / "deploy" / "workspace.yaml").read_text())["load_from"]
    values = the_values()
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    workspace = values["dagsterWebserver"]["workspace"]
    assert workspace["enabled"]
    (server,) = workspace["servers"]
    assert server["name"] == elsewhere["grpc_server"]["location_name"]
    words = deployment["codeServerArgs"]
    assert words[words.index("--location-name") + 1] == server["name"]
    # its Service has the deployment's name
    assert (server["host"], server["port"]) == (deployment["name"], deployment["port"])
    settings = next(each["data"] for each in manifests() if each["metadata"]["name"] == "asset-ledger")
    assert settings["ASSET_LEDGER_CODE_HOST"] == server["host"]
    assert elsewhere["grpc_server"]["port"] == server["port"]
    assert (PROJECT / Path(settings["ASSET_LEDGER_WORKSPACE"]).relative_to("/opt/asset-ledger")).exists()


def deep_snake_case(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: deep_snake_case(value) for name, value in snake_case(part).items()}
    return [deep_snake_case(each) for each in part] if isinstance(part, list) else part


def instance_of_the_values() -> dict[str, Any]:
    """Return what the chart writes into dagster.yaml of these values, but for storage and the run launcher."""
    values = the_values()
    daemon = values["dagsterDaemon"]
    told = {
        name: daemon[name]
        for name in ("runMonitoring", "runRetries", "sensors", "schedules", "backfills")
        if name in daemon
    } | {name: values[name] for name in ("pythonLogs", "retention", "concurrency", "telemetry") if name in values}
    made: dict[str, Any] = deep_snake_case(told)
    for name in ("retention", "concurrency"):
        if name in made and not made[name].pop("enabled"):
            del made[name]
    queue = deep_snake_case(daemon["runCoordinator"].get("config", {}).get("queuedRunCoordinator", {}))
    coordinator = {
        "module": "dagster.core.run_coordinator",
        "class": "QueuedRunCoordinator",
        "config": {"dequeue_use_threads": True, "dequeue_num_workers": 4} | queue,
    }
    made["run_coordinator"] = coordinator
    made.update(values.get("additionalInstanceConfig", {}))
    return made


def test_dagster_takes_the_instance_that_the_chart_makes_of_the_values(tmp_path: Path) -> None:
    """Limits of runs in two places, for one, are refused when the daemon starts."""
    from dagster._core.instance.ref import InstanceRef

    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(instance_of_the_values()))
    InstanceRef.from_dir(str(tmp_path))


def test_a_cluster_has_the_limits_and_times_that_many_machines_have() -> None:
    machines = yaml.safe_load((PROJECT / "deploy" / "celery" / "dagster.yaml").read_text())
    # where files and logs are, and who does the runs, is the chart's to say
    for name in ("storage", "run_launcher", "compute_logs", "local_artifact_storage", "code_servers"):
        del machines[name]
    made = instance_of_the_values()
    del made["run_coordinator"]
    # a run is a pod of its own there: no worker has to have a process for it
    for each in (made, machines):
        del each["concurrency"]["runs"]["max_concurrent_runs"]
    assert made == machines


def test_a_run_has_the_resources_that_the_launcher_says() -> None:
    """What the chart would hand on from the code server goes over what the launcher says: its memory, its account."""
    from dagster_k8s.container_context import K8sContainerContext

    values = the_values()
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    told = (
        {"k8s": {"resources": deployment["resources"]}} if deployment["includeConfigInLaunchedRuns"]["enabled"] else {}
    )
    wanted = values["runLauncher"]["config"]["k8sRunLauncher"]["resources"]
    merged = K8sContainerContext(resources=wanted).merge(K8sContainerContext.create_from_config(told))
    assert merged.run_k8s_config.container_config["resources"] == wanted
