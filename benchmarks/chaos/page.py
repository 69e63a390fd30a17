"""The document of a chaos run, made from its result. Pure."""

from __future__ import annotations

from typing import Any

from benchmarks.chaos.plan import CUTS, FAULTS

HEAD = """\
# Deploys under faults

What became of {deploys} deploys while pods were killed, servers restarted and runners died. This page is written by the command below; all that it
counts, deploy by deploy, is in `benchmarks/results/chaos.json`.

```
{command}
```

| | |
|---|---|
| succeeded in the end | {succeeded} of {deploys} ({share:.1f} %; more than 95 % are asked for) |
| left a tenant half-done | {half_done} |
| bookings confirmed to customers, and lost | {confirmed}, {lost} |
| requests of customers that failed | {failed_requests} of {asked} |
| seed | {seed} |
| versions | {versions} |
| machine | {machine} |
| begun, took | {begun}, {minutes:.0f} minutes |

## By fault

| Fault | Deploys | At once | After another attempt | Failed | Half-done | Median s | Longest s | Failed requests |
|---|---|---|---|---|---|---|---|---|
"""

TAIL = """
*At once*: the first run went well (with a missing image: it was refused or rolled back as it must be, and the next run, without it, went well).
*After another attempt*: the run failed because of the fault, undid what it had done or left it to the next run, and one of three more attempts, with
the same command and nothing cleaned by hand, went well. *Median s* is of first runs, *Longest s* with all attempts and the looks at the tenant.
Failed requests are put down to a fault that was at work at that moment, first of all to one that takes away what serves ({cuts}).

## How it is done

Two small tenants are deployed in turn, side by side. Each deploy changes a setting and a quota, so that there is a new revision. Which fault a
deploy meets, and when it strikes, follows from the seed; the moment is a share of the time that an undisturbed deploy takes.

| Fault | How it is made |
|---|---|
{how}

After each deploy kubectl, SQL and a customer's request are asked: the journal is closed, the lease free, the record without a pending revision; there
are objects of exactly one revision, and just those of a tenant that was never disturbed (of all kinds that a namespace can hold); every pod is ready,
none is left over; customers are served by that revision with the settings of that deploy. A customer of each tenant books through the gateway
throughout, each time over a new connection, and does not try again; at the end every confirmed booking is looked for in the tables, and by its customer.

## What needed another attempt

{again}

## What this does not show

- One node, one gateway pod, one PostgreSQL, one replica of each workload: a killed pod that serves is an outage of seconds here, which two replicas
  would not be.
- Faults come one at a time for a tenant. The disk of the node, the loss of the node and corrupted data are not among them.
- Migrations are due in the first deploy of each tenant only; releases that fail behind a migration are tried in `tests/e2e/test_45_migrations.py`.
- A clock that is wrong by more than a certificate's age, or its remaining life, makes every certificate invalid: such a run ends before its first change.
"""


def document(result: dict[str, Any]) -> str:
    """Return the document."""
    bookings = result["bookings"]
    values = {
        **{key: result[key] for key in ("deploys", "succeeded", "half_done", "command", "seed", "begun")},
        **{key: bookings[key] for key in ("confirmed", "lost", "failed_requests", "asked")},
        "share": 100 * result["success_rate"],
        "minutes": result["seconds"] / 60,
        "versions": ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
        "machine": f"{result['machine']['cores']} cores, load average {result['machine']['load_average'][0]} when it began",
    }
    how = "\n".join(f"| {_words(fault)} | {text} |" for fault, text in FAULTS.items())
    tail = TAIL.format(cuts=", ".join(_words(fault) for fault in CUTS), how=how, again=_again(result["runs"]))
    return HEAD.format(**values) + "\n".join(_row(line) for line in result["by_fault"] if line["deploys"]) + "\n" + tail


def _words(fault: str) -> str:
    return fault.replace("_", " ")


def _row(line: dict[str, Any]) -> str:
    keys = ("deploys", "at_once", "after_another_attempt", "failed", "half_done", "median_seconds", "longest_seconds", "failed_requests")
    return f"| {_words(line['fault'])} | {' | '.join(str(line[key]) for key in keys)} |"


def _again(runs: list[dict[str, Any]]) -> str:
    """Return a table of the deploys that were not there at once, or that left something."""
    lines = []
    for run in runs:
        usual = 2 if run["fault"] == "image_missing" else 1
        if len(run["attempts"]) == usual and run["succeeded"] and not run["problems"]:
            continue
        first = run["attempts"][0]
        why = "; ".join(run["problems"]) or first["said"] or first["result"]
        fault = f"{_words(run['fault'])}{', ' + run['detail'] if run['detail'] else ''}"
        lines.append(f"| {run['number']} | {fault} | {first['stage']} | {first['result']} | {len(run['attempts'])} | {_cell(why)} |")
    head = "| Deploy | Fault | Stage | First run | Runs | What it said |\n|---|---|---|---|---|---|\n"
    return head + "\n".join(lines) if lines else "Nothing."


def _cell(text: str) -> str:
    """Return text that fits into a table's cell, without addresses and digests that are other ones on every machine."""
    flat = " ".join(text.replace("|", "/").split())
    return flat if len(flat) <= 220 else f"{flat[:217]}..."
