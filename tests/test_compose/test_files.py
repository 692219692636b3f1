"""docker-compose.yml and its overrides: accepted in every combination, hardened, within their memory, pinned."""

import re
from itertools import combinations
from typing import Any

import pytest
from dotenv import dotenv_values

from observability.settings import ROOT
from tests.test_compose.conftest import JOBS, LIGHT, LIGHT_OFFLINE, OFFLINE, WHOLE

PROFILES = ("simulator", "drills", "cluster")
MB = 2**20
IMAGES = {key: value or "" for key, value in dotenv_values(ROOT / ".env").items() if key.startswith("IMAGE_")}
OURS = {f"vigie/{name}" for name in ("services", "lanes", "pages", "kafka", "cassandra", "jaeger", "mongodb-exporter")}
ORDINARY = OURS | {IMAGES[f"IMAGE_{name}"] for name in ("PROMETHEUS", "ALERTMANAGER", "GRAFANA")}  # of a user by itself

Yaml = dict[str, Any]


def some(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [found for n in range(len(names) + 1) for found in combinations(names, n)]


@pytest.mark.parametrize("profiles", some(PROFILES), ids="+".join)
@pytest.mark.parametrize("files", [WHOLE, LIGHT, OFFLINE, LIGHT_OFFLINE], ids=lambda files: files[-1])
def test_every_combination_of_files_and_profiles_is_accepted(compose, files, profiles):
    services = compose(files, profiles)["services"]
    assert {"ingest", "spark", "cassandra", "mongo", "dashboard"} <= set(services)
    assert ("simulator" in services) == ("simulator" in profiles or OFFLINE[1] in files)


@pytest.fixture(scope="module")
def services(compose) -> Yaml:
    return dict(compose(profiles=PROFILES)["services"])


def test_what_runs_on_is_started_again_and_says_when_it_is_ready(services):
    assert {name for name, one in services.items() if one["restart"] == "no"} == JOBS
    assert {name for name, one in services.items() if one["restart"] == "unless-stopped"} == set(services) - JOBS
    assert {name for name, one in services.items() if "healthcheck" not in one} == JOBS


def test_nothing_has_a_right_that_it_does_not_need(services):
    for name, one in services.items():
        assert one["read_only"], name
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert "cap_add" not in one, name
        assert not one.get("privileged"), name
        assert one.get("user", "" if one["image"] in ORDINARY else "root") != "root", name
        assert one["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name


def test_what_waits_for_another_waits_until_it_is_ready(services):
    for name, one in services.items():
        for other, how in one.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in JOBS else "service_healthy"
            assert how["condition"] == wanted, (name, other)


@pytest.mark.parametrize(("files", "most"), [(WHOLE, 8192), (LIGHT, 5500)], ids=["whole", "light"])
def test_the_memory_limits_add_up_to_what_is_promised(compose, files, most):
    services = compose(files)["services"]
    limits = [int(one["mem_limit"]) / MB for name, one in services.items() if name not in JOBS]
    assert sum(limits) <= most


def test_every_image_is_ours_or_has_a_version(services):
    published = set(IMAGES.values())
    for image in published:
        assert re.search(r":[a-z0-9.-]*[0-9a-z][a-z0-9.-]*(@sha256:[0-9a-f]{64})?$", image), image
        assert ":latest" not in image
        assert "bitnami" not in image
    theirs = {one["image"] for one in services.values() if not one["image"].startswith("vigie/")}
    assert theirs - published == set()
    bases = {
        one["build"]["args"].get("BASE", one["build"]["args"]["DEBIAN"]) for one in services.values() if "build" in one
    }
    assert bases - published == set()


def test_what_must_be_there_after_down_and_up_is_in_a_named_volume(compose):
    whole = compose()
    keepers = {"kafka-1", "kafka-2", "kafka-3", "cassandra", "mongo", "ingest", "spark", "prometheus", "alertmanager"}
    for name in keepers | {"jaeger", "grafana"}:
        named = [mount["source"] for mount in whole["services"][name]["volumes"] if mount["type"] == "volume"]
        assert named, name
        assert set(named) <= set(whole["volumes"]), name


def test_each_broker_keeps_its_own_data(compose):
    services = compose()["services"]
    kept = [services[f"kafka-{n}"]["volumes"][0]["source"] for n in (1, 2, 3)]
    assert kept == ["kafka-1", "kafka-2", "kafka-3"]


@pytest.mark.parametrize("files", [WHOLE, LIGHT, OFFLINE, LIGHT_OFFLINE], ids=lambda files: files[-1])
def test_an_image_of_ours_is_built_by_one_service_and_asked_of_no_registry(compose, files):
    services = compose(files, PROFILES)["services"].values()
    ours = [one for one in services if one["image"].startswith("vigie/")]
    assert {one["pull_policy"] for one in ours} == {"never"}
    assert sorted(one["image"] for one in services if "build" in one) == sorted({one["image"] for one in ours})


@pytest.mark.parametrize("files", [WHOLE, LIGHT, OFFLINE, LIGHT_OFFLINE], ids=lambda files: files[-1])
def test_every_shape_has_volumes_of_its_own(compose, files):
    whole = compose(files)
    assert {one["name"].partition("_")[0] for one in whole["volumes"].values()} == {whole["name"]}
    suffix = files[-1].removeprefix("docker-compose").removesuffix(".yml").replace(".", "-")
    assert whole["name"] == f"vigie{suffix}"


def test_an_executor_may_load_the_libraries_that_it_unpacks(services):
    for name in ("spark-worker-1", "spark-worker-2"):
        assert [mount.partition(":")[2] for mount in services[name]["tmpfs"]] == ["mode=1777,exec"]
