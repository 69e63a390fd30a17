package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"barberpro.platform/cluster/policy_agent/internal/ruleset"
)

const worlds = 1500

// The vocabularies are small, so that selectors, blocks and ports often meet.
var (
	podCIDR    = netip.MustParsePrefix("10.244.0.0/24")
	values     = []string{"a", "b", "c"}
	names      = []string{"http", "dns"}
	protocols  = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}
	numbers    = []int32{53, 80, 81, 90}
	blocks     = []string{"10.244.0.0/24", "10.244.0.0/29", "10.244.0.4/30", "10.244.0.3/32", "192.0.2.0/24", "0.0.0.0/0", "fd00::/8"}
	strangers  = []string{"10.244.0.200", "192.0.2.7", "192.0.2.200", "8.8.8.8"}
	exceptions = map[string][]string{
		"10.244.0.0/24": {"10.244.0.0/30", "10.244.0.4/32"}, "10.244.0.0/29": {"10.244.0.2/31"},
		"192.0.2.0/24": {"192.0.2.0/25"}, "0.0.0.0/0": {"10.244.0.0/24", "8.0.0.0/8"},
	}
)

type dice struct{ *rand.Rand }

func (d dice) chance(percent int) bool { return d.IntN(100) < percent }

func one[T any](d dice, list []T) T { return list[d.IntN(len(list))] }

func (d dice) labels() map[string]string {
	set := map[string]string{}
	for _, key := range []string{"app", "tier"} {
		if d.chance(70) {
			set[key] = one(d, values)
		}
	}
	return set
}

func (d dice) selector() *metav1.LabelSelector {
	s := &metav1.LabelSelector{}
	if d.chance(60) {
		s.MatchLabels = map[string]string{one(d, []string{"app", "tier"}): one(d, values)}
	}
	if d.chance(30) {
		operators := []metav1.LabelSelectorOperator{"In", "NotIn", "Exists", "DoesNotExist"}
		e := metav1.LabelSelectorRequirement{Key: one(d, []string{"app", "tier"}), Operator: one(d, operators)}
		if e.Operator == "In" || e.Operator == "NotIn" {
			e.Values = []string{one(d, values), one(d, values)}
		}
		s.MatchExpressions = append(s.MatchExpressions, e)
	}
	return s
}

func (d dice) peers() []networkingv1.NetworkPolicyPeer {
	var peers []networkingv1.NetworkPolicyPeer
	for range d.IntN(3) {
		var p networkingv1.NetworkPolicyPeer
		switch d.IntN(4) {
		case 0:
			p.PodSelector = d.selector()
		case 1:
			p.NamespaceSelector = d.selector()
		case 2:
			p.PodSelector, p.NamespaceSelector = d.selector(), d.selector()
		default:
			p.IPBlock = &networkingv1.IPBlock{CIDR: one(d, blocks)}
			for _, except := range exceptions[p.IPBlock.CIDR] {
				if d.chance(50) {
					p.IPBlock.Except = append(p.IPBlock.Except, except)
				}
			}
		}
		peers = append(peers, p)
	}
	return peers
}

func (d dice) ports() []networkingv1.NetworkPolicyPort {
	var ports []networkingv1.NetworkPolicyPort
	for range d.IntN(4) {
		var p networkingv1.NetworkPolicyPort
		if d.chance(80) {
			protocol := one(d, protocols)
			p.Protocol = &protocol
		}
		switch d.IntN(4) {
		case 0:
		case 1:
			named := intstr.FromString(one(d, names))
			p.Port = &named
		default:
			first := one(d, numbers)
			number := intstr.FromInt32(first)
			p.Port = &number
			if d.chance(40) {
				last := first + d.Int32N(40)
				p.EndPort = &last
			}
		}
		ports = append(ports, p)
	}
	return ports
}

func (d dice) policy(i int) *networkingv1.NetworkPolicy {
	np := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: one(d, values), Name: fmt.Sprint("policy-", i)}}
	np.Spec.PodSelector = *d.selector()
	for _, t := range []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress} {
		if d.chance(50) {
			np.Spec.PolicyTypes = append(np.Spec.PolicyTypes, t)
		}
	}
	for range d.IntN(3) {
		np.Spec.Ingress = append(np.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: d.peers(), Ports: d.ports()})
	}
	for range d.IntN(3) {
		np.Spec.Egress = append(np.Spec.Egress, networkingv1.NetworkPolicyEgressRule{To: d.peers(), Ports: d.ports()})
	}
	return np
}

func (d dice) pod(i int) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: one(d, values), Name: fmt.Sprint("pod-", i), Labels: d.labels()}}
	pod.Status.PodIP = fmt.Sprintf("10.244.0.%d", i)
	pod.Status.Phase = corev1.PodRunning
	if d.chance(10) {
		pod.Status.Phase = one(d, []corev1.PodPhase{corev1.PodSucceeded, corev1.PodFailed})
	}
	pod.Spec.HostNetwork = d.chance(5)
	for _, name := range names {
		if d.chance(60) {
			port := corev1.ContainerPort{Name: name, ContainerPort: one(d, numbers), Protocol: one(d, protocols)}
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Ports: []corev1.ContainerPort{port}})
		}
	}
	return pod
}

func (d dice) world() world {
	w := world{cidr: podCIDR, namespaces: map[string]labels.Set{}}
	for _, name := range values {
		w.namespaces[name] = d.labels()
	}
	for i := range 4 + d.IntN(5) {
		w.pods = append(w.pods, d.pod(i+1))
	}
	for i := range d.IntN(6) {
		w.policies = append(w.policies, d.policy(i))
	}
	return w
}

func packets() []ruleset.Packet {
	var addresses []netip.Addr
	for i := 1; i <= 9; i++ {
		addresses = append(addresses, netip.MustParseAddr(fmt.Sprintf("10.244.0.%d", i)))
	}
	for _, s := range strangers {
		addresses = append(addresses, netip.MustParseAddr(s))
	}
	var list []ruleset.Packet
	for _, source := range addresses {
		for _, destination := range addresses {
			list = append(list, ruleset.Packet{Source: source, Destination: destination, Protocol: "icmp"})
			for _, protocol := range []string{"tcp", "udp", "sctp"} {
				for _, port := range []uint16{53, 80, 81, 90, 100, 443} {
					list = append(list, ruleset.Packet{Source: source, Destination: destination, Protocol: protocol, Port: port})
				}
			}
		}
	}
	return list
}

// TestRulesetDecidesLikeTheObjects compares, for random clusters and every kind of packet, the table with a direct reading of
// the objects.
func TestRulesetDecidesLikeTheObjects(t *testing.T) {
	probes := packets()
	dropped, accepted := 0, 0
	for seed := range uint64(worlds) {
		d := dice{rand.New(rand.NewPCG(seed, 7))}
		w := d.world()
		in, err := w.inputs()
		if err != nil {
			t.Fatal(err)
		}
		table := Translate(w.cidr, in)
		for _, p := range probes {
			want := w.verdict(p)
			chains := []string{ForwardChain}
			if !w.cidr.Contains(p.Destination) {
				chains = append(chains, InputChain) // the destination could as well be an address of the node
			}
			for _, chain := range chains {
				if got := table.Evaluate(chain, p); got != want {
					t.Fatalf("seed %d: %s of %+v: table says %s, objects say %s\n%s", seed, chain, p, got, want, describe(w))
				}
			}
			if want == ruleset.Drop {
				dropped++
			} else {
				accepted++
			}
		}
	}
	t.Logf("%d accepted, %d dropped", accepted, dropped)
	if dropped == 0 || accepted == 0 {
		t.Fatal("the random clusters do not show both verdicts")
	}
}

func describe(w world) string {
	text, err := yaml.Marshal(map[string]any{"namespaces": w.namespaces, "pods": w.pods, "policies": w.policies})
	if err != nil {
		return err.Error()
	}
	return string(text)
}
