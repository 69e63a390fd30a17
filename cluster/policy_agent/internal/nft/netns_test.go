//go:build netns

// Tests with the real nft and real sockets in throw-away network namespaces: `go test -tags netns ./internal/nft` as root.
package nft

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"barberpro.platform/cluster/policy_agent/internal/policy"
	"barberpro.platform/cluster/policy_agent/internal/ruleset"
)

const (
	nodeIP  = "172.31.255.1"
	outside = "192.0.2.7"
)

var podCIDR = netip.MustParsePrefix("10.244.0.0/24")

// lab is a node in a network namespace of its own with pods around it, wired as the ptp plugin does.
type lab struct {
	t      *testing.T
	prefix string
	node   string
	table  *Table
}

func newLab(t *testing.T) *lab {
	l := &lab{t: t, prefix: fmt.Sprintf("pa%d", os.Getpid()%100000)}
	l.node = l.prefix + "-node"
	l.namespace("node")
	l.table = &Table{Name: "barberpro-policy", Command: l.in("node", "nft")}
	l.must(l.in("node", "sysctl", "-qw", "net.ipv4.ip_forward=1")...)
	l.must(l.in("node", "ip", "address", "add", nodeIP+"/32", "dev", "lo")...)
	return l
}

func (l *lab) in(name string, words ...string) []string {
	return append([]string{"ip", "netns", "exec", l.prefix + "-" + name}, words...)
}

func (l *lab) must(words ...string) {
	l.t.Helper()
	if output, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		l.t.Fatalf("%s: %v: %s", strings.Join(words, " "), err, output)
	}
}

func (l *lab) namespace(name string) {
	full := l.prefix + "-" + name
	l.must("ip", "netns", "add", full)
	l.t.Cleanup(func() { l.must("ip", "netns", "delete", full) })
	l.must(l.in(name, "ip", "link", "set", "lo", "up")...)
}

// attach makes a namespace with one address, routed through the node.
func (l *lab) attach(name, address string) {
	l.namespace(name)
	l.must("ip", "link", "add", "v"+name, "netns", l.node, "type", "veth", "peer", "name", "eth0", "netns", l.prefix+"-"+name)
	l.must(l.in("node", "ip", "link", "set", "v"+name, "up")...)
	l.must(l.in("node", "ip", "address", "add", "169.254.1.1/32", "dev", "v"+name)...)
	l.must(l.in("node", "ip", "route", "add", address+"/32", "dev", "v"+name)...)
	l.must(l.in(name, "ip", "link", "set", "eth0", "up")...)
	l.must(l.in(name, "ip", "address", "add", address+"/32", "dev", "eth0")...)
	l.must(l.in(name, "ip", "route", "add", "169.254.1.1/32", "dev", "eth0")...)
	l.must(l.in(name, "ip", "route", "add", "default", "via", "169.254.1.1")...)
}

const listener = `
import socket, sys, threading
def serve(c):
    c.sendall(b"ok"); c.recv(1); c.close()
def tcp(port):
    s = socket.create_server(("0.0.0.0", port))
    while True:
        threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
def udp(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", port))
    while True:
        _, who = s.recvfrom(100)
        s.sendto(b"ok", who)
for word in sys.argv[1:]:
    kind, port = word.split(":")
    threading.Thread(target={"tcp": tcp, "udp": udp}[kind], args=(int(port),), daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
`

const prober = `
import socket, sys
kind, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
if kind == "tcp":
    s = socket.create_connection((host, port), timeout=0.7)
else:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.7); s.sendto(b"x", (host, port))
sys.exit(0 if s.recv(2) == b"ok" else 1)
`

func (l *lab) listen(name string, ports ...string) {
	words := l.in(name, append([]string{"python3", "-c", listener}, ports...)...)
	command := exec.Command(words[0], words[1:]...)
	output, err := command.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	if _, err := output.Read(make([]byte, 5)); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) reaches(from, kind, host string, port int) bool {
	words := l.in(from, "python3", "-c", prober, kind, host, fmt.Sprint(port))
	return exec.Command(words[0], words[1:]...).Run() == nil
}

func pod(namespace, name, ip string, set map[string]string, ports ...corev1.ContainerPort) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: set, UID: types.UID(name)}}
	p.Status.PodIP, p.Status.Phase = ip, corev1.PodRunning
	p.Spec.Containers = []corev1.Container{{Ports: ports}}
	return p
}

func read(t *testing.T, documents ...string) []policy.Policy {
	var list []policy.Policy
	for _, document := range documents {
		var np networkingv1.NetworkPolicy
		if err := yaml.UnmarshalStrict([]byte(document), &np); err != nil {
			t.Fatal(err)
		}
		compiled, err := policy.Compile(&np)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, compiled)
	}
	return list
}

func (l *lab) apply(in policy.Inputs) string {
	l.t.Helper()
	action, err := l.table.Apply(context.Background(), policy.Translate(podCIDR, in))
	if err != nil {
		l.t.Fatal(err)
	}
	return action
}

const denyAll = `{metadata: {name: deny, namespace: shop}, spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}`
const allowWeb = `
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
    - {from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: http}, {port: 5353, protocol: UDP}]}
    - {from: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}}], ports: [{port: 8000, endPort: 8080}]}`
const allowClient = `
metadata: {name: client, namespace: shop}
spec:
  podSelector: {matchLabels: {app: client}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {matchLabels: {app: web}}}]}]`

func TestPoliciesWithRealSockets(t *testing.T) {
	l := newLab(t)
	l.attach("web", "10.244.0.2")
	l.attach("cli", "10.244.0.3")
	l.attach("oth", "10.244.0.4")
	l.attach("out", outside)
	l.listen("web", "tcp:8080", "tcp:8081", "udp:5353")
	l.listen("node", "tcp:6443")
	l.listen("out", "tcp:443")
	web := pod("shop", "web", "10.244.0.2", map[string]string{"app": "web"}, corev1.ContainerPort{Name: "http", ContainerPort: 8080})
	client := pod("shop", "cli", "10.244.0.3", map[string]string{"app": "client"})
	other := pod("else", "oth", "10.244.0.4", map[string]string{"app": "client"})
	pods := []*corev1.Pod{web, client, other}
	namespaces := map[string]labels.Set{"shop": {"team": "shop"}, "else": {}}
	expect := func(step string, want map[string]bool) {
		t.Helper()
		var probes sync.WaitGroup
		for probe, open := range want {
			probes.Go(func() {
				word := strings.Fields(probe)
				port := 0
				if _, err := fmt.Sscan(word[3], &port); err != nil {
					t.Error(err)
				}
				if got := l.reaches(word[0], word[1], word[2], port); got != open {
					t.Errorf("%s: %s: open is %v, not %v", step, probe, got, open)
				}
			})
		}
		probes.Wait()
	}
	all := func(open bool) map[string]bool {
		return map[string]bool{
			"cli tcp 10.244.0.2 8080": open, "cli udp 10.244.0.2 5353": open, "oth tcp 10.244.0.2 8080": open,
			"out tcp 10.244.0.2 8080": open, "cli tcp " + outside + " 443": open, "cli tcp " + nodeIP + " 6443": open,
			"node tcp 10.244.0.2 8081": true,
		}
	}
	expect("no table", all(true))
	l.apply(policy.Inputs{})
	expect("no pod is known yet", all(false))
	if action := l.apply(policy.Inputs{Pods: pods, Namespaces: namespaces}); action != "updated" {
		t.Errorf("the table was %s", action)
	}
	expect("no policy", all(true))
	l.apply(policy.Inputs{Pods: pods, Namespaces: namespaces, Policies: read(t, denyAll)})
	expect("default deny", all(false))
	in := policy.Inputs{Pods: pods, Namespaces: namespaces, Policies: read(t, denyAll, allowWeb, allowClient)}
	l.apply(in)
	declared := map[string]bool{
		"cli tcp 10.244.0.2 8080": true, "cli tcp 10.244.0.2 8081": false, "cli udp 10.244.0.2 5353": true,
		"oth tcp 10.244.0.2 8080": false, "out tcp 10.244.0.2 8080": true, "out tcp 10.244.0.2 8081": false,
		"cli tcp " + outside + " 443": false, "cli tcp " + nodeIP + " 6443": false, "node tcp 10.244.0.2 8081": true,
		"web tcp 10.244.0.3 8080": false,
	}
	expect("declared edges", declared)
	l.table.Forget() // as after a restart of the agent
	if action := l.apply(in); action != "replaced" {
		t.Errorf("the table was %s", action)
	}
	expect("replaced", declared)
	if action := l.apply(in); action != "unchanged" {
		t.Errorf("the table was %s", action)
	}
	client.Labels = map[string]string{}
	l.apply(in)
	expect("a label that changed", map[string]bool{"cli tcp 10.244.0.2 8080": false})
}

// TestServicesAreJudgedAfterTranslation sends a connection through a destination translation in front of the forward hook, as
// kube-proxy does, also from a pod to itself.
func TestServicesAreJudgedAfterTranslation(t *testing.T) {
	l := newLab(t)
	l.attach("web", "10.244.0.2")
	l.attach("cli", "10.244.0.3")
	l.listen("web", "tcp:8080")
	nat := l.in("node", "nft", "add table ip nat; add chain ip nat pre { type nat hook prerouting priority dstnat; };"+
		"add chain ip nat post { type nat hook postrouting priority srcnat; };"+
		"add rule ip nat pre ip daddr 10.96.0.9 tcp dport 80 dnat to 10.244.0.2:8080;"+
		"add rule ip nat post ip saddr 10.244.0.2 ip daddr 10.244.0.2 masquerade")
	l.must(nat...)
	web := pod("shop", "web", "10.244.0.2", map[string]string{"app": "web"}, corev1.ContainerPort{Name: "http", ContainerPort: 8080})
	client := pod("shop", "cli", "10.244.0.3", map[string]string{"app": "client"})
	in := policy.Inputs{Pods: []*corev1.Pod{web, client}, Policies: read(t, denyAll)}
	l.apply(in)
	if l.reaches("cli", "tcp", "10.96.0.9", 80) {
		t.Error("a Service leads around the policies")
	}
	if !l.reaches("web", "tcp", "10.96.0.9", 80) {
		t.Error("a pod does not reach itself through its Service")
	}
	in.Policies = read(t, denyAll, allowWeb, allowClient)
	l.apply(in)
	if !l.reaches("cli", "tcp", "10.96.0.9", 80) {
		t.Error("a declared edge is closed through the Service")
	}
}

// TestAnAllowedPathIsNeverClosedByUpdates opens connections all the time while the table changes between two that both allow
// them, by updates and by replacements.
func TestAnAllowedPathIsNeverClosedByUpdates(t *testing.T) {
	l := newLab(t)
	l.attach("web", "10.244.0.2")
	l.attach("cli", "10.244.0.3")
	l.listen("web", "tcp:8080")
	web := pod("shop", "web", "10.244.0.2", map[string]string{"app": "web"}, corev1.ContainerPort{Name: "http", ContainerPort: 8080})
	client := pod("shop", "cli", "10.244.0.3", map[string]string{"app": "client"})
	open := policy.Inputs{Pods: []*corev1.Pod{web, client}}
	declared := policy.Inputs{Pods: open.Pods, Policies: read(t, denyAll, allowWeb, allowClient)}
	l.apply(open)
	const loop = `
import socket, sys, time
end, n = time.monotonic() + 4, 0
while time.monotonic() < end:
    s = socket.create_connection(("10.244.0.2", 8080), timeout=0.5); assert s.recv(2) == b"ok"; s.close(); n += 1
print(n)`
	words := l.in("cli", "python3", "-c", loop)
	command := exec.Command(words[0], words[1:]...)
	var output strings.Builder
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	changes := 0
	for started := time.Now(); time.Since(started) < 4*time.Second; changes++ {
		l.apply([]policy.Inputs{open, declared}[changes%2])
		if changes%3 == 0 {
			l.table.Forget()
		}
	}
	if err := command.Wait(); err != nil {
		t.Fatalf("after %d changes: %v: %s", changes, err, output.String())
	}
	t.Logf("%d changes of the table, connections: %s", changes, output.String())
}

// TestUpdatesGiveTheSameTableAsAReplacement compares what the kernel lists.
func TestUpdatesGiveTheSameTableAsAReplacement(t *testing.T) {
	l := newLab(t)
	web := pod("shop", "web", "10.244.0.2", map[string]string{"app": "web"}, corev1.ContainerPort{Name: "http", ContainerPort: 8080})
	client := pod("shop", "cli", "10.244.0.3", map[string]string{"app": "client"})
	steps := []policy.Inputs{
		{},
		{Pods: []*corev1.Pod{web}, Policies: read(t, denyAll)},
		{Pods: []*corev1.Pod{web, client}, Policies: read(t, denyAll, allowWeb, allowClient)},
		{Pods: []*corev1.Pod{client}, Policies: read(t, allowWeb, allowClient)},
		{Pods: []*corev1.Pod{web, client}},
		{Pods: []*corev1.Pod{web, client}, Policies: read(t, allowWeb)},
		{},
	}
	for i, in := range steps {
		l.apply(in)
		updated := l.list()
		l.table.Forget()
		l.apply(in)
		if replaced := l.list(); !slices.Equal(updated, replaced) {
			t.Errorf("step %d: updated:\n%s\nreplaced:\n%s", i, strings.Join(updated, "\n"), strings.Join(replaced, "\n"))
		}
	}
	ctx := context.Background()
	if _, err := l.table.Apply(ctx, broken()); err == nil || !strings.Contains(err.Error(), "keeps its former rules") {
		t.Errorf("a table that the kernel refuses gives: %v", err)
	}
	if !l.table.Exists(ctx, policy.ForwardChain) {
		t.Error("the former table is gone after a refused one")
	}
}

func broken() *ruleset.Ruleset {
	r := ruleset.New()
	r.Chains["forward"] = &ruleset.Chain{Hook: "forward", Rules: []ruleset.Rule{{Verdict: ruleset.Goto("nowhere")}}}
	return r
}

// list returns the lines of the table, sorted: the kernel keeps no order of sets and chains.
func (l *lab) list() []string {
	words := l.in("node", "nft", "--stateless", "list", "table", "ip", l.table.Name)
	output, err := exec.Command(words[0], words[1:]...).Output()
	if err != nil {
		l.t.Fatal(err)
	}
	lines := strings.Split(string(output), "\n")
	slices.Sort(lines)
	return lines
}
