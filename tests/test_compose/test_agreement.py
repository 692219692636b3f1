"""`docker compose up` is the system of `make up`: the same programs, ports, settings, targets and rules."""

import re
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from engines import images, programs, scrape, watchers
from engines.config import Config, environ
from engines.programs import Program
from engines.state import State
from observability import settings
from observability.settings import ROOT

DEFAULTS = {key: value or "" for key, value in dotenv_values(ROOT / ".env").items()}
PROFILES = ("simulator", "drills", "cluster")  # `tools` is for what is asked by hand
NAMED_OTHERWISE = {programs.DOCUMENTS: "mongo"}

# Of .env, what containers need not be told: only `make up` reads it, or images/ has it already.
OF_MAKE_UP = {"VIGIE_NEEDED_MEMORY_MB", "VIGIE_NEEDED_DISK_MB", "VIGIE_UP_TIMEOUT_S", "VIGIE_WATCH", "UV_VERSION"}
OF_MAKE_UP |= {"VIGIE_COMPOSE_PROJECT"}  # told to the drill alone
OF_MAKE_UP |= {"VIGIE_WIRES", "VIGIE_CLOCKS", "VIGIE_DRILL_BUTTON"}  # the profile `drills` is what compose has of it
OF_IMAGES = {"VIGIE_KAFKA_HEAP_MB", "VIGIE_CASSANDRA_HEAP_MB", "VIGIE_PROMETHEUS_RETENTION_DAYS", "VIGIE_SPARK_JARS"}
WHO_WE_ARE = re.compile(r"VIGIE_(KAFKA|CASSANDRA|MONGO)_(USER|PASSWORD_FILE)")
IN_CONFIG = {"KAFKA_SECURITY", "VIGIE_TRACE_RETENTION_HOURS", "VIGIE_ALERT_WEBHOOK"}

Yaml = dict[str, Any]


@pytest.fixture(scope="module")
def services(compose) -> Yaml:
    """Every service of docker-compose.yml, with all profiles."""
    return dict(compose(profiles=PROFILES)["services"])


def of_make_up() -> list[Program]:
    wanted = settings.read(Config, environ({}, running=False))
    return list(programs.programs(wanted, State(images.STATE.root), "/java", programs.EMBEDDED))


def test_every_program_of_make_up_has_a_container_of_its_name(services):
    names = {NAMED_OTHERWISE.get(one.name, one.name) for one in of_make_up()}
    assert names - set(services) == set()


def test_our_programs_are_started_by_the_same_words(services):
    ours = {one.name: one.command[one.command.index("-m") :] for one in of_make_up() if "-m" in one.command}
    assert len(ours) == 6
    assert {name: tuple(services[name]["command"][1:]) for name in ours} == ours


def test_ready_is_the_same_port_as_in_make_up(services):
    for one in of_make_up():
        asked = " ".join(services[NAMED_OTHERWISE.get(one.name, one.name)]["healthcheck"]["test"])
        ports = {str(port.number) for port in one.ports}
        assert ports & set(re.findall(r"[0-9]+", asked)), one.name


def test_what_is_published_has_the_port_that_env_gives_it_and_loopback_alone(services):
    published = {
        (port["host_ip"], port["published"], str(port["target"]))
        for one in services.values()
        for port in one.get("ports", [])
    }
    pages = ("DASHBOARD", "SPARK_UI", "PROMETHEUS", "ALERTMANAGER", "JAEGER", "GRAFANA", "TOXIPROXY")
    ports = [DEFAULTS[f"VIGIE_{name}_PORT"] for name in pages]
    assert published == {("127.0.0.1", port, port) for port in ports}


def test_a_published_port_moves_with_its_setting_and_the_host_cannot_be_left_out(compose):
    moved = compose(VIGIE_DASHBOARD_PORT="9999", VIGIE_HOST="127.0.0.9")["services"]["dashboard"]["ports"]
    assert [(port["host_ip"], port["published"], port["target"]) for port in moved] == [("127.0.0.9", "9999", 8501)]
    of_blank = compose(profiles=PROFILES, VIGIE_HOST="")["services"].values()
    assert {port["host_ip"] for one in of_blank for port in one.get("ports", [])} == {"127.0.0.1"}


def test_a_port_moves_for_browsers_and_not_for_who_listens(compose):
    ports = {key: str(int(value) + 20_000) for key, value in DEFAULTS.items() if key.endswith("_PORT")}
    moved = compose(**ports)["services"]
    told = [moved[name]["environment"] for name in ("dashboard", "spark")]
    pages, lanes = ({key: one[key] for key in one.keys() & ports.keys()} for one in told)
    linked = {f"VIGIE_{name}_PORT" for name in ("PROMETHEUS", "ALERTMANAGER", "JAEGER", "GRAFANA")}
    here = linked | {"VIGIE_SPARK_UI_PORT"}
    assert {key: pages[key] for key in here} == {key: ports[key] for key in here}
    assert {key: pages[key] for key in pages.keys() - here}.items() <= images.LISTENING.items()
    assert {key: lanes[key] for key in lanes.keys() - linked}.items() <= images.LISTENING.items()
    assert {key: DEFAULTS[key] for key in ports if key != "VIGIE_WIRES_PORT"} == images.LISTENING


@pytest.mark.parametrize(
    ("image", "file", "version"),
    [
        ("KAFKA", "kafka/pom.xml", r"<artifactId>kafka_2.13</artifactId>\s*<version>([0-9.]+)<"),
        ("CASSANDRA", "cassandra/pom.xml", r"<artifactId>cassandra-all</artifactId>\s*<version>([0-9.]+)<"),
        ("PROMETHEUS", "prometheus/go.mod", r"prometheus/prometheus v0\.([0-9.]+) "),
        ("ALERTMANAGER", "alertmanager/go.mod", r"prometheus/alertmanager v([0-9.]+) "),
        ("TOXIPROXY", "toxiproxy/go.mod", r"toxiproxy/v2 v([0-9.]+) "),
    ],
)
def test_an_image_has_the_version_that_make_up_has(image, file, version):
    found = re.search(version, (ROOT / "engines" / file).read_text())
    assert found
    ours = found[1] if image != "PROMETHEUS" else f"3.{int(found[1].split('.')[0]) - 300}.{found[1].split('.')[1]}"
    assert DEFAULTS[f"IMAGE_{image}"].rpartition(":")[2].removeprefix("v") == ours


def test_every_setting_is_told_to_our_processes_or_is_not_for_them(services):
    told = services["spark"]["environment"]
    assert set(told) - set(DEFAULTS) == {"SPARK_CONF_DIR"}
    untold = set(DEFAULTS) - set(told) - OF_MAKE_UP - OF_IMAGES - IN_CONFIG
    others = {key for key in untold if not key.endswith("_PORT") and not key.startswith(("VIGIE_LIGHT_", "IMAGE_"))}
    assert others == set()


def test_all_our_processes_are_told_the_same_but_for_who_they_are(services):
    ours = ("topics", "tables", "ingest", "spark", "dashboard", "auditor", "exporter", "simulator")
    told = [
        {
            key: value
            for key, value in services[name]["environment"].items()
            if not WHO_WE_ARE.fullmatch(key) and key != "VIGIE_SPARK_UI_PORT"  # of the pages, where it is published
        }
        for name in ours
    ]
    assert all(one == told[0] for one in told)


def test_a_setting_has_envs_value_and_the_environment_wins(compose):
    told = compose(VIGIE_RATE="77")["services"]["ingest"]["environment"]
    addresses = {key for key, value in told.items() if value != DEFAULTS.get(key)} - {"VIGIE_RATE"}
    assert told["VIGIE_RATE"] == "77"
    assert {
        key
        for key in addresses
        if not re.search(r"_(HOST|HOSTS|URL|URI|BOOTSTRAP|ENDPOINT|STATE|DIR|SECURITY|USER|FILE)$", key)
    } == set()


def test_images_config_is_what_make_up_would_write():
    there = {file.name: file.read_text() for file in images.FOLDER.iterdir()}
    assert there == images.written(), "write it anew: .venv/bin/python -m engines.images"


def test_prometheus_has_the_jobs_of_make_up_and_each_target_is_a_container_with_its_port(services):
    wanted = settings.read(Config, environ({}, running=False))
    of_processes = {
        job["job_name"]: ports(job) for job in yaml.safe_load(scrape.configuration(wanted))["scrape_configs"]
    }
    config = yaml.safe_load((images.FOLDER / "prometheus.yml").read_text())
    of_containers = {job["job_name"]: ports(job) for job in config["scrape_configs"]}
    assert of_containers == of_processes | {"mongodb": [9216]}
    hosts = {target.partition(":")[0] for job in config["scrape_configs"] for target in targets(job)}
    assert hosts - set(services) == set()


def targets(job: Yaml) -> list[str]:
    found = [target for one in job.get("static_configs", []) for target in one["targets"]]
    return found + [f"{name}:{one['port']}" for one in job.get("dns_sd_configs", []) for name in one["names"]]


def ports(job: Yaml) -> list[int]:
    return [int(target.rpartition(":")[2]) for target in targets(job)]


def test_prometheus_and_the_alertmanager_have_the_rules_and_the_words_of_make_up(services):
    wanted, state = settings.read(Config, environ({}, running=False)), State(images.STATE.root)
    for name, words in (
        ("prometheus", watchers.prometheus(wanted, state)),
        ("alertmanager", watchers.alertmanager(wanted, state)),
    ):
        there = [*(services[name]["entrypoint"] or ()), *services[name]["command"]]
        same = {word for word in words[3:] if not re.search(r"(file|path|address)=.", word)}
        assert {word.partition("=")[0] for word in words[3:]} <= {word.partition("=")[0] for word in there}
        assert same <= set(there)
    rules = [
        mount["source"] for mount in services["prometheus"]["volumes"] if mount["target"] == "/etc/prometheus/rules"
    ]
    assert rules == [str(scrape.RULES.parent)]
