package policy

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"barberpro.platform/cluster/policy_agent/internal/ruleset"
)

// Policy is a NetworkPolicy in a form that is quick to evaluate. It depends on nothing but the object itself.
type Policy struct {
	Namespace string
	Name      string
	selector  labels.Selector
	ingress   *direction // nil: the policy says nothing about ingress
	egress    *direction
}

// direction holds the rules of one direction; without rules everything is denied.
type direction struct{ rules []policyRule }

type policyRule struct {
	anyPeer bool
	peers   []peerSelector
	ranges  []addressRange // union of the rule's ipBlocks without their exceptions
	ports   []portMatch
}

// peerSelector selects pods; namespace is the policy's own one where no namespaceSelector is given.
type peerSelector struct {
	namespace         string
	namespaceSelector labels.Selector
	podSelector       labels.Selector
}

// key is equal for selectors that select the same pods.
func (p peerSelector) key() string {
	if p.namespaceSelector == nil {
		return fmt.Sprintf("namespace %s pods %s", p.namespace, p.podSelector)
	}
	return fmt.Sprintf("namespaces %s pods %s", p.namespaceSelector, p.podSelector)
}

// portMatch is either a protocol as a whole (no ranges, no name), some of its ports, or a named port.
type portMatch struct {
	any      bool // every protocol
	protocol string
	ranges   []ruleset.PortRange
	name     string
}

// Compile reads a NetworkPolicy. It reports what the API server's validation would have refused.
func Compile(np *networkingv1.NetworkPolicy) (Policy, error) {
	p := Policy{Namespace: np.Namespace, Name: np.Name}
	fail := func(field string, err error) (Policy, error) {
		return Policy{}, fmt.Errorf("NetworkPolicy %s/%s: %s: %w", np.Namespace, np.Name, field, err)
	}
	selector, err := metav1.LabelSelectorAsSelector(&np.Spec.PodSelector)
	if err != nil {
		return fail("spec.podSelector", err)
	}
	p.selector = selector
	ingress, egress := directions(np.Spec)
	if ingress {
		p.ingress = &direction{}
		for i, rule := range np.Spec.Ingress {
			compiled, err := compileRule(np.Namespace, rule.From, rule.Ports)
			if err != nil {
				return fail(fmt.Sprintf("spec.ingress[%d]", i), err)
			}
			p.ingress.rules = append(p.ingress.rules, compiled)
		}
	}
	if egress {
		p.egress = &direction{}
		for i, rule := range np.Spec.Egress {
			compiled, err := compileRule(np.Namespace, rule.To, rule.Ports)
			if err != nil {
				return fail(fmt.Sprintf("spec.egress[%d]", i), err)
			}
			p.egress.rules = append(p.egress.rules, compiled)
		}
	}
	return p, nil
}

// DenyAll stands in for a policy that cannot be read: it selects every pod of the namespace and allows nothing, because
// guessing what was meant could open what was to be closed.
func DenyAll(np *networkingv1.NetworkPolicy) Policy {
	return Policy{Namespace: np.Namespace, Name: np.Name, selector: labels.Everything(),
		ingress: &direction{}, egress: &direction{}}
}

// directions applies the default of policyTypes: ingress always, egress where there are egress rules.
func directions(spec networkingv1.NetworkPolicySpec) (ingress, egress bool) {
	if len(spec.PolicyTypes) == 0 {
		return true, len(spec.Egress) > 0
	}
	for _, t := range spec.PolicyTypes {
		ingress = ingress || t == networkingv1.PolicyTypeIngress
		egress = egress || t == networkingv1.PolicyTypeEgress
	}
	return ingress, egress
}

func compileRule(namespace string, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) (policyRule, error) {
	rule := policyRule{anyPeer: len(peers) == 0, ports: compilePorts(ports)}
	for i, peer := range peers {
		if peer.IPBlock != nil {
			ranges, err := blockRanges(peer.IPBlock)
			if err != nil {
				return rule, fmt.Errorf("peer %d: ipBlock: %w", i, err)
			}
			rule.ranges = append(rule.ranges, ranges...)
			continue
		}
		selector, err := compilePeer(namespace, peer)
		if err != nil {
			return rule, fmt.Errorf("peer %d: %w", i, err)
		}
		rule.peers = append(rule.peers, selector)
	}
	rule.ranges = mergeRanges(rule.ranges)
	return rule, nil
}

func compilePeer(namespace string, peer networkingv1.NetworkPolicyPeer) (peerSelector, error) {
	selector := peerSelector{namespace: namespace, podSelector: labels.Everything()}
	var err error
	if peer.NamespaceSelector != nil {
		if selector.namespaceSelector, err = metav1.LabelSelectorAsSelector(peer.NamespaceSelector); err != nil {
			return selector, fmt.Errorf("namespaceSelector: %w", err)
		}
	}
	if peer.PodSelector != nil {
		if selector.podSelector, err = metav1.LabelSelectorAsSelector(peer.PodSelector); err != nil {
			return selector, fmt.Errorf("podSelector: %w", err)
		}
	}
	return selector, nil
}

func protocolName(p *corev1.Protocol) string {
	if p == nil || *p == "" {
		return "tcp"
	}
	return strings.ToLower(string(*p))
}

// compilePorts groups the ports by protocol; an empty list means every protocol and port.
func compilePorts(ports []networkingv1.NetworkPolicyPort) []portMatch {
	if len(ports) == 0 {
		return []portMatch{{any: true}}
	}
	whole := map[string]bool{}
	numbers := map[string][]ruleset.PortRange{}
	var matches []portMatch
	named := map[namedPort]bool{}
	for _, port := range ports {
		protocol := protocolName(port.Protocol)
		switch {
		case port.Port == nil:
			whole[protocol] = true
		case port.Port.Type == intstr.String:
			key := namedPort{protocol, port.Port.StrVal}
			if !named[key] {
				named[key] = true
				matches = append(matches, portMatch{protocol: protocol, name: port.Port.StrVal})
			}
		default:
			first := uint16(port.Port.IntVal)
			last := first
			if port.EndPort != nil {
				last = uint16(*port.EndPort)
			}
			numbers[protocol] = append(numbers[protocol], ruleset.PortRange{First: first, Last: last})
		}
	}
	for _, protocol := range []string{"tcp", "udp", "sctp"} {
		if whole[protocol] {
			matches = append(matches, portMatch{protocol: protocol})
		} else if len(numbers[protocol]) > 0 {
			matches = append(matches, portMatch{protocol: protocol, ranges: mergePorts(numbers[protocol])})
		}
	}
	return matches
}

// blockRanges returns the addresses of an ipBlock; an IPv6 block has none in an IPv4 table.
func blockRanges(block *networkingv1.IPBlock) ([]addressRange, error) {
	prefix, err := netip.ParsePrefix(block.CIDR)
	if err != nil {
		return nil, err
	}
	if !prefix.Addr().Is4() {
		return nil, nil
	}
	var exceptions []addressRange
	for _, text := range block.Except {
		except, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		if except.Addr().Is4() {
			exceptions = append(exceptions, rangeOf(except))
		}
	}
	return subtractRanges(rangeOf(prefix), exceptions), nil
}
