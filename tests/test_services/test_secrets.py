"""Credentials are made once, each of its own, readable by few, and what is there is never written over."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from observability import access, lock
from observability.settings import WrongSetting
from services import secrets
from services.secrets import NotMade, hosts, make, name

HOSTS = ["kafka-1", "kafka-2", "127.0.0.1"]
PASSWORDS = {name(store, user) for store, users in secrets.USERS.items() for user in users}
TLS = {"tls/ca.pem", *(f"tls/{host}.pem" for host in HOSTS)}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_everything_is_made_once_and_the_second_time_nothing_changes(tmp_path):
    made = make(tmp_path / "new", HOSTS)
    assert set(made) == PASSWORDS | TLS | {"kafka_format", "mongo_keyfile", "spark/spark-defaults.conf"}
    before = contents(tmp_path / "new")
    assert make(tmp_path / "new", HOSTS) == []
    assert contents(tmp_path / "new") == before


def test_every_password_is_another_one_and_can_be_used_by_every_client(tmp_path):
    make(tmp_path, HOSTS)
    found = {access.password("KEY", str(tmp_path / one)) for one in PASSWORDS}
    assert len(found) == len(PASSWORDS)
    assert all(len(one) >= 32 for one in found)


def test_a_password_that_was_removed_is_made_anew_and_the_others_stay(tmp_path):
    make(tmp_path, HOSTS)
    before = contents(tmp_path)
    (tmp_path / name("mongo", "reader")).unlink()
    assert make(tmp_path, HOSTS) == ["mongo_reader_password"]
    assert {one for one, text in contents(tmp_path).items() if text != before[one]} == {"mongo_reader_password"}


def test_a_password_of_ones_own_is_kept_and_brokers_are_formatted_with_it(tmp_path):
    (tmp_path / "kafka_admin_password").write_text("mine")
    assert "kafka_admin_password" not in make(tmp_path, HOSTS)
    assert (tmp_path / "kafka_format").read_text() == "--add-scram\nSCRAM-SHA-512=[name=admin,password=mine]\n"


def test_a_password_of_ones_own_with_a_line_end_is_refused(tmp_path):
    (tmp_path / "kafka_admin_password").write_text("mine\n")
    with pytest.raises(WrongSetting, match=r"VIGIE_SECRETS_DIR=.*kafka_admin_password.*no line end"):
        make(tmp_path, HOSTS)


def test_files_are_for_the_owner_and_the_group_to_read_and_for_nobody_to_write(tmp_path):
    folder = tmp_path / "secrets"
    make(folder, HOSTS)
    for one in folder.rglob("*"):
        if one.name != "lock":  # empty
            assert stat.S_IMODE(one.stat().st_mode) == (0o750 if one.is_dir() else 0o440), one
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750


def test_a_host_that_came_later_is_told_with_the_way_to_certificates_for_all(tmp_path):
    make(tmp_path, ["kafka-1"])
    before = contents(tmp_path)
    with pytest.raises(NotMade, match=r"tls/kafka-2\.pem: missing.* remove .*tls"):
        make(tmp_path, HOSTS)
    assert contents(tmp_path) == before


def test_certificates_that_were_begun_and_not_ended_are_made_whole(tmp_path):
    make(tmp_path, HOSTS)
    (tmp_path / "tls" / "ca.pem").unlink()  # it is written last
    assert set(make(tmp_path, HOSTS)) == TLS


def test_a_folder_that_cannot_be_written_is_told_by_its_setting(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotMade, match=r"VIGIE_SECRETS_DIR='.*': Not a directory: it must name a folder"):
        make(tmp_path / "file" / "secrets", HOSTS)


def test_two_at_once_do_not_mix(tmp_path):
    make(tmp_path, HOSTS)
    with lock.alone(tmp_path / "lock", "held"), pytest.raises(lock.Held, match="another process"):
        make(tmp_path, HOSTS)


def test_hosts_are_those_of_the_addresses_each_once():
    assert hosts("kafka-1:9092,kafka-2:9093,kafka-1:9094,[::1]:9095") == ["kafka-1", "kafka-2", "::1"]


def run(state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    outer = {key: value for key, value in os.environ.items() if not key.startswith("VIGIE_")}
    command = [sys.executable, "-m", "services.secrets", *words]
    env = outer | {"VIGIE_STATE": str(state)}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_makes_them_silently_and_shows_them_when_asked(tmp_path):
    asked_too_early = run(tmp_path, "--show")
    assert (asked_too_early.returncode, asked_too_early.stdout) == (1, "")
    assert "`python -m services.secrets` makes them" in asked_too_early.stderr
    made = run(tmp_path)
    passwords = [(tmp_path / "secrets" / one).read_text() for one in PASSWORDS]
    assert made.returncode == 0
    assert not any(one in made.stdout + made.stderr for one in passwords)
    shown = run(tmp_path, "--show")
    assert shown.returncode == 0
    assert sorted(line.split()[2] for line in shown.stdout.splitlines()) == sorted(passwords)


def test_who_has_a_wrong_setting_is_told_it_and_nothing_is_made(tmp_path):
    outer = {key: value for key, value in os.environ.items() if not key.startswith("VIGIE_")}
    env = outer | {"VIGIE_STATE": str(tmp_path), "VIGIE_KAFKA_SECURITY": "SSL"}
    command = [sys.executable, "-m", "services.grants"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("VIGIE_KAFKA_SECURITY='SSL': one of PLAINTEXT")
