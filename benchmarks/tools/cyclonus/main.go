// Asks cyclonus' simulated model about worlds: one JSON object a line in, one answer a line out.
//
// An answer is a text of 0 and 1: for each source pod, each target pod and each point, in the order given, whether the traffic is allowed.
// It is the call that `cyclonus analyze --mode probe` makes for each cell of its tables, without a process and a table for each world.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/mattfenwick/cyclonus/pkg/matcher"
	v1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

type point struct {
	Port     int         `json:"port"`
	Protocol v1.Protocol `json:"protocol"`
}

type namedPort struct {
	point
	Name string `json:"name"`
}

type pod struct {
	Namespace string            `json:"namespace"`
	Labels    map[string]string `json:"labels"`
	Address   string            `json:"address"`
	Ports     []namedPort       `json:"ports"`
}

type world struct {
	Namespaces map[string]map[string]string  `json:"namespaces"`
	Pods       []pod                         `json:"pods"`
	Policies   []*networkingv1.NetworkPolicy `json:"policies"`
	Points     []point                       `json:"points"`
}

func (w *world) peer(p *pod) *matcher.TrafficPeer {
	return &matcher.TrafficPeer{
		Internal: &matcher.InternalPeer{PodLabels: p.Labels, NamespaceLabels: w.Namespaces[p.Namespace], Namespace: p.Namespace},
		IP:       p.Address,
	}
}

// nameOf is what the target calls a port: cyclonus compares a rule's name with it.
func nameOf(target *pod, at point) string {
	for _, known := range target.Ports {
		if known.point == at {
			return known.Name
		}
	}
	return ""
}

func (w *world) answer() string {
	policies := matcher.BuildNetworkPolicies(false, w.Policies)
	var out strings.Builder
	for from := range w.Pods {
		for to := range w.Pods {
			for _, at := range w.Points {
				traffic := &matcher.Traffic{
					Source:           w.peer(&w.Pods[from]),
					Destination:      w.peer(&w.Pods[to]),
					ResolvedPort:     at.Port,
					ResolvedPortName: nameOf(&w.Pods[to], at),
					Protocol:         at.Protocol,
				}
				if policies.IsTrafficAllowed(traffic).IsAllowed() {
					out.WriteByte('1')
				} else {
					out.WriteByte('0')
				}
			}
		}
	}
	return out.String()
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var asked world
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			fmt.Fprintln(os.Stderr, "a world cannot be read:", err)
			os.Exit(1)
		}
		fmt.Println(asked.answer())
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "worlds cannot be read:", err)
		os.Exit(1)
	}
}
