"""Runs the playbooks as an operator does, and keeps what they printed, returned and reported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.cluster import CABALLITO, ROOT
from tests.support.waiting import until

PLAYBOOK = ROOT / ".venv" / "bin" / "ansible-playbook"
REPORTS = ROOT / "reports"

RUNS: list[Run] = []
"""The runs that nobody has looked through yet for secrets that they printed or reported."""


@dataclass
class Run:
    """One run of a playbook: exit code, all that was printed, seconds taken, the files that appeared among the reports, the newest report of its tenant."""

    code: int
    output: str
    seconds: float
    files: set[Path] = field(default_factory=set)
    report: dict[str, Any] = field(default_factory=dict)
    report_path: Path | None = None

    def stage(self, name: str) -> dict[str, Any]:
        """Return one stage of the report."""
        return next(stage for stage in self.report["stages"] if stage["name"] == name)

    def words(self) -> str:
        """Return the output with all white space folded, so that sentences can be found across line breaks."""
        return " ".join(self.output.split())


def command_of(
    playbook: str, arguments: tuple[str, ...], extra: dict[str, Any] | None, inventory: str, program: str = str(PLAYBOOK),
) -> list[str]:
    """Return the command line of a playbook; `extra` are extra variables as JSON. A tenant that only tests have brings its inventory."""
    beside = ["-i", "tests/e2e/beside.yml"] if CABALLITO in (*arguments, (extra or {}).get("tenant_name")) else []
    command = [program, "-i", inventory, *beside, playbook, *arguments]
    return command if not extra else [*command, "-e", json.dumps(extra)]


def oldest_core() -> dict[str, str]:
    """Return how `play` runs a playbook with the oldest ansible-core that is supported: by the program of .venv-2.18, in its environment."""
    folder = ROOT / ".venv-2.18"
    program = str(folder / "bin" / "ansible-playbook")
    return {"program": program, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections")}


def environment_of(**changes: str) -> dict[str, str]:
    """Return the environment of a run: no colours, so that sentences can be compared."""
    return {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "COLUMNS": "400", **changes}


def written() -> set[Path]:
    """Return the reports and plans on this runner."""
    # What another run writes at this moment has another name until it is whole.
    return {path for path in REPORTS.rglob("*") if path.is_file() and path.suffix != ".part"}


def play(
    playbook: str, *arguments: str, tenant: str = "", extra: dict[str, Any] | None = None,
    inventory: str = "inventories/embedded", timeout: float = 600.0, program: str = str(PLAYBOOK), **environment: str,
) -> Run:
    """Run a playbook to its end. With `tenant`, the report that this run wrote is read.

    Every run, good or bad, must be free of Ansible's deprecation warnings.
    """
    before = written()
    started = time.monotonic()
    done = subprocess.run(
        command_of(playbook, arguments, extra, inventory, program), cwd=ROOT, env=environment_of(**environment), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=timeout,
    )
    run = Run(done.returncode, done.stdout, time.monotonic() - started, written() - before)
    assert "[DEPRECATION WARNING]" not in run.output, run.output
    if tenant and (new := sorted(run.files & set((REPORTS / tenant).glob("*/report.json")))):
        run.report_path = new[-1]
        run.report = json.loads(run.report_path.read_text())
    RUNS.append(run)
    return run


def deploy(tenant: str, *arguments: str, extra: dict[str, Any] | None = None, **options: Any) -> Run:
    """Deploy a tenant of the inventory."""
    return play("deploy_vertical.yml", "--limit", tenant, *arguments, tenant=tenant, extra=extra, **options)


def deploy_new(tenant: str, *arguments: str, extra: dict[str, Any] | None = None, **options: Any) -> Run:
    """Deploy a tenant that only variables describe, as a survey would."""
    described = {"tenant_name": tenant, "vertical": "barbershop", "tier": "small", "market_size": "small", **(extra or {})}
    return play("deploy_vertical.yml", *arguments, tenant=tenant, extra=described, **options)


def plan_of(run: Run, tenant: str) -> tuple[dict[str, Any], Path]:
    """Return the plan that a run says that it has written, and where."""
    path = Path(run.words().partition("Written to ")[2].split()[0])
    assert path.parent.parent == REPORTS / tenant
    found: dict[str, Any] = json.loads(path.read_text())
    return found, path


def remove(tenant: str) -> None:
    """Remove a tenant with its schema and its DNS record, as the scenarios of molecule/ do."""
    run = play("molecule/shared/destroy.yml", extra={"tenant_name": tenant})
    assert run.code == 0, run.output


class Background:
    """A playbook that runs while the test does something else, in a process group of its own so that it can be killed whole."""

    def __init__(self, playbook: str, *arguments: str, log: Path, extra: dict[str, Any] | None = None) -> None:
        """Start it; what it prints goes to `log`."""
        self.log = log
        self.before = written()
        with log.open("w") as target:
            self.process = subprocess.Popen(
                command_of(playbook, arguments, extra, "inventories/embedded"), cwd=ROOT, env=environment_of(),
                stdin=subprocess.DEVNULL, stdout=target, stderr=subprocess.STDOUT, start_new_session=True,
            )

    def __enter__(self) -> Background:
        return self

    def __exit__(self, *_exception: object) -> None:
        """Leave no playbook behind, whatever the test met."""
        if self.process.poll() is None:
            self.kill()
        RUNS.append(Run(self.process.returncode, self.log.read_text(), 0.0, written() - self.before))

    def wait_for(self, text: str, timeout: float = 300.0) -> None:
        """Wait until the playbook has printed `text`."""

        def ended_or_said() -> bool:
            return self.process.poll() is not None or text in self.log.read_text()

        until(ended_or_said, f"{text!r} in {self.log}", timeout)
        assert text in self.log.read_text(), f"ended before it said {text!r}:\n{self.log.read_text()}"

    def kill(self) -> None:
        """End it with SIGKILL, with everything that it started."""
        with suppress(ProcessLookupError):  # it has come to its end this moment
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)
