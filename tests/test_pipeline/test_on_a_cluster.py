"""The lanes on a real Spark cluster, a master and two workers: whatever of it dies inside a batch, nothing is lost."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil
import pyspark
import pytest
import requests

from engines import tools
from services import secrets
from spark.contract import DATABASE, LEDGER, RAW, Ledger
from spark.contract import USERS as COLLECTION

pytestmark = [pytest.mark.engines, pytest.mark.long, pytest.mark.timeout(400)]

FIRST_PORT, MASTER_PORT, MASTER_PAGE, WORKER_PORT = 37000, 37200, 37201, 37210
SPARK_HOME = Path(pyspark.__file__).parent
DEFAULTS = "spark.executor.memory 512m\nspark.executor.extraJavaOptions -XX:+UseSerialGC -XX:TieredStopAtLevel=1\n"


@dataclass
class Cluster:
    """A master and its workers, each a process on loopback, with one core a worker."""

    place: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """Beside the system's settings: `spark-defaults.conf` is where Spark's own are."""
        return {"SPARK_CONF_DIR": str(self.place / "conf"), "SPARK_LOCAL_IP": "127.0.0.1"}

    def start(self, name: str, *words: str, **env: str) -> None:
        java = {"JAVA_HOME": tools.java(os.environ).home, "SPARK_HOME": str(SPARK_HOME)}
        options = {"SPARK_DAEMON_MEMORY": "256m", "SPARK_DAEMON_JAVA_OPTS": "-XX:+UseSerialGC"}
        with (self.place / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [str(SPARK_HOME / "bin" / "spark-class"), *words],
                env=dict(os.environ) | java | options | self.env | env,
                stdout=log,
                stderr=log,
            )

    def master(self) -> None:
        address = ("--host", "127.0.0.1", "--port", str(MASTER_PORT), "--webui-port", str(MASTER_PAGE))
        self.start("master", "org.apache.spark.deploy.master.Master", *address)

    def worker(self, n: int, **env: str) -> None:
        address = ("--host", "127.0.0.1", "--port", str(WORKER_PORT + n), "--webui-port", str(WORKER_PORT + 10 + n))
        size = ("--cores", "1", "--memory", "1g", "--work-dir", str(self.place / f"work-{n}"))
        master = f"spark://127.0.0.1:{MASTER_PORT}"
        self.start(f"worker-{n}", "org.apache.spark.deploy.worker.Worker", *address, *size, master, **env)

    def kill(self, name: str) -> None:
        """`kill -9` of it and of all that it has started: executors, and their Pythons."""
        one = self.processes.pop(name)
        for process in [psutil.Process(one.pid), *psutil.Process(one.pid).children(recursive=True)]:
            if process.is_running():
                process.kill()
        one.wait(10)

    def workers(self) -> int:
        """How many workers the master counts."""
        said = requests.get(f"http://127.0.0.1:{MASTER_PAGE}/json/", timeout=30).json()
        return int(said["aliveworkers"])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    (made.place / "conf").mkdir()
    (made.place / "conf" / "spark-defaults.conf").write_text(DEFAULTS + secrets.of_cluster())
    with ExitStack() as ending:
        ending.callback(lambda: [made.kill(name) for name in list(made.processes)])
        made.master()
        for n in (1, 2):
            made.worker(n)
        yield made


@pytest.fixture(scope="module")
def stack(cluster, launched):
    master = f"spark://127.0.0.1:{MASTER_PORT}"
    shared = str(cluster.place / "shared")
    settings = {"SPARK_MASTER": master, "VIGIE_CHECKPOINTS": shared, "VIGIE_SEED": "cluster"} | cluster.env
    with launched(FIRST_PORT, VIGIE_WATCH="0", VIGIE_BROKERS="1", **settings) as made:
        yield made


def executors(stack) -> list[dict]:
    """The executors as the application sees them, without its driver."""
    address = f"http://127.0.0.1:{stack.env['VIGIE_SPARK_UI_PORT']}/api/v1/applications"
    (application,) = requests.get(address, timeout=30).json()
    found = requests.get(f"{address}/{application['id']}/executors", timeout=30).json()
    return [one for one in found if one["id"] != "driver"]


def inside_a_batch(stack, strike: Callable[[], None]) -> None:
    """Strike while tasks are at work on both executors: MongoDB is frozen once they are, so that they stay so."""

    def struck() -> bool:
        if [bool(one["activeTasks"]) for one in executors(stack)] != [True, True]:
            return False
        stack.signal("documents", signal.SIGSTOP)
        try:
            time.sleep(0.3)  # what Spark's page says is up to 0.1 s old
            inside = all(one["activeTasks"] for one in executors(stack))
            if inside:
                strike()
            return inside
        finally:
            stack.signal("documents", signal.SIGCONT)

    ends = time.monotonic() + 90
    while not struck():
        assert time.monotonic() < ends, "no batch had tasks on both executors"


def ledger_agrees(stack) -> bool:
    """Whether the raw lane has counted every message once, and as many users as there are documents."""
    with stack.mongo() as client:
        database = client[DATABASE]
        one = msgspec.json.decode(database[LEDGER].find_one({"_id": RAW})["body"], type=Ledger)
        assert one.totals.read == sum(one.ends.values()) - sum(one.starts.values())
        return one.totals.users == database[COLLECTION].count_documents({})


def test_the_lanes_run_on_the_executors_of_both_workers(stack, cluster):
    stack.grown("summed", 100)
    found = executors(stack)
    assert len(found) == 2
    stack.until(lambda: all(one["completedTasks"] for one in executors(stack)))
    assert {lane.name for lane in (cluster.place / "shared").iterdir()} == {"raw", "stats"}
    assert not (stack.state.data / "checkpoints" / "raw").exists()


def test_a_worker_dies_inside_a_batch_and_every_user_is_counted_once(stack, cluster):
    driver = stack.pid("spark")
    inside_a_batch(stack, lambda: cluster.kill("worker-1"))
    stack.grown("summed", 100)
    stack.audit()
    cluster.worker(1)
    stack.until(lambda: len([one for one in executors(stack) if one["isActive"]]) == 2)
    assert stack.pid("spark") == driver, "the application went on"
    stack.until(lambda: ledger_agrees(stack))


def test_the_driver_dies_inside_a_batch_and_goes_on_from_the_shared_checkpoints(stack, cluster):
    before = stack.pid("spark")
    inside_a_batch(stack, lambda: stack.kill("spark"))
    stack.until(lambda: stack.pid("spark") not in (0, before))
    stack.grown("summed", 100)
    stack.audit()
    stack.until(lambda: ledger_agrees(stack))
    assert cluster.workers() == 2


def test_an_application_that_the_cluster_has_ended_is_begun_anew(stack):
    before = stack.pid("spark")
    page = f"http://127.0.0.1:{MASTER_PAGE}"
    (application,) = requests.get(f"{page}/json/", timeout=30).json()["activeapps"]
    requests.post(f"{page}/app/kill/", {"id": application["id"], "terminate": "true"}, timeout=30)
    stack.until(lambda: stack.pid("spark") not in (0, before))
    stack.grown("summed", 100)
    stack.audit()


def test_who_does_not_know_the_secret_is_no_worker(stack, cluster):
    (cluster.place / "no").mkdir()
    cluster.worker(3, SPARK_CONF_DIR=str(cluster.place / "no"))
    log = cluster.place / "worker-3.log"
    stack.until(lambda: "authenticate" in log.read_text().lower() or "Failed to connect to master" in log.read_text())
    assert cluster.workers() == 2
    cluster.kill("worker-3")
