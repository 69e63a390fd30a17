package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	corelisters "k8s.io/client-go/listers/core/v1"
	clienttesting "k8s.io/client-go/testing"

	"barberpro.platform/cluster/policy_agent/internal/nft"
)

// fakeNft stands in for nft: it keeps the scripts that it gets, and fails while a file `broken` exists.
const fakeNft = `
cd "$DIR"
if [ "$0" = list ]; then test -e table; exit; fi
test -e broken && { echo no such luck >&2; exit 1; }
cat > script.new; mv script.new "script.$(ls | wc -l)"; touch table
`

type rig struct {
	t     *testing.T
	dir   string
	agent *Agent
}

func newRig(t *testing.T, client *fake.Clientset) *rig {
	dir := t.TempDir()
	table := &nft.Table{Name: "t", Command: []string{"env", "DIR=" + dir, "sh", "-c", fakeNft}}
	a, err := New(client, netip.MustParsePrefix("10.244.0.0/16"), table, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, dir: dir, agent: a}
}

func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.agent.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
	})
}

func (r *rig) scripts() string {
	r.t.Helper()
	names, err := filepath.Glob(filepath.Join(r.dir, "script.*"))
	if err != nil {
		r.t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			r.t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

func (r *rig) eventually(what string, holds func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: never; the scripts are:\n%s", what, r.scripts())
		}
	}
}

func (r *rig) touch(name string) {
	if err := os.WriteFile(filepath.Join(r.dir, name), nil, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) health() (int, string) {
	answer := httptest.NewRecorder()
	r.agent.Health(answer, nil)
	return answer.Code, strings.TrimSpace(answer.Body.String())
}

func newPod(name, ip string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: "uid-x"}}
	pod.Status.PodIP, pod.Status.Phase = ip, corev1.PodRunning
	return pod
}

func TestWithoutAFormerTablePodsAreCutOffUntilAllIsKnown(t *testing.T) {
	client := fake.NewClientset(newPod("a", "10.244.0.7"))
	release := make(chan struct{})
	client.PrependReactor("list", "networkpolicies", func(clienttesting.Action) (bool, runtime.Object, error) {
		<-release
		return false, nil, nil
	})
	r := newRig(t, client)
	r.run()
	r.eventually("a table that knows no pod", func() bool { return strings.Contains(r.scripts(), "ip saddr 10.244.0.0/16 ip saddr != @pods") })
	time.Sleep(200 * time.Millisecond)
	if strings.Contains(r.scripts(), "10.244.0.7") {
		t.Fatal("a pod is let through before the policies are known")
	}
	if code, text := r.health(); code != http.StatusServiceUnavailable || text != "the cluster's state is not known yet" {
		t.Fatalf("health is %d %q", code, text)
	}
	close(release)
	r.eventually("the pod", func() bool { return strings.Contains(r.scripts(), "add element ip t pods { 10.244.0.7 }") })
	r.eventually("health", func() bool { code, _ := r.health(); return code == http.StatusOK })
}

func TestAFormerTableIsNotTouchedBeforeAllIsKnownAndThenReplaced(t *testing.T) {
	client := fake.NewClientset(newPod("a", "10.244.0.7"))
	release := make(chan struct{})
	client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		<-release
		return false, nil, nil
	})
	r := newRig(t, client)
	r.touch("table")
	r.run()
	time.Sleep(300 * time.Millisecond)
	if text := r.scripts(); text != "" {
		t.Fatalf("the former table was touched:\n%s", text)
	}
	close(release)
	r.eventually("a replacement", func() bool { return strings.Contains(r.scripts(), "delete table ip t") })
}

func TestChangesOfTheClusterReachTheTable(t *testing.T) {
	client := fake.NewClientset(newPod("a", "10.244.0.7"))
	r := newRig(t, client)
	r.run()
	r.eventually("the first table", func() bool { code, _ := r.health(); return code == http.StatusOK })
	np := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "deny", UID: "p", ResourceVersion: "1"}}
	if _, err := client.NetworkingV1().NetworkPolicies("shop").Create(context.Background(), np, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.eventually("the isolation", func() bool { return strings.Contains(r.scripts(), "add element ip t ingress-pods { 10.244.0.7 : goto") })
	unreadable := np.DeepCopy()
	unreadable.ResourceVersion = "2"
	unreadable.Spec.PodSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Nonsense"}}
	if _, err := client.NetworkingV1().NetworkPolicies("shop").Update(context.Background(), unreadable, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.eventually("the closed namespace", func() bool { return strings.Contains(r.scripts(), "add element ip t egress-pods { 10.244.0.7 : goto") })
}

func TestARefusedTransactionIsTriedAgain(t *testing.T) {
	client := fake.NewClientset()
	r := newRig(t, client)
	r.touch("table")
	r.touch("broken")
	r.run()
	r.eventually("the failure", func() bool { code, _ := r.health(); return code == http.StatusInternalServerError })
	if _, text := r.health(); !strings.Contains(text, "table ip t was not replaced and keeps its former rules") || !strings.Contains(text, "no such luck") {
		t.Fatalf("health says %q", text)
	}
	if err := os.Remove(filepath.Join(r.dir, "broken")); err != nil {
		t.Fatal(err)
	}
	r.eventually("health", func() bool { code, _ := r.health(); return code == http.StatusOK })
	answer := httptest.NewRecorder()
	r.agent.Metrics(answer, nil)
	for _, line := range []string{`result="failed"} `, `result="replaced"} 1`} {
		if !strings.Contains(answer.Body.String(), line) {
			t.Fatalf("metrics are:\n%s", answer.Body.String())
		}
	}
}

func TestAnAnnouncedAddressIsInForceWhenTheCallReturns(t *testing.T) {
	client := fake.NewClientset()
	r := newRig(t, client)
	r.run()
	r.eventually("the first table", func() bool { code, _ := r.health(); return code == http.StatusOK })
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	go func() { // the kubelet hears of a pod a moment before the agent does
		time.Sleep(100 * time.Millisecond)
		if _, err := client.CoreV1().Pods("shop").Create(ctx, newPod("a", ""), metav1.CreateOptions{}); err != nil {
			t.Error(err)
		}
	}()
	if err := r.agent.Announce(ctx, "shop", "a", "uid-x", netip.MustParseAddr("10.244.0.9")); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.scripts(), "add element ip t pods { 10.244.0.9 }") {
		t.Fatalf("the address is not in force:\n%s", r.scripts())
	}
	// The status shows it later; nothing changes then, and the announcement is forgotten.
	if _, err := client.CoreV1().Pods("shop").UpdateStatus(ctx, newPod("a", "10.244.0.9"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.eventually("the forgotten announcement", func() bool {
		r.agent.mu.Lock()
		defer r.agent.mu.Unlock()
		return len(r.agent.announced) == 0
	})
	if strings.Contains(r.scripts(), "delete element ip t pods { 10.244.0.9 }") {
		t.Fatal("the address was closed in between")
	}
}

func TestAPodThatNobodyKnowsIsRefused(t *testing.T) {
	r := newRig(t, fake.NewClientset(newPod("a", "")))
	r.run()
	r.eventually("the first table", func() bool { code, _ := r.health(); return code == http.StatusOK })
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	err := r.agent.Announce(ctx, "shop", "a", "another-uid", netip.MustParseAddr("10.244.0.9"))
	want := `pod shop/a with UID "another-uid" is not known to the API server: the rules of the pod are not in force yet`
	if err == nil || err.Error() != want || !errors.Is(err, ErrNotReady) {
		t.Fatal(fmt.Errorf("the answer is %w", err))
	}
}

// latePods is a list of pods that a pod and its announcement follow at once.
type latePods struct {
	corelisters.PodLister
	listed []*corev1.Pod
	then   func()
}

func (l latePods) List(labels.Selector) ([]*corev1.Pod, error) {
	defer l.then()
	return l.listed, nil
}

// An announcement that arrives while the caches are read is not lost because its pod is not in the list of pods yet.
func TestAnAnnouncementBetweenTwoReadsIsKept(t *testing.T) {
	r := newRig(t, fake.NewClientset())
	first, second := netip.MustParseAddr("10.244.0.9"), netip.MustParseAddr("10.244.0.10")
	read := func(listed []*corev1.Pod, then func()) netip.Addr {
		t.Helper()
		r.agent.pods = latePods{listed: listed, then: then}
		inputs, err := r.agent.inputs()
		if err != nil {
			t.Fatal(err)
		}
		return inputs.Announced["uid-x"]
	}
	nothing := func() {}
	read(nil, func() { r.agent.announced["uid-x"] = first })
	if found := read([]*corev1.Pod{newPod("late", "")}, nothing); found != first {
		t.Fatalf("with its pod %v is in force, not %v: the announcement was forgotten", found, first)
	}
	// One that was given another address since is not forgotten with the first.
	read(nil, func() { r.agent.announced["uid-x"] = second })
	if found := read([]*corev1.Pod{newPod("late", "")}, nothing); found != second {
		t.Fatalf("%v is in force, not %v", found, second)
	}
	if read(nil, nothing); len(r.agent.announced) != 0 {
		t.Fatalf("a pod that is gone is remembered: %v", r.agent.announced)
	}
}
