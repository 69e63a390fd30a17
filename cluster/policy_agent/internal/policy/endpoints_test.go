package policy

import (
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func podWith(name, ip string, change func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name)}}
	pod.Status.PodIP, pod.Status.Phase = ip, corev1.PodRunning
	if change != nil {
		change(pod)
	}
	return pod
}

func TestWhoOwnsAnAddress(t *testing.T) {
	early, late := metav1.NewTime(time.Unix(100, 0)), metav1.NewTime(time.Unix(200, 0))
	startedAt := func(at *metav1.Time) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Status.StartTime = at } }
	leaving := func(p *corev1.Pod) { p.Status.StartTime, p.DeletionTimestamp = &late, &late }
	for name, test := range map[string]struct {
		pods      []*corev1.Pod
		announced map[types.UID]netip.Addr
		want      map[string]string // address -> pod
	}{
		"a pod without address": {[]*corev1.Pod{podWith("a", "", nil)}, nil, map[string]string{}},
		"finished pods own nothing": {
			[]*corev1.Pod{podWith("a", "10.244.0.1", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
				podWith("b", "10.244.0.2", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed })},
			nil, map[string]string{}},
		"pods of the host's network own nothing": {
			[]*corev1.Pod{podWith("a", "10.244.0.1", func(p *corev1.Pod) { p.Spec.HostNetwork = true })}, nil, map[string]string{}},
		"an address given again belongs to the pod that started later": {
			[]*corev1.Pod{podWith("new", "10.244.0.1", startedAt(&late)), podWith("old", "10.244.0.1", startedAt(&early))},
			nil, map[string]string{"10.244.0.1": "new"}},
		"a pod that is leaving loses against one that stays": {
			[]*corev1.Pod{podWith("leaving", "10.244.0.1", leaving), podWith("stays", "10.244.0.1", startedAt(&early))},
			nil, map[string]string{"10.244.0.1": "stays"}},
		"a pod that is leaving keeps its address otherwise": {
			[]*corev1.Pod{podWith("leaving", "10.244.0.1", leaving)}, nil, map[string]string{"10.244.0.1": "leaving"}},
		"an announced address counts before the status shows it": {
			[]*corev1.Pod{podWith("a", "", nil)}, map[types.UID]netip.Addr{"a": netip.MustParseAddr("10.244.0.9")},
			map[string]string{"10.244.0.9": "a"}},
		"an announced address replaces the one of the former sandbox": {
			[]*corev1.Pod{podWith("a", "10.244.0.1", nil)}, map[types.UID]netip.Addr{"a": netip.MustParseAddr("10.244.0.9")},
			map[string]string{"10.244.0.9": "a"}},
		"an announced address is taken from whoever shows it still": {
			[]*corev1.Pod{podWith("old", "10.244.0.1", startedAt(&late)), podWith("new", "", nil)},
			map[types.UID]netip.Addr{"new": netip.MustParseAddr("10.244.0.1")}, map[string]string{"10.244.0.1": "new"}},
		"of two families the IPv4 address counts": {
			[]*corev1.Pod{podWith("a", "fd00::1", func(p *corev1.Pod) {
				p.Status.PodIPs = []corev1.PodIP{{IP: "fd00::1"}, {IP: "10.244.0.3"}}
			})}, nil, map[string]string{"10.244.0.3": "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[string]string{}
			for _, e := range (Inputs{Pods: test.pods, Announced: test.announced}).endpoints() {
				got[e.address.String()] = e.name
			}
			if len(got) != len(test.want) {
				t.Fatalf("owners are %v, not %v", got, test.want)
			}
			for address, owner := range test.want {
				if got[address] != owner {
					t.Fatalf("owners are %v, not %v", got, test.want)
				}
			}
		})
	}
}

func TestNamedPortsOfSideCarsCountButNotThoseOfInitContainers(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	pod := podWith("a", "10.244.0.1", func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{
			{Ports: []corev1.ContainerPort{{Name: "setup", ContainerPort: 1}}},
			{RestartPolicy: &always, Ports: []corev1.ContainerPort{{Name: "proxy", ContainerPort: 2}}},
		}
	})
	ports := namedPorts(pod)
	if len(ports) != 1 || ports[namedPort{"tcp", "proxy"}][0] != 2 {
		t.Fatalf("named ports are %v", ports)
	}
}

func TestRanges(t *testing.T) {
	whole := rangeOf(netip.MustParsePrefix("0.0.0.0/0"))
	left := subtractRanges(whole, []addressRange{rangeOf(netip.MustParsePrefix("255.255.255.255/32")), {0, 9}})
	if len(left) != 1 || left[0] != (addressRange{10, 1<<32 - 2}) {
		t.Fatalf("left are %v", left)
	}
	if left := subtractRanges(addressRange{5, 9}, []addressRange{{0, 20}}); len(left) != 0 {
		t.Fatalf("left are %v", left)
	}
	if merged := mergeRanges([]addressRange{{5, 9}, {1, 4}, {20, 30}, {8, 10}}); len(merged) != 2 || merged[0] != (addressRange{1, 10}) {
		t.Fatalf("merged are %v", merged)
	}
}
