package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"sort"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"barberpro.platform/cluster/policy_agent/internal/ruleset"
)

// Names of what every ruleset has.
const (
	ForwardChain = "forward" // pod to pod, pod to outside, outside to pod
	InputChain   = "input"   // pod to the node itself
	ingressChain = "ingress"
	podsSet      = "pods"
	selfSet      = "self"
	egressMap    = "egress-pods"
	ingressMap   = "ingress-pods"
)

// maxComment is shorter than the kernel's limit of 128 bytes.
const maxComment = 120

// Translate returns the table for a state of the cluster. podCIDR is the range that all pod addresses come from: an address
// of it that no live pod is known to own is cut off in both directions, so that a new pod has no network before its rules
// are in force rather than a network without rules.
func Translate(podCIDR netip.Prefix, in Inputs) *ruleset.Ruleset {
	t := &translation{in: in, out: ruleset.New(), byNamespace: map[string][]endpoint{}, all: in.endpoints()}
	for _, e := range t.all {
		t.byNamespace[e.namespace] = append(t.byNamespace[e.namespace], e)
	}
	t.base(podCIDR)
	t.isolate(egressMap, "out", func(p Policy) *direction { return p.egress }, ruleset.Goto(ingressChain))
	t.isolate(ingressMap, "in", func(p Policy) *direction { return p.ingress }, ruleset.Accept)
	return t.out
}

type translation struct {
	in          Inputs
	out         *ruleset.Ruleset
	all         []endpoint
	byNamespace map[string][]endpoint
}

// base writes the chains that every packet meets. A connection is judged by its first packet, after address translation; it
// must pass the egress rules of its source and then the ingress rules of its destination. Packets from the node itself meet
// neither hook, which is what upstream asks for (probes, API server).
func (t *translation) base(podCIDR netip.Prefix) {
	pods := ruleset.NewSet(ruleset.Addresses)
	for _, e := range t.all {
		pods.Add(ruleset.Element{From: e.address})
	}
	t.out.Sets[podsSet] = pods
	t.out.Sets[selfSet] = ruleset.NewSet(ruleset.Pairs)
	t.out.Maps[egressMap] = map[netip.Addr]ruleset.Verdict{}
	t.out.Maps[ingressMap] = map[netip.Addr]ruleset.Verdict{}
	unknown := []ruleset.AddressMatch{{Prefix: podCIDR}, {Set: podsSet, Negate: true}}
	fromUnknown := ruleset.Rule{Source: unknown, Count: true, Verdict: ruleset.Drop}
	established := ruleset.Rule{Established: true, Verdict: ruleset.Accept}
	egress := ruleset.Rule{LookupField: "saddr", Lookup: egressMap}
	t.out.Chains[ForwardChain] = &ruleset.Chain{Hook: "forward", Rules: []ruleset.Rule{
		established,
		{Pair: selfSet, Verdict: ruleset.Accept}, // a pod always reaches itself, also through a Service
		fromUnknown,
		{Destination: unknown, Count: true, Verdict: ruleset.Drop},
		egress,
		{Verdict: ruleset.Goto(ingressChain)},
	}}
	t.out.Chains[InputChain] = &ruleset.Chain{Hook: "input", Rules: []ruleset.Rule{established, fromUnknown, egress}}
	t.out.Chains[ingressChain] = &ruleset.Chain{Rules: []ruleset.Rule{
		{LookupField: "daddr", Lookup: ingressMap},
		{Verdict: ruleset.Accept},
	}}
}

// isolate writes one direction. Pods that the same policies select share a chain; it visits the chain of each policy, whose
// rules leave with the verdict `pass`, and drops what none of them let through.
func (t *translation) isolate(mapName, prefix string, rules func(Policy) *direction, pass ruleset.Verdict) {
	selected := map[netip.Addr][]string{} // chains of the policies that select the pod
	for _, policy := range t.in.Policies {
		side := rules(policy)
		if side == nil {
			continue
		}
		chain := prefix + "-policy-" + hash(policy.Namespace, policy.Name)
		used := false
		for _, e := range t.byNamespace[policy.Namespace] {
			if policy.selector.Matches(e.labels) {
				selected[e.address] = append(selected[e.address], chain)
				used = true
			}
		}
		if used {
			comment := fmt.Sprintf("%s/%s", policy.Namespace, policy.Name)
			t.out.Chains[chain] = &ruleset.Chain{Comment: comment[:min(len(comment), maxComment)]}
			for _, rule := range side.rules {
				t.addRules(t.out.Chains[chain], rule, prefix == "in", pass)
			}
		}
	}
	for pod, chains := range selected {
		sort.Strings(chains)
		class := prefix + "-pods-" + hash(chains...)
		if t.out.Chains[class] == nil {
			t.out.Chains[class] = classChain(chains)
		}
		t.out.Maps[mapName][pod] = ruleset.Goto(class)
		t.out.Sets[selfSet].Add(ruleset.Element{From: pod, To: pod})
	}
}

func classChain(chains []string) *ruleset.Chain {
	c := &ruleset.Chain{}
	for _, chain := range chains {
		c.Rules = append(c.Rules, ruleset.Rule{Verdict: ruleset.Jump(chain)})
	}
	c.Rules = append(c.Rules, ruleset.Rule{Count: true, Verdict: ruleset.Drop})
	return c
}

// addRules writes the nft rules of one policy rule: each kind of peer with each group of ports.
func (t *translation) addRules(chain *ruleset.Chain, rule policyRule, ingress bool, pass ruleset.Verdict) {
	var peers [][]ruleset.AddressMatch
	if rule.anyPeer {
		peers = append(peers, nil)
	}
	if len(rule.peers) > 0 {
		peers = append(peers, []ruleset.AddressMatch{{Set: t.peerSet(rule.peers)}})
	}
	if len(rule.ranges) > 0 {
		peers = append(peers, []ruleset.AddressMatch{{Set: t.rangeSet(rule.ranges)}})
	}
	for _, peer := range peers {
		for _, port := range rule.ports {
			written := ruleset.Rule{Verdict: pass}
			if ingress {
				written.Source = peer
			} else {
				written.Destination = peer
			}
			if !port.any {
				written.Protocol, written.Ports = port.protocol, port.ranges
			}
			if port.name != "" {
				written.NamedPort = t.portSet(namedPort{port.protocol, port.name})
			}
			chain.Rules = append(chain.Rules, written)
		}
	}
}

// peerSet returns the set of all pods that one of the selectors selects. Rules with the same selectors share it.
func (t *translation) peerSet(peers []peerSelector) string {
	keys := make([]string, 0, len(peers))
	for _, p := range peers {
		keys = append(keys, p.key())
	}
	sort.Strings(keys)
	name := "peers-" + hash(keys...)
	if t.out.Sets[name] != nil {
		return name
	}
	set := ruleset.NewSet(ruleset.Addresses)
	for _, p := range peers {
		for _, namespace := range t.namespacesOf(p) {
			for _, e := range t.byNamespace[namespace] {
				if p.podSelector.Matches(e.labels) {
					set.Add(ruleset.Element{From: e.address})
				}
			}
		}
	}
	t.out.Sets[name] = set
	return name
}

func (t *translation) namespacesOf(p peerSelector) []string {
	if p.namespaceSelector == nil {
		return []string{p.namespace}
	}
	var names []string
	for name := range t.byNamespace {
		// A namespace whose object has not arrived yet has no labels: it matches only a selector of everything.
		if p.namespaceSelector.Matches(labels.Set(t.in.Namespaces[name])) {
			names = append(names, name)
		}
	}
	return names
}

// rangeSet returns a set whose name says its content: it never changes, which spares the updates of intervals.
func (t *translation) rangeSet(ranges []addressRange) string {
	parts := make([]string, 0, len(ranges))
	set := ruleset.NewSet(ruleset.Ranges)
	for _, r := range ranges {
		element := ruleset.Element{From: address(r.first), To: address(r.last)}
		set.Add(element)
		parts = append(parts, fmt.Sprint(element))
	}
	name := "blocks-" + hash(parts...)
	t.out.Sets[name] = set
	return name
}

// portSet returns the set of address and number of a named port of all pods: the name means what the destination calls so.
func (t *translation) portSet(port namedPort) string {
	name := "port-" + port.protocol + "-" + port.name
	if t.out.Sets[name] != nil {
		return name
	}
	set := ruleset.NewSet(ruleset.AddressPorts)
	for _, e := range t.all {
		for _, number := range e.ports[port] {
			set.Add(ruleset.Element{From: e.address, Port: number})
		}
	}
	t.out.Sets[name] = set
	return name
}

func hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}
