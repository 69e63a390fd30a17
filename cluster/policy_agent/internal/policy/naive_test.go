package policy

// A second, deliberately simple reading of the NetworkPolicy API: it decides about one packet by looking at the objects, and
// shares no code with the translation.

import (
	"net"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"barberpro.platform/cluster/policy_agent/internal/ruleset"
)

type world struct {
	cidr       netip.Prefix
	namespaces map[string]labels.Set
	pods       []*corev1.Pod
	policies   []*networkingv1.NetworkPolicy
}

func (w world) inputs() (Inputs, error) {
	in := Inputs{Pods: w.pods, Namespaces: w.namespaces}
	for _, np := range w.policies {
		compiled, err := Compile(np)
		if err != nil {
			return in, err
		}
		in.Policies = append(in.Policies, compiled)
	}
	return in, nil
}

func (w world) podAt(address netip.Addr) *corev1.Pod {
	for _, pod := range w.pods {
		finished := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		if !finished && !pod.Spec.HostNetwork && pod.Status.PodIP == address.String() {
			return pod
		}
	}
	return nil
}

func (w world) verdict(p ruleset.Packet) ruleset.Verdict {
	source, destination := w.podAt(p.Source), w.podAt(p.Destination)
	if w.cidr.Contains(p.Source) && source == nil || w.cidr.Contains(p.Destination) && destination == nil {
		return ruleset.Drop
	}
	if p.Source == p.Destination {
		return ruleset.Accept
	}
	if source != nil && !w.egressAllowed(source, p) || destination != nil && !w.ingressAllowed(destination, p) {
		return ruleset.Drop
	}
	return ruleset.Accept
}

func selects(selector *metav1.LabelSelector, set map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(set))
}

func (w world) egressAllowed(pod *corev1.Pod, p ruleset.Packet) bool {
	isolated := false
	for _, np := range w.policies {
		egress := slices.Contains(np.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) ||
			len(np.Spec.PolicyTypes) == 0 && len(np.Spec.Egress) > 0
		if np.Namespace != pod.Namespace || !egress || !selects(&np.Spec.PodSelector, pod.Labels) {
			continue
		}
		isolated = true
		for _, rule := range np.Spec.Egress {
			if w.peerMatches(np.Namespace, rule.To, p.Destination) && w.portMatches(rule.Ports, p) {
				return true
			}
		}
	}
	return !isolated
}

func (w world) ingressAllowed(pod *corev1.Pod, p ruleset.Packet) bool {
	isolated := false
	for _, np := range w.policies {
		ingress := slices.Contains(np.Spec.PolicyTypes, networkingv1.PolicyTypeIngress) || len(np.Spec.PolicyTypes) == 0
		if np.Namespace != pod.Namespace || !ingress || !selects(&np.Spec.PodSelector, pod.Labels) {
			continue
		}
		isolated = true
		for _, rule := range np.Spec.Ingress {
			if w.peerMatches(np.Namespace, rule.From, p.Source) && w.portMatches(rule.Ports, p) {
				return true
			}
		}
	}
	return !isolated
}

func (w world) peerMatches(namespace string, peers []networkingv1.NetworkPolicyPeer, address netip.Addr) bool {
	if len(peers) == 0 {
		return true
	}
	for _, peer := range peers {
		if peer.IPBlock != nil {
			if blockContains(peer.IPBlock, address) {
				return true
			}
			continue
		}
		pod := w.podAt(address)
		if pod == nil {
			continue
		}
		if peer.NamespaceSelector == nil && pod.Namespace != namespace {
			continue
		}
		if peer.NamespaceSelector != nil && !selects(peer.NamespaceSelector, w.namespaces[pod.Namespace]) {
			continue
		}
		if peer.PodSelector == nil || selects(peer.PodSelector, pod.Labels) {
			return true
		}
	}
	return false
}

func blockContains(block *networkingv1.IPBlock, address netip.Addr) bool {
	contains := func(cidr string) bool {
		_, network, err := net.ParseCIDR(cidr)
		return err == nil && network.Contains(net.ParseIP(address.String()))
	}
	return contains(block.CIDR) && !slices.ContainsFunc(block.Except, contains)
}

func (w world) portMatches(ports []networkingv1.NetworkPolicyPort, p ruleset.Packet) bool {
	if len(ports) == 0 {
		return true
	}
	for _, port := range ports {
		protocol := corev1.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		if p.Protocol != map[corev1.Protocol]string{"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}[protocol] {
			continue
		}
		if port.Port == nil || w.numberMatches(port, protocol, p) {
			return true
		}
	}
	return false
}

func (w world) numberMatches(port networkingv1.NetworkPolicyPort, protocol corev1.Protocol, p ruleset.Packet) bool {
	if port.Port.Type == intstr.Int {
		last := port.Port.IntVal
		if port.EndPort != nil {
			last = *port.EndPort
		}
		return int32(p.Port) >= port.Port.IntVal && int32(p.Port) <= last
	}
	pod := w.podAt(p.Destination)
	if pod == nil {
		return false
	}
	for _, c := range pod.Spec.Containers {
		for _, declared := range c.Ports {
			declaredProtocol := declared.Protocol
			if declaredProtocol == "" {
				declaredProtocol = corev1.ProtocolTCP
			}
			if declared.Name == port.Port.StrVal && declaredProtocol == protocol && uint16(declared.ContainerPort) == p.Port {
				return true
			}
		}
	}
	return false
}
