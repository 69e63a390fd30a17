// Package nft hands rulesets to the kernel through the nft command, in the network namespace of the process.
package nft

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

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
	script, err := whole(input)
	if err != nil {
		return fmt.Errorf("%s: its script was not written: %w", strings.Join(words, " "), err)
	}
	defer script.Close()
	command.Stdin = script
	var output bytes.Buffer
	command.Stdout, command.Stderr = nil, &output
	if err := command.Run(); err != nil {
		message := strings.TrimSpace(output.String())
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, message[:min(len(message), maxQuoted)])
	}
	return nil
}

// whole returns a file in memory that holds all of a script. Were it streamed through a pipe, nft would take the end of an
// agent that is killed meanwhile for the script's end, and commit what it has: a table without its last rules is open.
func whole(script string) (*os.File, error) {
	descriptor, err := unix.MemfdCreate("nft-script", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(descriptor), "nft-script")
	if _, err := io.WriteString(file, script); err != nil {
		file.Close()
		return nil, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
