"""A PostgreSQL server of the tests' own: Debian's binaries, a temporary folder, loopback only, never as root."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.support import database_role

POOLER = "password-of-the-pooler"
CONNECTIONS = 120
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def binaries() -> Path:
    """The newest installed server's folder of programs, or the one that BARBERPRO_POSTGRESQL_PROGRAMS names: to try the tests on another version."""
    if named := os.environ.get("BARBERPRO_POSTGRESQL_PROGRAMS"):
        return Path(named)
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise RuntimeError("PostgreSQL's server is not installed; run: apt-get install postgresql")
    return found[-1].parent


@dataclass
class Server:
    """A running server; `admin` is a superuser's connection string."""

    port: int
    folder: Path
    user: str
    address: str = "127.0.0.1"
    certificate: str = ""
    connections: int = CONNECTIONS

    @property
    def admin(self) -> str:
        return f"host={self.address} port={self.port} user=admin dbname=barberpro"

    def on_disk(self, text: str) -> bool:
        """Whether any file of the server holds a text: tables, indexes, log."""
        return any(path.is_file() and text.encode() in path.read_bytes() for path in self.folder.rglob("*"))

    def waiting_for(self, connection: psycopg.Connection) -> list[int]:
        """Return the clients that wait for what a connection holds."""
        return self.waiting_for_process(connection.info.backend_pid)

    def waiting_for_process(self, process: int) -> list[int]:
        """Return the clients that wait for what another process holds; the server's own vacuum, which writes into a database's row too, is none."""
        asked = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND %s = ANY (pg_blocking_pids(pid))"
        with psycopg.connect(self.admin, autocommit=True) as looking:
            return [pid for (pid,) in looking.execute(asked, (process,))]

    def _run(self, *command: str) -> None:
        _as_user(self.user, *command, cwd=self.folder)

    def start(self) -> None:
        settings = {"listen_addresses": self.address, "max_connections": self.connections, **FAST}
        if self.certificate:
            settings |= {"ssl": "on", "ssl_cert_file": f"{self.folder}/{self.certificate}.crt", "ssl_key_file": f"{self.folder}/{self.certificate}.key"}
        options = f"-p {self.port} -k {self.folder} " + " ".join(f"-c {key}={value}" for key, value in settings.items())
        self._run(str(binaries() / "pg_ctl"), "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-w", "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        self._run(str(binaries() / "pg_ctl"), "-D", str(self.folder / "data"), "-m", mode, "-w", "stop")


def _as_user(user: str, *command: str, cwd: Path) -> None:
    switch = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    # pg_ctl's server would keep a pipe open for ever: output goes to a file.
    with tempfile.TemporaryFile() as output:
        result = subprocess.run(command, cwd=cwd, stdout=output, stderr=subprocess.STDOUT, check=False, **switch)
        if result.returncode:
            output.seek(0)
            raise RuntimeError(f"{command[0]}: {output.read().decode()}")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def empty_server(address: str = "127.0.0.1", port: int = 0, certificate: Path | None = None, connections: int = CONNECTIONS):
    """Start a server without a database of the platform, stop and delete it at the end.

    It listens on an address of loopback and a free port, unless one is named; with a certificate (beside its key, without suffix) by TLS too.
    """
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="barberpro-pg-", dir="/tmp"))
    try:
        shutil.chown(folder, user)
        _as_user(user, str(binaries() / "initdb"), "-D", str(folder / "data"), "-U", "admin", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N", cwd=folder)
        running = Server(port or free_port(), folder, user, address, certificate.name if certificate else "", connections)
        for suffix in (".crt", ".key") if certificate else ():
            own = shutil.copy(certificate.with_name(certificate.name + suffix), folder)
            shutil.chown(own, user)
            os.chmod(own, 0o600)
        # Roles log in by password as they do in a cluster; only the administrator is trusted.
        (folder / "data" / "pg_hba.conf").write_text(
            "local all all trust\nhost all admin 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n", encoding="utf-8"
        )
        running.start()
        try:
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def server():
    """Start a server with what tenants share, made by a superuser; stop and delete it at the end."""
    with empty_server() as running:
        with psycopg.connect(running.admin.replace("dbname=barberpro", "dbname=postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE barberpro")
        share(running)
        yield running


def share(running: Server) -> None:
    """Send what makes the part that tenants share, as `deploy_platform.yml` does."""
    with psycopg.connect(running.admin, autocommit=True) as connection:
        connection.execute(database_role.shared(database_admin_user="admin", database_pooler_password=POOLER).encode())


def shared_digest(running: Server) -> str:
    """What `deploy_platform.yml` takes for the text in force; nothing when something was changed since."""
    with psycopg.connect(running.admin) as connection:
        return str(connection.execute(database_role.shared_inspection().encode()).fetchone()[0])


@dataclass
class Tenant:
    """A tenant's schema with its roles, and the mounted Secrets as folders."""

    server: Server
    schema: str
    app_dir: Path
    owner_dir: Path
    ro_dir: Path
    admin_dir: Path

    def sql(self, statement: str, *parameters: object) -> list[tuple]:
        """Run a statement as superuser in the tenant's schema."""
        with psycopg.connect(self.server.admin, autocommit=True, options=f"-c search_path={self.schema}") as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def read(self, role: str, key: str) -> str:
        """One key of a role's Secret."""
        return (getattr(self, f"{role}_dir") / key).read_text()


def create_tenant(running: Server, folder: Path) -> Tenant:
    """Schema and roles as the platform's database role makes them."""
    schema = "t_" + secrets.token_hex(6)
    folders = {"owner": folder / "database-owner", "app": folder / "database", "ro": folder / "database-readonly"}
    tenant = Tenant(running, schema, folders["app"], folders["owner"], folders["ro"], folder / "admin")
    passwords = {role: secrets.token_hex(12) for role in folders}
    for role, directory in folders.items():
        directory.mkdir(parents=True)
        values = {
            "host": "127.0.0.1", "port": str(running.port), "dbname": "barberpro", "schema": schema,
            "sslmode": "disable", "user": f"{schema}_{role}", "password": passwords[role],
        }
        for key, value in values.items():
            (directory / key).write_text(value)
    with psycopg.connect(running.admin, autocommit=True) as connection:
        connection.execute(
            database_role.tenant(
                database_schema=schema, database_owner_password=passwords["owner"], database_app_password=passwords["app"],
                database_readonly_password=passwords["ro"],
            )
        )
    tenant.admin_dir.mkdir()
    (tenant.admin_dir / "token").write_text("operator-token\n")
    return tenant
