// Package policy translates NetworkPolicies, Pods and Namespaces into a ruleset. It does no I/O.
package policy

import (
	"net/netip"
	"sort"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// namedPort identifies a container port by what a policy may name.
type namedPort struct {
	protocol string
	name     string
}

// endpoint is a live pod with an IPv4 address of its own.
type endpoint struct {
	namespace string
	name      string
	labels    labels.Set
	address   netip.Addr
	ports     map[namedPort][]uint16
}

// Inputs is the state of the cluster that the rules depend on.
type Inputs struct {
	Pods       []*corev1.Pod
	Namespaces map[string]labels.Set // labels of each namespace
	Policies   []Policy
	// Announced holds addresses that the CNI plugin reported and the pod's status does not show yet.
	Announced map[types.UID]netip.Addr
}

// Live tells whether a pod can own an address of the pod network: it is neither finished nor on the host's network.
func Live(pod *corev1.Pod) bool {
	return !pod.Spec.HostNetwork && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

// StatusAddress returns the pod's IPv4 address as its status shows it.
func StatusAddress(pod *corev1.Pod) (netip.Addr, bool) {
	for _, ip := range pod.Status.PodIPs {
		if address, err := netip.ParseAddr(ip.IP); err == nil && address.Is4() {
			return address, true
		}
	}
	address, err := netip.ParseAddr(pod.Status.PodIP)
	return address, err == nil && address.Is4()
}

// claim is one pod's claim to an address.
type claim struct {
	pod       *corev1.Pod
	announced bool
}

// beats decides which of two pods owns an address that both show: an address is given to a new pod as soon as the old one's
// sandbox is gone, while the old pod's object may stay for a while. The newest knowledge wins.
func (c claim) beats(other claim) bool {
	if c.announced != other.announced {
		return c.announced
	}
	if leaving, otherLeaving := c.pod.DeletionTimestamp != nil, other.pod.DeletionTimestamp != nil; leaving != otherLeaving {
		return otherLeaving
	}
	mine, theirs := started(c.pod), started(other.pod)
	if mine != theirs {
		return mine > theirs
	}
	return c.pod.UID > other.pod.UID
}

func started(pod *corev1.Pod) int64 {
	if pod.Status.StartTime != nil {
		return pod.Status.StartTime.UnixNano()
	}
	return pod.CreationTimestamp.UnixNano()
}

// endpoints resolves who owns which address, in the order of the addresses.
func (in Inputs) endpoints() []endpoint {
	owners := map[netip.Addr]claim{}
	for _, pod := range in.Pods {
		if !Live(pod) {
			continue
		}
		address, known := StatusAddress(pod)
		announced, early := in.Announced[pod.UID]
		if early {
			address, known = announced, true
		}
		if !known {
			continue
		}
		mine := claim{pod: pod, announced: early}
		if owner, taken := owners[address]; !taken || mine.beats(owner) {
			owners[address] = mine
		}
	}
	list := make([]endpoint, 0, len(owners))
	for address, owner := range owners {
		list = append(list, endpoint{
			namespace: owner.pod.Namespace,
			name:      owner.pod.Name,
			labels:    owner.pod.Labels,
			address:   address,
			ports:     namedPorts(owner.pod),
		})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].address.Less(list[j].address) })
	return list
}

// namedPorts lists the named ports of containers that run along with the pod (side-cars are init containers that stay).
func namedPorts(pod *corev1.Pod) map[namedPort][]uint16 {
	ports := map[namedPort][]uint16{}
	add := func(container corev1.Container) {
		for _, p := range container.Ports {
			if p.Name == "" {
				continue
			}
			key := namedPort{protocol: protocolName(&p.Protocol), name: p.Name}
			ports[key] = append(ports[key], uint16(p.ContainerPort))
		}
	}
	for _, container := range pod.Spec.Containers {
		add(container)
	}
	for _, container := range pod.Spec.InitContainers {
		if container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			add(container)
		}
	}
	return ports
}
