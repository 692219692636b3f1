"""
The credentials that nobody has yet: made once into VIGIE_SECRETS_DIR, never overwritten.

    <store>_<user>_password     of every user of Kafka, MongoDB, Cassandra and Grafana (docs/credentials.md)
    kafka_format                arguments (`@FILE`) of Kafka's storage tool: brokers know `admin` from their first start
    mongo_keyfile               what the members of a MongoDB replica set know each other by
    spark/spark-defaults.conf   what the members of a Spark cluster know each other by (a SPARK_CONF_DIR)
    tls/ca.pem                  who signs for the brokers: what a client has to trust
    tls/<host>.pem              a broker's key and certificate, for each host of VIGIE_KAFKA_BOOTSTRAP

A file is readable by its owner and group; it ends without a line end, as images read it. The key that signed is not
kept: tls/ is made whole, and anew when it is removed.

    NotMade     a file or folder cannot be written, or tls/ is there in part
"""

import argparse
import sys
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from secrets import token_bytes, token_hex

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from observability import access, lock, logs, settings

log = logs.Log(__name__)

KAFKA, MONGO, CASSANDRA, GRAFANA = "kafka", "mongo", "cassandra", "grafana"
ADMIN, ROOT, INGEST, LANES, READER, EXPORTER = "admin", "root", "ingest", "lanes", "reader", "exporter"
USERS = {
    KAFKA: (ADMIN, INGEST, LANES, READER, EXPORTER),
    MONGO: (ROOT, INGEST, LANES, READER, EXPORTER),
    CASSANDRA: (ADMIN, LANES, READER),
    GRAFANA: (ADMIN,),
}
FORMAT, KEYFILE, TLS, CA = "kafka_format", "mongo_keyfile", "tls", "ca.pem"
SPARK, DEFAULTS = "spark", "spark-defaults.conf"
FILE, FOLDER = 0o440, 0o750
YEARS = timedelta(days=3650)
SKEW = timedelta(days=1)  # a machine whose clock is behind takes the certificate too


@dataclass(frozen=True)
class Settings(access.Kafka):
    """Where the secrets are, and the brokers' hosts."""

    state: Path
    secrets_dir: str

    @property
    def folder(self) -> Path:
        return Path(self.secrets_dir) if self.secrets_dir else self.state / "secrets"


class NotMade(Exception):
    """A file or folder cannot be written, or tls/ is there in part; the text says which and what to do."""


def name(store: str, user: str) -> str:
    """The file of a user's password."""
    return f"{store}_{user}_password"


def make(folder: Path, hosts: Sequence[str]) -> list[str]:
    """
    Make what is missing; return the names of the files made.

    Raises:
        NotMade: something is in the way.
    """
    try:
        folder.mkdir(mode=FOLDER, parents=True, exist_ok=True)
        with lock.alone(folder / "lock", f"{folder}: secrets are being made by another process"):
            made = [one for store in USERS for one in passwords(folder, store)]
            admin = access.password("VIGIE_SECRETS_DIR", str(folder / name(KAFKA, ADMIN)))
            made += keep(folder / FORMAT, f"--add-scram\n{access.MECHANISM}=[name={ADMIN},password={admin}]\n")
            made += keep(folder / KEYFILE, b64encode(token_bytes(576)).decode())
            (folder / SPARK).mkdir(mode=FOLDER, exist_ok=True)
            made += [f"{SPARK}/{one}" for one in keep(folder / SPARK / DEFAULTS, of_cluster())]
            return made + certificates(folder / TLS, hosts)
    except OSError as error:
        raise NotMade(
            f"VIGIE_SECRETS_DIR={str(folder)!r}: {error.strerror}: it must name a folder that this user may write to"
        ) from error


def passwords(folder: Path, store: str) -> list[str]:
    return [one for user in USERS[store] for one in keep(folder / name(store, user), token_hex(24))]


def of_cluster() -> str:
    """A cluster's configuration: who does not know this secret runs nothing on it."""
    return (
        f"spark.authenticate true\nspark.authenticate.secret {token_hex(24)}\n"
        "spark.network.crypto.enabled true\nspark.master.rest.enabled false\n"
    )


def keep(file: Path, text: str) -> list[str]:
    """Write a file that is not there, whole or not at all; return its name if it was made."""
    if file.exists():
        return []
    half = file.with_name(f".{file.name}.half")
    half.unlink(missing_ok=True)
    half.touch(mode=0o600)
    half.write_text(text)
    half.chmod(FILE)
    half.rename(file)
    return [file.name]


def certificates(folder: Path, hosts: Sequence[str]) -> list[str]:
    """
    A certificate for each host, signed by one key that is then forgotten.

    Raises:
        NotMade: some of the files are there and others are not: nothing can sign those any more.
    """
    wanted = [folder / f"{host}.pem" for host in hosts]
    missing = [file for file in (folder / CA, *wanted) if not file.exists()]
    if not missing:
        return []
    if (folder / CA).exists():
        raise NotMade(
            f"{missing[0]}: missing, and who signed {folder / CA} is gone: remove {folder}, the same command again "
            "makes it whole; then start the brokers and every client anew"
        )
    folder.mkdir(mode=FOLDER, exist_ok=True)
    signer, root = ec.generate_private_key(ec.SECP256R1()), named("Vigie")
    ca = certificate(root, root, signer.public_key(), signer, None)
    for host, file in zip(hosts, wanted, strict=True):
        file.unlink(missing_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        own = certificate(named(host), root, key.public_key(), signer, host)
        keep(file, private(key) + pem(own) + pem(ca))
    keep(folder / CA, pem(ca))  # last: with it tls/ is whole
    return [f"{TLS}/{file.name}" for file in (*wanted, folder / CA)]


def certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    host: str | None,
) -> x509.Certificate:
    """A certificate of ten years: of `host`, which is also reached as localhost; of who signs, without one."""
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=host is not None,
        key_cert_sign=host is None,
        crl_sign=host is None,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + YEARS)
        .add_extension(x509.BasicConstraints(ca=host is None, path_length=0 if host is None else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if host is not None:
        both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        names = x509.SubjectAlternativeName(
            [alternative(one) for one in dict.fromkeys((host, "localhost", "127.0.0.1"))]
        )
        builder = builder.add_extension(both, critical=False).add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256())


def named(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def pem(made: x509.Certificate) -> str:
    return made.public_bytes(serialization.Encoding.PEM).decode()


def private(key: ec.EllipticCurvePrivateKey) -> str:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()


def hosts(bootstrap: str) -> list[str]:
    """Each host of a comma list of addresses once."""
    return list(dict.fromkeys(address.rpartition(":")[0].strip("[]") for address in bootstrap.split(",")))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m services.secrets", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--show", action="store_true", help="print the passwords that are there, and make nothing")
    asked = parser.parse_args(argv)
    logs.start("secrets")
    try:
        wanted = settings.read(Settings, settings.environ())
        if asked.show:
            return show(wanted.folder)
        made = make(wanted.folder, hosts(wanted.kafka_bootstrap))
    except (settings.WrongSetting, NotMade, lock.Held) as error:
        print(error, file=sys.stderr)
        return 2
    log.info("secrets are there", folder=str(wanted.folder), made=made)
    return 0


def show(folder: Path) -> int:
    """Print every password; 1 when one cannot be read."""
    for store, users in USERS.items():
        for user in users:
            try:
                print(f"{store:<10} {user:<9} {(folder / name(store, user)).read_text()}")
            except OSError as error:
                print(f"{error.filename}: {error.strerror}: `python -m services.secrets` makes them", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
