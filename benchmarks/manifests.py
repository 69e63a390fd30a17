"""What checkov, kube-score and kubernetes-validate say of a deploy's objects, of every tier in every market: `make judges`.

Every finding counts but those in tools/manifests/accepted.yml, each of which has its reason there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks import judges, renders

SOURCE = judges.TOOLS / "manifests"
VERSIONS = ("1.33", "1.34", "1.35")
Sets = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Finding:
    """One sentence of a judge: about which kind and object of which set, by which of its checks."""

    judge: str
    check: str
    kind: str
    name: str
    of_set: str
    said: str

    def __str__(self) -> str:
        """Return it as a line."""
        return f"{self.judge} {self.check}: {self.of_set}: {self.kind} {self.name}: {self.said}"


@dataclass
class Verdict:
    """What a judge said of all sets, and how much it looked at (checks or objects): nothing found by a judge that looked at nothing is no verdict."""

    examined: int
    findings: list[Finding]


def _output(command: list[str], allowed: tuple[int, ...], text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode not in allowed:
        raise RuntimeError(f"{Path(command[0]).name} ended with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def checkov(files: Mapping[str, Path]) -> Verdict:
    """Ask checkov, all its checks of Kubernetes."""
    folder = next(iter(files.values())).parent
    program = judges.environment("manifests") / "bin" / "checkov"
    options = ["--framework", "kubernetes", "--skip-download", "--compact", "--output", "json"]
    answer = json.loads(_output([str(program), "--directory", str(folder), *options], (0, 1)))
    if answer["summary"]["parsing_errors"]:
        raise RuntimeError(f"checkov cannot read {answer['results']['parsing_errors']}")
    findings = []
    for found in answer["results"]["failed_checks"]:
        kind, _, name = found["resource"].partition(".")
        findings.append(Finding("checkov", found["check_id"], kind, name, Path(found["file_path"]).stem, found["check_name"]))
    return Verdict(answer["summary"]["passed"] + len(findings), findings)


def kube_score(files: Mapping[str, Path]) -> Verdict:
    """Ask kube-score, all checks that it runs unasked."""
    examined, findings = 0, []
    program = judges.built("kube_score", "kube-score", "github.com/zegl/kube-score/cmd/kube-score")
    for of_set, path in files.items():
        options = ["--output-format", "json", "--kubernetes-version", f"v{VERSIONS[0]}"]
        for scored in json.loads(_output([str(program), "score", *options, str(path)], (0, 1))):
            kind, name = scored["type_meta"]["kind"], scored["object_meta"]["name"]
            for check in (check for check in scored["checks"] or [] if not check["skipped"]):
                examined += 1
                # Grades: 1 critical, 5 warning, 7 almost ok, 10 ok.
                if check["grade"] < 10:
                    said = "; ".join(comment["summary"] for comment in check["comments"] or []) or check["check"]["comment"]
                    findings.append(Finding("kube-score", check["check"]["id"], kind, name, of_set, said))
    return Verdict(examined, findings)


def kubernetes_validate(sets: Sets) -> Verdict:
    """Ask kubernetes-validate: the schemas of every supported version, unknown fields refused. CRDs' kinds are left to the API server."""
    program = judges.environment("manifests") / "bin" / "python"
    asked = json.dumps({"versions": VERSIONS, "sets": sets})
    answer = json.loads(_output([str(program), str(SOURCE / "validate.py")], (0,), asked))
    findings = []
    for of_set, version, obj, said in answer["findings"]:
        kind, _, name = obj.partition(" ")
        findings.append(Finding("kubernetes-validate", version, kind, name, of_set, said))
    return Verdict(answer["examined"], findings)


def examine(sets: Sets) -> dict[str, Verdict]:
    """Return the verdict of each judge on the sets of objects."""
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, f"{name}.yaml") for name in sets}
        for name, path in files.items():
            path.write_text(yaml.safe_dump_all(list(sets[name])))
        return {"checkov": checkov(files), "kube-score": kube_score(files), "kubernetes-validate": kubernetes_validate(sets)}


def accepted() -> list[dict[str, Any]]:
    """Return the list of what is left as it is."""
    found: list[dict[str, Any]] = yaml.safe_load((SOURCE / "accepted.yml").read_text())
    return found


def problems(findings: Sequence[Finding], known: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is wrong: findings that are not accepted, and accepted ones that nobody finds."""

    def covers(entry: Mapping[str, Any], finding: Finding) -> bool:
        return (entry["judge"], entry["check"]) == (finding.judge, finding.check) and finding.kind in entry["kinds"]

    new = [str(finding) for finding in findings if not any(covers(entry, finding) for entry in known)]
    idle = [
        f"{entry['judge']} {entry['check']}: accepted for {kind} and not found: remove it from accepted.yml"
        for entry in known
        for kind in entry["kinds"]
        if not any(covers(entry, finding) and finding.kind == kind for finding in findings)
    ]
    return new + idle


def all_renders() -> dict[str, list[dict[str, Any]]]:
    """Return the objects of every tier in every market."""
    return {f"{tier}-{market}": renders.barbershop(tier, market) for tier in renders.tiers() for market in renders.markets()}


def main() -> int:
    """Say what the judges found; the exit status."""
    verdicts = examine(all_renders())
    for name, verdict in verdicts.items():
        print(f"{name}: {verdict.examined} examined, {len(verdict.findings)} findings")
    wrong = problems([finding for verdict in verdicts.values() for finding in verdict.findings], accepted())
    print("\n".join(wrong) or f"No finding but the {len(accepted())} accepted ones of {SOURCE / 'accepted.yml'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
