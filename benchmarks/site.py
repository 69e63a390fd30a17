"""The cluster that the benchmarks of fleets run on: the simulated profile with the platform's foundation, as the deployer sees it.

Everybody who is measured uses the deployer's kubeconfig: an administrator of the group system:masters would pass by API priority and
fairness. The administrator's is used to install, to count with kubectl and to clear away.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks import tenants
from benchmarks.fleet import ROOT

RESULTS = Path(__file__).resolve().parent / "results"
LABEL = "barberpro.platform/tenant"
KINDS = (
    "namespaces,resourcequotas,limitranges,serviceaccounts,roles.rbac.authorization.k8s.io,rolebindings.rbac.authorization.k8s.io,"
    "networkpolicies.networking.k8s.io,configmaps,services,deployments.apps,poddisruptionbudgets.policy,"
    "httproutes.gateway.networking.k8s.io,servicemonitors.monitoring.coreos.com,prometheusrules.monitoring.coreos.com"
)
POLICIES = ("barberpro-namespaces", "barberpro-tenant-owners", "barberpro-tenant-rules")
_IMAGES = ("postgresql", "prometheus", "alertmanager", "prometheus_operator", "prometheus_config_reloader", "pgbouncer")


@dataclass(frozen=True)
class Done:
    """A process that has ended: its output, wall-clock seconds, CPU seconds of it and its children, and the largest resident set in MiB."""

    output: str
    seconds: float
    cpu_seconds: float
    mebibytes: float


def run(command: Sequence[str], *, check: bool = True, **environment: str) -> Done:
    """Run a program and measure it. Raises RuntimeError with the end of what it said when it fails."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, cwd=ROOT, env={**os.environ, **environment}
    )
    output = process.stdout.read() if process.stdout else ""
    _pid, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if check and process.returncode:
        raise RuntimeError(f"{' '.join(command[:6])}: exit code {process.returncode}: {output[-3000:]}")
    return Done(output, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


@dataclass(frozen=True)
class Site:
    """A cluster for tests. Paths of programs and kubeconfigs; ``work`` is a folder for files of a run."""

    kubeconfig: str
    deployer: str
    kubectl_path: str
    work: Path

    @classmethod
    def of_checkout(cls, work: Path, bare: bool = False) -> Site:
        """Return the simulated cluster of this checkout; ``bare`` takes the administrator for the deployer, who has no rights before ``install``.

        Raises SystemExit when it does not run or is not for tests.
        """
        facts = ROOT / ".embedded" / "simulated" / "cluster.json"
        if not facts.exists():
            raise SystemExit("the simulated cluster does not run; start it with make cluster PROFILE=simulated")
        found = json.loads(facts.read_text())
        site = cls(found["kubeconfig"], found["kubeconfig" if bare else "deployer_kubeconfig"], found["kubectl"], work)
        label = json.loads(site.kubectl("get", "namespace", "kube-system", "-o", "json"))["metadata"]["labels"]
        if label.get("barberpro.platform/cluster") != "test":
            raise SystemExit(f"{site.kubeconfig}: kube-system lacks the label barberpro.platform/cluster=test, so this is no cluster for tests")
        return site

    def kubectl(self, *arguments: str, check: bool = True, stdin: str | None = None) -> str:
        """Run kubectl as the administrator and return what it says. Raises RuntimeError."""
        command = [self.kubectl_path, "--kubeconfig", self.kubeconfig, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, input=stdin, check=False)
        if check and done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def install(self) -> None:
        """Install what tenants share and a fleet needs: namespaces, the deployer's rights, the admission policies."""
        extra = {
            "platform_kubeconfig": self.kubeconfig,
            "platform_kubectl": self.kubectl_path,
            "platform_zone": tenants.ZONE,
            "platform_gateway_provider": "existing",
            "platform_image_registries": [tenants.REGISTRY],
            "images": dict.fromkeys(_IMAGES, tenants.IMAGE),
        }
        self.play("deploy_platform.yml", "--tags", "foundation", "-e", json.dumps(extra))

    def uninstall(self) -> None:
        """Take the admission policies away again: the tests of this checkout have tenants that they would refuse."""
        for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
            self.kubectl("delete", f"{kind}.admissionregistration.k8s.io", *POLICIES, "--ignore-not-found")

    def play(self, *arguments: str, check: bool = True) -> Done:
        """Run a playbook on this machine, as the deployer where it names no other kubeconfig."""
        command = [str(ROOT / ".venv" / "bin" / "ansible-playbook"), "-i", "localhost,", *arguments]
        return run(command, check=check, ANSIBLE_NOCOLOR="1", ANSIBLE_FORCE_COLOR="0", KUBECONFIG=self.deployer, K8S_AUTH_KUBECONFIG=self.deployer)

    def task(
        self, name: str, module: str, arguments: dict[str, Any], *, keep: Iterable[str] = (), loop: list[Any] | None = None
    ) -> tuple[Done, dict[str, Any]]:
        """Run one task of one module in a playbook of its own; return how it went and the keys ``keep`` of its result.

        With ``loop`` the task is repeated for each of these objects. Ansible reads them as data, since alerts have templates of their own.
        """
        (self.work / f"{name}.json").write_text(json.dumps({"arguments": arguments}))
        result = self.work / f"{name}.result.json"
        task: dict[str, Any] = {"name": "The task that is measured", module: "{{ arguments }}", "register": "done"}
        if loop is not None:
            items = self.data(f"{name}-items", loop)
            task |= {module: {"definition": "{{ item }}", "apply": True}, "loop": items, "loop_control": {"label": "{{ item.kind }}"}}
        kept = "{{ " + "{" + ", ".join(f"'{key}': done.{key} | default(none)" for key in keep) + "}" + " | to_json }}"
        keeping = {"name": "Keep what it says", "ansible.builtin.copy": {"content": kept, "dest": str(result), "mode": "0600"}}
        play = {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars_files": [str(self.work / f"{name}.json")],
            "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
            "tasks": [task, *([keeping] if keep else [])],
        }
        (self.work / f"{name}.yml").write_text(json.dumps([play]))
        done = self.play(str(self.work / f"{name}.yml"))
        return done, json.loads(result.read_text()) if keep else {}

    def data(self, name: str, value: Any) -> str:
        """Write a value, and return the template that reads it without taking anything in it for a template."""
        path = self.work / f"{name}.data.json"
        path.write_text(json.dumps(value))
        return f"{{{{ lookup('ansible.builtin.file', '{path}') | from_json }}}}"

    def cpu(self) -> float:
        """Return the CPU seconds that the cluster's processes and the programs that this one has started have used so far."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        total = used.ru_utime + used.ru_stime
        own = os.fsencode(Path(self.kubeconfig).parent / "bin") + b"/"
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command, stat = (entry / "cmdline").read_bytes(), (entry / "stat").read_bytes()
            except OSError:  # it has ended
                continue
            if command.startswith(own):
                # utime and stime, fields 14 and 15 of proc(5); the name, in parentheses, may hold anything.
                total += sum(map(int, stat.rpartition(b")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")
        return total

    def count(self, prefix: str) -> int:
        """Return the number of objects of the tenants of a prefix, as kubectl sees them."""
        return len(self._seen(prefix))

    def versions(self, prefix: str) -> dict[str, str]:
        """Return the resourceVersion of each object of the tenants of a prefix, what the platform keeps of them included."""
        return self._seen(prefix, ",secrets")

    def versions_at_rest(self, prefix: str) -> dict[str, str]:
        """Return the same once two looks agree: controllers write the status of what was made for some time after, at most a minute here."""
        end, seen = time.monotonic() + 60, self.versions(prefix)
        while time.monotonic() < end:
            time.sleep(1)
            last, seen = seen, self.versions(prefix)
            if seen == last:
                break
        return seen

    def _seen(self, prefix: str, more: str = "") -> dict[str, str]:
        columns = "custom-columns=K:.kind,S:.metadata.namespace,N:.metadata.name,T:.metadata.labels.barberpro\\.platform/tenant,V:.metadata.resourceVersion"
        found = {}
        for line in self.kubectl("get", KINDS + more, "-A", "-l", LABEL, "--no-headers", "-o", columns).splitlines():
            name, space, own, tenant, version = line.split()
            if tenant.startswith(f"{prefix}-") and (space != "barberpro-system" or name != "ConfigMap"):
                found[f"{name} {space}/{own}"] = version
        return found

    def clear(self, prefix: str) -> None:
        """Remove all tenants of a prefix and what the platform keeps of them; returns when their namespaces are gone."""
        names = [name for name in self.kubectl("get", "namespaces", "-o", "name").split() if name.startswith(f"namespace/tenant-{prefix}-")]
        for start in range(0, len(names), 200):
            self.kubectl("delete", *names[start : start + 200], "--wait=false")
        tenants_of = [name.removeprefix("namespace/tenant-") for name in names]
        for start in range(0, len(tenants_of), 100):
            # kubectl deletes what a selector finds one by one; the API server does it at once.
            selector = quote(f"{LABEL} in ({','.join(tenants_of[start : start + 100])})")
            for kind in ("api/v1/{}/secrets", "api/v1/{}/configmaps", "apis/coordination.k8s.io/v1/{}/leases"):
                self.kubectl("delete", "--raw", f"/{kind.format('namespaces/barberpro-system')}?labelSelector={selector}")
        deadline = time.monotonic() + 600
        while any(f"namespace/tenant-{prefix}-" in name for name in self.kubectl("get", "namespaces", "-o", "name").split()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the namespaces of {prefix} are not gone after 600 s; look at kubectl get namespaces")
            time.sleep(1)
