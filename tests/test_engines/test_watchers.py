"""What is written for the watchers, and that they join a pipeline without ever standing in its way."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from engines import builds, collector, fetch, join, leftovers, programs, ring, scrape, supervise, watchers
from engines.config import Config
from engines.fetch import CannotFetch
from engines.programs import EMBEDDED, Program
from engines.state import State
from observability import settings

WATCHING = ["jaeger", "prometheus", "alertmanager", "auditor", "exporter"]
SLEEPER = (sys.executable, "-c", "import time; time.sleep(1000)")
ELSEWHERE = {
    "VIGIE_KAFKA_BOOTSTRAP": "k:9092",
    "VIGIE_CASSANDRA_HOSTS": "c1",
    "VIGIE_SOURCE_URL": "https://randomuser.me/api/",
    "VIGIE_OTLP_ENDPOINT": "http://collector:4318",
}


def planned(config: Config, state: State) -> list[Program]:
    return list(programs.programs(config, state, "/java", EMBEDDED))


def jobs(config: Config) -> dict[str, list[dict[str, Any]]]:
    """{job: its targets}."""
    whole = yaml.safe_load(scrape.configuration(config))
    return {job["job_name"]: job["static_configs"] for job in whole["scrape_configs"]}


def test_every_process_that_answers_is_asked_by_the_name_that_rules_use(configured):
    assert set(jobs(configured())) == {
        *("ingest", "spark", "dashboard", "auditor", "exporter", "simulator"),
        *("kafka", "cassandra", "spark-ui", "prometheus", "alertmanager", "jaeger", "spanmetrics"),
    }


def test_no_page_is_packed_on_its_way(configured):
    whole = yaml.safe_load(scrape.configuration(configured()))
    assert [job["enable_compression"] for job in whole["scrape_configs"]] == [False] * len(whole["scrape_configs"])


def test_each_broker_is_a_target_with_its_number(configured):
    assert jobs(configured())["kafka"] == [
        {"targets": [f"127.0.0.1:{9411 + n}"], "labels": {"broker": str(n + 1)}} for n in range(3)
    ]


def test_what_is_not_run_here_has_no_job_and_no_watcher(configured, state):
    config = configured(**ELSEWHERE)
    assert {"kafka", "cassandra", "simulator", "jaeger", "spanmetrics"} & set(jobs(config)) == set()
    assert "jaeger" not in [one.name for one in planned(config, state)]


def test_sparks_names_lose_the_applications_id_and_only_a_few_are_kept():
    def name(raw: str) -> str | None:
        for rule in scrape.SPARK_NAMES[:2]:
            if found := re.fullmatch(rule["regex"], raw):
                raw = rule["replacement"].replace("$1", found[1])
        return raw if re.fullmatch(scrape.SPARK_NAMES[2]["regex"], raw) else None

    assert name("metrics_local_1764015_driver_BlockManager_memory_memUsed_MB_Number") == (
        "spark_driver_BlockManager_memory_memUsed_MB_Number"
    )
    assert name("metrics_local_1764015_driver_BlockManager_memory_memUsed_MB_Value") is None  # the same once more
    assert name("metrics_local_1764015_driver_spark_streaming_raw_latency_Number") == (
        "spark_driver_spark_streaming_raw_latency_Number"
    )
    assert name("metrics_local_1764015_driver_jvm_pools_CodeCache_used_Number") == (
        "spark_driver_jvm_pools_CodeCache_used_Number"
    )
    assert name("metrics_local_1764015_driver_jvm_heap_used_Number") is None
    assert name("metrics_executor_failedTasks_total") == "spark_executor_failedTasks_total"
    assert name("metrics_local_1764015_driver_CodeGenerator_compilationTime_Mean") is None


def test_without_watchers_there_are_none_and_no_agents(configured, state):
    assert [one.name for one in planned(configured(), state) if one.room == programs.WATCHERS] == WATCHING
    none = planned(configured(VIGIE_WATCH="0"), state)
    assert [one for one in none if one.room == programs.WATCHERS] == []
    assert not any("jmx_prometheus" in word for one in none for word in one.command)


def test_an_agent_is_in_each_broker_and_in_cassandra(configured, state):
    commands = {one.name: " ".join(one.command) for one in planned(configured(), state)}
    for name, port in {"kafka-1": 9411, "kafka-3": 9413, "cassandra": 9431}.items():
        assert f"jmx_prometheus_javaagent-1.0.1.jar=127.0.0.1:{port}:" in commands[name]


@pytest.mark.parametrize("name", ["kafka", "cassandra"])
def test_an_agents_rules_name_the_beans_that_they_ask_for(name):
    rules = yaml.safe_load((builds.HERE / name / "jmx.yaml").read_text())
    assert {rule["name"].split("_")[0] for rule in rules["rules"]} == {name}
    domains = {bean.split(":")[0] for bean in rules["includeObjectNames"]}
    assert {rule["pattern"].split("<")[0] for rule in rules["rules"]} == domains


def test_the_agents_jar_is_the_one_that_is_fetched(configured):
    (option,) = ring.agent(configured())
    for name in ("kafka", "cassandra"):
        assert "<version>1.0.1</version>" in (builds.HERE / name / "pom.xml").read_text()
    assert option.partition("=")[0].endswith("jmx_prometheus_javaagent-1.0.1.jar")


def test_the_webhook_is_added_to_every_receiver_and_nothing_else_changes():
    text = "route: {receiver: a}\nreceivers:\n  - name: a\n  - {name: b, webhook_configs: [{url: 'http://b'}]}\n"
    assert watchers.receivers(text, "") == text
    found = yaml.safe_load(watchers.receivers(text, "http://hook"))
    urls = {one["name"]: [hook["url"] for hook in one["webhook_configs"]] for one in found["receivers"]}
    assert urls == {"a": ["http://hook"], "b": ["http://b", "http://hook"]}
    assert found["route"] == {"receiver": "a"}


def test_all_spans_become_metrics_before_any_is_left_out(configured, state):
    whole = yaml.safe_load(collector.configuration(configured(VIGIE_TRACE_RETENTION_HOURS="5"), state))
    pipes = whole["service"]["pipelines"]
    assert pipes["traces/all"]["processors"] == ["memory_limiter"]
    assert pipes["traces/all"]["exporters"] == ["spanmetrics", "forward"]
    assert pipes["traces/kept"]["processors"][0] == "tail_sampling"
    assert whole["extensions"]["jaeger_storage"]["backends"]["disk"]["badger"]["ttl"] == {"spans": "5h"}
    used = {name for pipe in pipes.values() for part in pipe.values() for name in part}
    made = {name for kind in ("receivers", "processors", "exporters", "connectors") for name in whole[kind]}
    assert used == made


# --- joining


@pytest.fixture
def running(state: State, env) -> Iterator[State]:
    """A supervisor that knows two watchers, neither of them started."""
    supervise.launch([watcher("auditor"), watcher("prometheus")], state, env)
    yield state
    leftovers.end(leftovers.marked(state.root))
    state.clear()


def watcher(name: str, answers: Callable[[], bool] = lambda: True) -> Program:
    return Program(name, name, programs.WATCHERS, SLEEPER, (), answers)


@pytest.fixture
def nothing_built(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(os.environ, "XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_what_is_not_built_is_not_started(nothing_built):
    auditor, prometheus = watcher("auditor"), watcher("prometheus")
    assert join.built([auditor, prometheus]) == [auditor]


def test_a_build_that_fails_is_told_and_the_others_watch(running: State, nothing_built, monkeypatch, capsys):
    def refused(build: builds.Build, java: str) -> None:
        raise CannotFetch(f"{build.name}: go failed")

    monkeypatch.setattr(fetch, "fetch_one", refused)
    news: list[tuple[str, str]] = []
    told = join.join([watcher("auditor"), watcher("prometheus")], running, "/java", lambda *one: news.append(one))
    assert told == ["prometheus could not be built (see above); make up tries again"]
    assert news == [("auditor", "ready")]
    assert "prometheus: go failed" in capsys.readouterr().out
    assert supervise.pid(running, "prometheus") == 0


def test_a_watcher_that_does_not_answer_is_told_with_its_log(running: State, monkeypatch):
    monkeypatch.setattr(join, "PATIENCE_S", 1)
    (told,) = join.join([watcher("auditor", lambda: False)], running, "/java", lambda *_: None)
    assert told == f"auditor does not answer yet; the end of {running.log('auditor')} may say why"


def test_a_stop_while_watchers_are_built_is_no_error(state: State):
    (told,) = join.join([watcher("auditor")], state, "/java", lambda *_: None)
    assert "was stopped" in told


# --- the real programs


@pytest.fixture
def written(configured, state) -> State:
    """A state folder with the configuration of every watcher."""
    watchers.prepare(configured(), state)
    return state


@pytest.mark.engines
def test_prometheus_takes_what_is_written_for_it(written: State):
    tool = [str(builds.named("prometheus") / "promtool"), "check", "config", str(watchers.file(written, "prometheus"))]
    done = subprocess.run(tool, capture_output=True, text=True, timeout=60, check=False, cwd=settings.ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.engines
def test_jaeger_takes_what_is_written_for_it(written: State):
    tool = [str(builds.named("jaeger") / "jaeger"), "validate", "--config", str(watchers.file(written, "jaeger"))]
    done = subprocess.run(tool, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
