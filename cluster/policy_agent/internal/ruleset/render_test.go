package ruleset

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestRulesAsNftWritesThem(t *testing.T) {
	prefix := netip.MustParsePrefix("10.244.0.0/16")
	for want, rule := range map[string]Rule{
		"ct state established,related accept": {Established: true, Verdict: Accept},
		"ip saddr 10.244.0.0/16 ip saddr != @pods counter drop": {
			Source: []AddressMatch{{Prefix: prefix}, {Set: "pods", Negate: true}}, Count: true, Verdict: Drop},
		"ip daddr @peers tcp dport { 80, 90-99 } goto ingress": {
			Destination: []AddressMatch{{Set: "peers"}}, Protocol: "tcp", Ports: []PortRange{{80, 80}, {90, 99}}, Verdict: Goto("ingress")},
		"meta l4proto sctp accept":                  {Protocol: "sctp", Verdict: Accept},
		"ip daddr . udp dport @port-udp-dns accept": {Protocol: "udp", NamedPort: "port-udp-dns", Verdict: Accept},
		"ip saddr . ip daddr @self accept":          {Pair: "self", Verdict: Accept},
		"ip saddr vmap @egress-pods":                {LookupField: "saddr", Lookup: "egress-pods"},
	} {
		if got := rule.String(); got != want {
			t.Errorf("rule is %q, not %q", got, want)
		}
	}
}

func sample(addresses ...string) *Ruleset {
	r := New()
	r.Sets["pods"] = NewSet(Addresses)
	r.Maps["m"] = map[netip.Addr]Verdict{}
	for _, a := range addresses {
		address := netip.MustParseAddr(a)
		r.Sets["pods"].Add(Element{From: address})
		r.Maps["m"][address] = Goto("closed")
	}
	r.Chains["forward"] = &Chain{Hook: "forward", Rules: []Rule{{LookupField: "saddr", Lookup: "m"}}}
	r.Chains["closed"] = &Chain{Rules: []Rule{{Verdict: Drop}}}
	return r
}

func TestAnUpdateHoldsOnlyWhatDiffers(t *testing.T) {
	script, changed := Update("t", sample("10.0.0.1", "10.0.0.2"), sample("10.0.0.2", "10.0.0.3"))
	want := `delete element ip t pods { 10.0.0.1 }
add element ip t pods { 10.0.0.3 }
delete element ip t m { 10.0.0.1 }
add element ip t m { 10.0.0.3 : goto closed }
`
	if !changed || script != want {
		t.Fatalf("the update is:\n%s", script)
	}
	if script, changed := Update("t", sample("10.0.0.1"), sample("10.0.0.1")); changed {
		t.Fatalf("nothing differs, but the update is:\n%s", script)
	}
}

func TestAReplacementWorksWithAndWithoutAFormerTable(t *testing.T) {
	script := Full("t", sample("10.0.0.1"))
	if !strings.HasPrefix(script, "add table ip t\ndelete table ip t\nadd table ip t\n") {
		t.Fatalf("the replacement is:\n%s", script)
	}
}

// TestEveryFieldOfARuleCounts guards the comparison of rules against a field that somebody adds and forgets there.
func TestEveryFieldOfARuleCounts(t *testing.T) {
	match := []AddressMatch{{Set: "s"}}
	variants := []Rule{{}, {Established: true}, {Source: match}, {Destination: match}, {Pair: "p"}, {Protocol: "tcp"},
		{Ports: []PortRange{{1, 2}}}, {NamedPort: "n"}, {LookupField: "saddr"}, {Lookup: "l"}, {Count: true}, {Verdict: Drop}}
	if fields := reflect.TypeOf(Rule{}).NumField(); len(variants) != fields+1 {
		t.Fatalf("a rule has %d fields; give each a variant here", fields)
	}
	for i, a := range variants {
		for j, b := range variants {
			if a.equal(b) != (i == j) {
				t.Errorf("%+v and %+v: equal is %v", a, b, a.equal(b))
			}
		}
	}
}
