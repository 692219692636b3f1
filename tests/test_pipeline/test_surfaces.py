"""The running system from outside: ports on loopback, strangers refused (hosts, sites, users), its JVMs as started."""

import re
import signal
import socket
import stat
import time
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest
import requests

from engines import archives, builds, leftovers, supervise

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

EVIL = "evil.example"


def sockets(stack) -> list[tuple[str, str, int]]:
    """(program, address, port) of everything that the system's processes listen on, or take datagrams on."""
    found = []
    for process in leftovers.marked(stack.state.root):
        with suppress(psutil.NoSuchProcess):
            found += [
                (process.name(), one.laddr.ip, one.laddr.port)
                for one in process.net_connections("inet")
                if one.status == psutil.CONN_LISTEN or (one.type == socket.SOCK_DGRAM and one.laddr and not one.raddr)
            ]
    return found


def url(stack, name: str, path: str) -> str:
    return f"http://127.0.0.1:{stack.env[f'VIGIE_{name}_PORT']}{path}"


def test_every_port_is_on_loopback(stack):
    single = {"KAFKA", "CASSANDRA", "MONGO", "SIMULATOR", "SIMULATOR_ADMIN", "SPARK_UI", "DASHBOARD", "PROMETHEUS"}
    single |= {"ALERTMANAGER", "JAEGER", "OTLP", "INGEST_METRICS", "AUDITOR_METRICS", "KAFKA_JMX", "CASSANDRA_JMX"}
    wanted = {int(stack.env[f"VIGIE_{name}_PORT"]) for name in single}
    stack.until(lambda: wanted <= {port for _, _, port in sockets(stack)})
    assert [one for one in sockets(stack) if not loopback(one[1])] == []


def loopback(address: str) -> bool:
    at = ip_address(address)
    return (getattr(at, "ipv4_mapped", None) or at).is_loopback


def test_only_this_user_may_reach_the_supervisor_and_what_is_kept(stack):
    socket_of = stack.state.socket.stat()
    assert stat.S_ISSOCK(socket_of.st_mode)
    assert stat.S_IMODE(socket_of.st_mode) & 0o077 == 0
    assert stat.S_IMODE(stack.state.root.stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize("stranger", [{"Host": EVIL}, {"Host": f"{EVIL}:8091"}, {"Origin": f"http://{EVIL}"}])
def test_the_simulators_admin_switches_nothing_for_a_stranger(stack, stranger):
    address = url(stack, "SIMULATOR_ADMIN", "/faults")
    for method in ("PUT", "DELETE", "GET"):
        said = requests.request(method, address, json={"cut": {}}, headers=stranger, timeout=10)
        assert said.status_code == 403, method
    assert requests.post(address, json={"cut": {}}, headers=stranger, timeout=10).status_code == 501
    assert requests.get(address, timeout=10).json() == {}


def test_prometheus_is_neither_stopped_reloaded_nor_emptied_and_tells_no_other_site(stack):
    for path in ("/-/quit", "/-/reload"):
        assert requests.post(url(stack, "PROMETHEUS", path), timeout=10).status_code == 403, path
    for path in ("delete_series?match[]=up", "clean_tombstones", "snapshot"):
        said = requests.post(url(stack, "PROMETHEUS", f"/api/v1/admin/tsdb/{path}"), timeout=10).json()
        assert said["error"] == "admin APIs disabled", path
    said = requests.get(
        url(stack, "PROMETHEUS", "/api/v1/query?query=up"), headers={"Origin": f"http://{EVIL}"}, timeout=9
    )
    assert "Access-Control-Allow-Origin" not in said.headers
    assert requests.post(url(stack, "PROMETHEUS", "/api/v1/write"), data=b"x", timeout=10).status_code == 404


def test_the_alertmanager_takes_no_silence_by_a_plain_form_and_joins_no_cluster(stack):
    silence = {"matchers": [{"name": "alertname", "value": ".+", "isRegex": True}], "createdBy": "x", "comment": "x"}
    address = url(stack, "ALERTMANAGER", "/api/v2/silences")
    for content in ("text/plain", "application/x-www-form-urlencoded"):
        said = requests.post(address, json=silence, headers={"Content-Type": content}, timeout=10)
        assert said.status_code in (400, 415, 422), content
    assert requests.get(address, timeout=10).json() == []
    status = requests.get(url(stack, "ALERTMANAGER", "/api/v2/status"), timeout=10).json()
    assert status["cluster"] == {"status": "disabled", "peers": []}


def test_jaeger_takes_no_spans_from_a_web_page_and_tells_no_other_site(stack):
    evil = {"Origin": f"http://{EVIL}"}
    plain = requests.post(
        url(stack, "OTLP", "/v1/traces"), data="{}", headers=evil | {"Content-Type": "text/plain"}, timeout=9
    )
    assert plain.status_code == 415
    for method, name, path in (("OPTIONS", "OTLP", "/v1/traces"), ("GET", "JAEGER", "/api/services")):
        asking = evil | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        said = requests.request(method, url(stack, name, path), headers=asking, timeout=10)
        assert "Access-Control-Allow-Origin" not in said.headers, name


def test_no_batch_is_killed_by_sparks_page(stack):
    """The handlers answer all the same; so no stage of a job that ran may say that it was killed."""
    api = of_spark(stack)
    jobs = f"{api}/jobs"
    running = stack.until(lambda: frozen_inside(stack, jobs))
    try:
        for method in ("GET", "POST"):
            address = url(stack, "SPARK_UI", f"/jobs/job/kill/?id={running}")
            requests.request(method, address, timeout=10, allow_redirects=False)
    finally:
        stack.signal("documents", signal.SIGCONT)
    stack.until(lambda: status(jobs, running) != "RUNNING")
    failed = requests.get(f"{api}/stages", {"status": "failed"}, timeout=10).json()
    assert [one["failureReason"] for one in failed if "killed via Web UI" in one["failureReason"]] == []


def test_neither_lanes_jobs_wait_behind_the_others(stack):
    """Each lane's are in a pool of its own: Spark is fair between pools."""

    def pools() -> set[str]:
        done = requests.get(f"{of_spark(stack)}/stages", {"status": "complete"}, timeout=10).json()
        return {one["schedulingPool"] for one in done}

    assert stack.until(lambda: len(pools()) > 1 and pools()) == {"raw", "stats"}


def test_the_jvm_of_the_lanes_has_room_for_its_code(stack):
    """Without it code is thrown away and compiled anew, for ever; Spark comes to some 50 MB of it."""
    said = requests.get(url(stack, "SPARK_UI", "/metrics/prometheus"), timeout=10).text
    code = dict(re.findall(r"_driver_jvm_pools_CodeCache_(used|max)_Number{[^}]*} (\d+)", said))
    assert 0 < int(code["used"]) < 100 * 2**20
    assert int(code["max"]) == 128 * 2**20


def test_lanes_that_stood_still_keep_their_executor(stack):
    """
    Spark's own two minutes are too long for a test. With three seconds instead the lanes ended by themselves, after two
    stops of eight seconds and sixty heartbeats: "unable to send heartbeats to driver".
    """
    said = requests.get(f"{of_spark(stack)}/environment", timeout=10).json()["sparkProperties"]
    assert int(dict(said)["spark.storage.blockManagerHeartbeatTimeoutMs"]) > 24 * 3600 * 1000


def test_every_java_maps_an_archive_of_its_classes_or_one_is_made_of_its_list(stack):
    at_work = archives.at_work(stack.state)
    log = stack.state.log(archives.LOG)
    told = log.read_text() if log.exists() else ""
    for engine, program in archives.PROGRAMS.items():
        pid = supervise.pid(stack.state, program)
        tree = [one := psutil.Process(pid), *one.children(recursive=True)]
        (java,) = (one for one in tree if one.name() == "java")
        (option,) = (word for word in java.cmdline() if word.startswith((archives.USE, archives.LIST)))
        more = archives.besides(engine, {"VIGIE_SPARK_JARS": str(builds.named(engine))})
        archive = archives.file(engine, str(Path(java.cmdline()[0]).parent.parent), *more)
        if option.startswith(archives.LIST):
            assert Path(option.removeprefix(archives.LIST)).stat().st_size
            assert told, "make up has begun nothing"
            anew = f"{program}={pid}" not in told  # by another test
            assert archive.is_file() or at_work or anew or archive.stem in told, engine
        else:
            assert option == f"{archives.USE}{archive}"
            assert str(archive.resolve()) in Path(f"/proc/{java.pid}/maps").read_text(), engine


def of_spark(stack) -> str:
    """Where Spark's page answers as JSON."""
    (application,) = requests.get(url(stack, "SPARK_UI", "/api/v1/applications"), timeout=10).json()
    return url(stack, "SPARK_UI", f"/api/v1/applications/{application['id']}")


def status(jobs: str, job: int) -> str:
    return str(requests.get(f"{jobs}/{job}", timeout=10).json()["status"])


def frozen_inside(stack, jobs: str) -> int | None:
    """Freeze MongoDB while a job runs that needs it; its number, or None, with MongoDB at work, if it has ended."""
    for one in requests.get(jobs, {"status": "running"}, timeout=10).json():
        stack.signal("documents", signal.SIGSTOP)
        time.sleep(0.5)  # what Spark's page says is up to 0.1 s old
        if status(jobs, one["jobId"]) == "RUNNING":
            return int(one["jobId"])
        stack.signal("documents", signal.SIGCONT)
    return None


def test_the_pages_take_no_other_sites_socket(stack):
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    address = url(stack, "DASHBOARD", "/_stcore/stream")
    codes = {}
    for origin in (f"http://{EVIL}", url(stack, "DASHBOARD", "")):
        with requests.get(address, headers=handshake | {"Origin": origin}, timeout=10, stream=True) as said:
            codes[origin] = said.status_code
    assert list(codes.values()) == [403, 101]


def test_metrics_are_read_and_nothing_is_written_there(stack):
    for name in ("INGEST", "SPARK", "AUDITOR", "EXPORTER", "SIMULATOR", "DASHBOARD"):
        address = url(stack, f"{name}_METRICS", "/metrics")
        assert requests.get(address, timeout=10).status_code == 200, name
        assert requests.post(address, data="x", timeout=10).status_code in (405, 501), name
