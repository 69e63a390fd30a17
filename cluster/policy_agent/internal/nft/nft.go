// Package nft hands rulesets to the kernel through the nft command, in the network namespace of the process.
package nft

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"

	"barberpro.platform/cluster/policy_agent/internal/ruleset"
)

// maxQuoted bounds how much of a refused script an error message repeats.
const maxQuoted = 600

// Table is one nftables table of family ip that nobody else writes.
type Table struct {
	Name string
	// Command runs nft; tests put a network namespace in front of it.
	Command []string
	applied *ruleset.Ruleset // what the kernel holds, nil when unknown
}

// Exists tells whether the table with its forward chain is in the kernel.
func (t *Table) Exists(ctx context.Context, chain string) bool {
	return t.run(ctx, "", "list", "chain", "ip", t.Name, chain) == nil
}

// Forget makes the next Apply replace the whole table.
func (t *Table) Forget() { t.applied = nil }

// Apply makes the kernel's table equal to a ruleset in one transaction: only the difference when the table's content is
// known, else (first time, after Forget, after a refused difference) everything. It tells what was done: "unchanged",
// "updated" or "replaced". The packets of other connections see either the old or the new table, never a part.
func (t *Table) Apply(ctx context.Context, wanted *ruleset.Ruleset) (string, error) {
	if t.applied != nil {
		script, changed := ruleset.Update(t.Name, t.applied, wanted)
		if !changed {
			return "unchanged", nil
		}
		if err := t.run(ctx, script, "-f", "-"); err == nil {
			t.applied = wanted
			return "updated", nil
		}
		t.applied = nil
	}
	if err := t.run(ctx, ruleset.Full(t.Name, wanted), "-f", "-"); err != nil {
		return "", fmt.Errorf("table ip %s was not replaced and keeps its former rules: %w", t.Name, err)
	}
	t.applied = wanted
	return "replaced", nil
}

func (t *Table) run(ctx context.Context, input string, arguments ...string) error {
	words := append(append([]string(nil), t.Command...), arguments...)
	command := exec.CommandContext(ctx, words[0], words[1:]...)
	command.Stdin = strings.NewReader(input)
	var output bytes.Buffer
	command.Stdout, command.Stderr = nil, &output
	if err := command.Run(); err != nil {
		message := strings.TrimSpace(output.String())
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, message[:min(len(message), maxQuoted)])
	}
	return nil
}
