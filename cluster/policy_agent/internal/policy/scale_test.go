package policy

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"barberpro.platform/cluster/policy_agent/internal/ruleset"
)

// tenantPolicies is what a tenant's namespace holds: default deny, names, metrics, database, gateway, one declared edge.
const tenantPolicies = `
- {podSelector: {}, policyTypes: [Ingress, Egress]}
- {podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {name: kube-system}}}], ports: [{port: 53, protocol: UDP}]}]}
- {podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {name: monitoring}}}], ports: [{port: 9090}]}]}
- {podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {name: data}}}], ports: [{port: 5432}]}]}
- {podSelector: {matchLabels: {app: booking}}, ingress: [{from: [{namespaceSelector: {matchLabels: {name: gateway}}}], ports: [{port: http}]}]}
- {podSelector: {matchLabels: {app: booking}}, ingress: [{from: [{podSelector: {matchLabels: {app: walkin}}}], ports: [{port: http}]}]}
- {podSelector: {matchLabels: {app: walkin}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: booking}}}]}]}
`

func fleet(tenants int) (world, error) {
	w := world{cidr: podCIDR, namespaces: map[string]labels.Set{}}
	var specs []networkingv1.NetworkPolicySpec
	if err := yaml.UnmarshalStrict([]byte(tenantPolicies), &specs); err != nil {
		return w, err
	}
	add := func(namespace, app string) {
		pod := podWith(fmt.Sprint(namespace, "-", app), address(number(podCIDR.Addr())+uint64(len(w.pods))+1).String(), nil)
		pod.Namespace, pod.Labels = namespace, map[string]string{"app": app}
		pod.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}}
		w.pods = append(w.pods, pod)
	}
	for _, name := range []string{"kube-system", "monitoring", "data", "gateway"} {
		w.namespaces[name] = labels.Set{"name": name}
		add(name, name)
	}
	for i := range tenants {
		name := fmt.Sprint("tenant-", i)
		w.namespaces[name] = labels.Set{"name": name}
		add(name, "booking")
		add(name, "walkin")
		for n, spec := range specs {
			np := networkingv1.NetworkPolicy{Spec: spec}
			np.Namespace, np.Name = name, fmt.Sprint("policy-", n)
			w.policies = append(w.policies, &np)
		}
	}
	return w, nil
}

// BenchmarkTranslate measures what one event costs on a cluster with a thousand tenants: the whole state is translated and
// compared with the table as it is.
func BenchmarkTranslate(b *testing.B) {
	w, err := fleet(1000)
	if err != nil {
		b.Fatal(err)
	}
	in, err := w.inputs()
	if err != nil {
		b.Fatal(err)
	}
	before := Translate(w.cidr, in)
	b.Log(before.Counts())
	for b.Loop() {
		if script, changed := ruleset.Update("t", before, Translate(w.cidr, in)); changed {
			b.Fatal("the same cluster gives another table:\n" + script)
		}
	}
}

// TestAPodMoreIsASmallUpdate: of a large cluster, only the addresses of the new pod are sent to the kernel.
func TestAPodMoreIsASmallUpdate(t *testing.T) {
	w, err := fleet(100)
	if err != nil {
		t.Fatal(err)
	}
	in, err := w.inputs()
	if err != nil {
		t.Fatal(err)
	}
	before := Translate(w.cidr, in)
	second := w.pods[4].DeepCopy()
	second.Name, second.UID, second.Status.PodIP = "another", "another", "10.244.0.250"
	in.Pods = append(in.Pods, second)
	script, _ := ruleset.Update("t", before, Translate(w.cidr, in))
	want := 6 // pods, self, two maps, the named port, the peers of the walk-in queue
	lines := 0
	for _, c := range script {
		if c == '\n' {
			lines++
		}
	}
	if lines != want {
		t.Fatalf("the update has %d commands, not %d:\n%s", lines, want, script)
	}
}
