package nft

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Environment of this test program's second process: the file that its nft writes what it was given to.
const given = "BARBERPRO_TEST_GIVEN"

// A slow nft that says what it was given, and the script's size: far beyond what a pipe holds.
const (
	slow = `echo started > "$0.started"; sleep 1; cat > "$0.part"; mv "$0.part" "$0"`
	size = 1 << 20
)

// TestKilledAgent is the agent of the test below; alone it has nothing to do.
func TestKilledAgent(t *testing.T) {
	path := os.Getenv(given)
	if path == "" {
		return
	}
	table := &Table{Name: "table", Command: []string{"sh", "-c", slow, path}}
	if err := table.run(context.Background(), strings.Repeat("x", size)); err != nil {
		t.Fatal(err)
	}
}

func TestAnAgentThatIsKilledHasGivenNftAllOrNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "script")
	agent := exec.Command(os.Args[0], "-test.run=^TestKilledAgent$")
	agent.Env = append(os.Environ(), given+"="+path)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, path+".started")
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := agent.Wait(); err == nil {
		t.Fatal("the agent ended before it was killed")
	}
	waitFor(t, path)
	script, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(script) != size {
		t.Fatalf("nft was given %d bytes of %d: it would have committed a part of the rules", len(script), size)
	}
}

func waitFor(t *testing.T, path string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
	}
	t.Fatalf("%s was not written", path)
}
