"""Who we are to the stores: what a client is made with, what stops the start, and that no password is shown."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cassandra.connection import DefaultEndPoint

from observability import access, settings
from observability.settings import WrongSetting

SECRET = "s3cret-T0.ken_"
NOBODY = {
    "VIGIE_KAFKA_BOOTSTRAP": "a:1,b:2",
    "VIGIE_KAFKA_SECURITY": "PLAINTEXT",
    "VIGIE_KAFKA_USER": "",
    "VIGIE_KAFKA_PASSWORD_FILE": "",
    "VIGIE_KAFKA_CA_FILE": "",
    "VIGIE_MONGO_URI": "mongodb://m:3",
    "VIGIE_MONGO_USER": "",
    "VIGIE_MONGO_PASSWORD_FILE": "",
    "VIGIE_CASSANDRA_HOSTS": "c,d",
    "VIGIE_CASSANDRA_PORT": "4",
    "VIGIE_CASSANDRA_USER": "",
    "VIGIE_CASSANDRA_PASSWORD_FILE": "",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "the password"
    made.write_text(SECRET)
    return made


def somebody(file: Path) -> dict[str, str]:
    users = {f"VIGIE_{store}_USER": "me" for store in ("KAFKA", "MONGO", "CASSANDRA")}
    files = {f"VIGIE_{store}_PASSWORD_FILE": str(file) for store in ("KAFKA", "MONGO", "CASSANDRA")}
    return NOBODY | users | files | {"VIGIE_KAFKA_SECURITY": "SASL_PLAINTEXT"}


def test_with_nothing_set_every_client_is_made_without_authentication():
    kafka = settings.read(access.Kafka, NOBODY)
    assert kafka.kafka() == {"bootstrap_servers": ["a:1", "b:2"]}
    assert kafka.java() == {"bootstrap.servers": "a:1,b:2"}
    assert settings.read(access.Mongo, NOBODY).mongo(5, 2) == {
        "host": "mongodb://m:3",
        "serverSelectionTimeoutMS": 2_000,
        "connectTimeoutMS": 2_000,
        "socketTimeoutMS": 5_000,
    }
    cassandra = settings.read(access.Cassandra, NOBODY).cassandra()
    places = [DefaultEndPoint("c", 4), DefaultEndPoint("d", 4)]
    assert cassandra == {"contact_points": places, "port": 4, "protocol_version": 5}


def test_a_user_goes_with_the_password_of_its_file(file):
    env = somebody(file)
    assert settings.read(access.Kafka, env).kafka() == {
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "me",
        "sasl_plain_password": SECRET,
    }
    assert settings.read(access.Mongo, env).mongo().items() >= {"username": "me", "password": SECRET}.items()
    provider = settings.read(access.Cassandra, env).cassandra()["auth_provider"]
    assert (provider.username, provider.password) == ("me", SECRET)


def test_a_password_that_is_changed_is_used_by_the_next_client(file):
    kafka = settings.read(access.Kafka, somebody(file))
    file.write_text("another")
    assert kafka.kafka()["sasl_plain_password"] == "another"


def test_no_value_that_is_passed_on_holds_a_password(file):
    env = somebody(file)
    for cls in (access.Kafka, access.Mongo, access.Cassandra):
        wanted = settings.read(cls, env)
        assert SECRET not in repr(wanted)
        assert SECRET.encode() not in pickle.dumps(wanted)
    assert SECRET not in str(settings.read(access.Kafka, env).java())


KAFKA_FILE, MONGO_FILE = "VIGIE_KAFKA_PASSWORD_FILE", "VIGIE_MONGO_PASSWORD_FILE"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"VIGIE_KAFKA_SECURITY": "SSL"}, "VIGIE_KAFKA_SECURITY='SSL': one of PLAINTEXT, SASL_PLAINTEXT, SASL_SSL"),
        ({"VIGIE_KAFKA_USER": "", KAFKA_FILE: ""}, "VIGIE_KAFKA_USER: not set; VIGIE_KAFKA_SECURITY=SASL_PLAINTEXT"),
        ({"VIGIE_KAFKA_USER": ""}, f"VIGIE_KAFKA_USER: not set, though {KAFKA_FILE} is"),
        ({"VIGIE_KAFKA_USER": 'a" b'}, "VIGIE_KAFKA_USER='a\" b': letters, digits"),
        ({KAFKA_FILE: ""}, f"{KAFKA_FILE}: not set, though VIGIE_KAFKA_USER is"),
        ({"VIGIE_KAFKA_SECURITY": "PLAINTEXT"}, "VIGIE_KAFKA_USER: set, though VIGIE_KAFKA_SECURITY is PLAINTEXT"),
        ({"VIGIE_KAFKA_SECURITY": ""}, "VIGIE_KAFKA_USER: set, though VIGIE_KAFKA_SECURITY is PLAINTEXT"),
        ({"VIGIE_MONGO_USER": ""}, f"VIGIE_MONGO_USER: not set, though {MONGO_FILE} is"),
        ({MONGO_FILE: "/no/such"}, f"{MONGO_FILE}='/no/such': No such file or directory: it must name a file"),
        ({MONGO_FILE: "/"}, f"{MONGO_FILE}='/': Is a directory"),
        ({"VIGIE_CASSANDRA_PASSWORD_FILE": ""}, "VIGIE_CASSANDRA_PASSWORD_FILE: not set, though"),
        (
            {"VIGIE_KAFKA_SECURITY": "SASL_SSL", "VIGIE_KAFKA_CA_FILE": "/no/such"},
            "VIGIE_KAFKA_CA_FILE='/no/such': [Errno 2]",
        ),
        (
            {"VIGIE_KAFKA_SECURITY": "SASL_SSL", "VIGIE_KAFKA_CA_FILE": __file__},
            f"VIGIE_KAFKA_CA_FILE='{__file__}': [X509",
        ),
    ],
)
def test_what_does_not_fit_stops_the_start_and_names_the_setting(file, change, told):
    with pytest.raises(WrongSetting) as refused:
        for cls in (access.Kafka, access.Mongo, access.Cassandra):
            settings.read(cls, somebody(file) | change)
    assert str(refused.value).startswith(told)


@pytest.mark.parametrize("text", [b"", b"two words", b"line\n", b'quo"te', b"back\\slash", "päss".encode(), b"\xff"])
def test_a_file_that_holds_no_password_is_refused_without_telling_what_it_holds(file, text):
    file.write_bytes(text)
    with pytest.raises(WrongSetting, match=r"VIGIE_MONGO_PASSWORD_FILE=.*: it (is empty|must hold)") as refused:
        settings.read(access.Mongo, somebody(file))
    assert not text or repr(text)[2:-1] not in str(refused.value)


PROCESSES = (
    "services.ingest",
    "services.topics",
    "services.exporter",
    "services.auditor",
    "services.audit",
    "services.hops",
    "spark.lanes",
    "spark.stores",
    "dashboard",
)


@pytest.mark.parametrize("module", PROCESSES)
def test_every_process_refuses_to_start_with_a_password_file_that_is_gone(module, tmp_path):
    outer = {key: value for key, value in os.environ.items() if not key.startswith("VIGIE_")}
    env = outer | {"VIGIE_STATE": str(tmp_path), "VIGIE_OTLP_ENDPOINT": "off"}
    gone: dict[str, Any] = {}
    for store in ("KAFKA", "MONGO", "CASSANDRA"):
        gone |= {f"VIGIE_{store}_USER": "me", f"VIGIE_{store}_PASSWORD_FILE": str(tmp_path / "gone")}
    done = subprocess.run(
        [sys.executable, "-m", module],
        env=env | gone | {"VIGIE_KAFKA_SECURITY": "SASL_PLAINTEXT"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "_PASSWORD_FILE=" in done.stderr
    assert "Traceback" not in done.stderr
