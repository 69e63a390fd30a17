package ruleset

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"
)

// elementsPerLine bounds the length of one command, so that a script stays readable in an error message.
const elementsPerLine = 200

func (e Element) render(kind SetKind) string {
	switch kind {
	case Ranges:
		if e.From == e.To {
			return e.From.String()
		}
		return e.From.String() + "-" + e.To.String()
	case Pairs:
		return e.From.String() + " . " + e.To.String()
	case AddressPorts:
		return fmt.Sprintf("%s . %d", e.From, e.Port)
	default:
		return e.From.String()
	}
}

func (k SetKind) declaration() string {
	switch k {
	case Ranges:
		return "{ type ipv4_addr ; flags interval ; }"
	case Pairs:
		return "{ type ipv4_addr . ipv4_addr ; }"
	case AddressPorts:
		return "{ type ipv4_addr . inet_service ; }"
	default:
		return "{ type ipv4_addr ; }"
	}
}

func renderAddress(field string, m AddressMatch) string {
	operator := ""
	if m.Negate {
		operator = "!= "
	}
	if m.Set != "" {
		return fmt.Sprintf("ip %s %s@%s", field, operator, m.Set)
	}
	return fmt.Sprintf("ip %s %s%s", field, operator, m.Prefix)
}

func renderPorts(protocol string, ports []PortRange) string {
	list := make([]string, 0, len(ports))
	for _, p := range ports {
		if p.First == p.Last {
			list = append(list, fmt.Sprint(p.First))
		} else {
			list = append(list, fmt.Sprintf("%d-%d", p.First, p.Last))
		}
	}
	return fmt.Sprintf("%s dport { %s }", protocol, strings.Join(list, ", "))
}

// String renders the rule as nft writes it.
func (r Rule) String() string {
	var parts []string
	if r.Established {
		parts = append(parts, "ct state established,related")
	}
	for _, m := range r.Source {
		parts = append(parts, renderAddress("saddr", m))
	}
	for _, m := range r.Destination {
		parts = append(parts, renderAddress("daddr", m))
	}
	if r.Pair != "" {
		parts = append(parts, "ip saddr . ip daddr @"+r.Pair)
	}
	switch {
	case r.NamedPort != "":
		parts = append(parts, fmt.Sprintf("ip daddr . %s dport @%s", r.Protocol, r.NamedPort))
	case len(r.Ports) > 0:
		parts = append(parts, renderPorts(r.Protocol, r.Ports))
	case r.Protocol != "":
		parts = append(parts, "meta l4proto "+r.Protocol)
	}
	if r.Count {
		parts = append(parts, "counter")
	}
	if r.Lookup != "" {
		return strings.Join(append(parts, fmt.Sprintf("ip %s vmap @%s", r.LookupField, r.Lookup)), " ")
	}
	return strings.Join(append(parts, string(r.Verdict)), " ")
}

// script collects the commands of one transaction.
type script struct {
	table string
	lines []string
}

func (s *script) add(format string, arguments ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, arguments...))
}

func (s *script) String() string { return strings.Join(s.lines, "\n") + "\n" }

func (s *script) elements(verb, name string, items []string) {
	for start := 0; start < len(items); start += elementsPerLine {
		end := min(start+elementsPerLine, len(items))
		s.add("%s element ip %s %s { %s }", verb, s.table, name, strings.Join(items[start:end], ", "))
	}
}

func (s *script) declareChain(name string, c *Chain) {
	block := ""
	if c.Hook != "" {
		block = fmt.Sprintf(" { type filter hook %s priority filter ; policy accept ; }", c.Hook)
	} else if c.Comment != "" {
		block = fmt.Sprintf(" { comment %q ; }", c.Comment)
	}
	s.add("add chain ip %s %s%s", s.table, name, block)
}

func (s *script) rules(name string, rules []Rule) {
	for _, rule := range rules {
		s.add("add rule ip %s %s %s", s.table, name, rule)
	}
}

func setItems(kind SetKind, elements map[Element]bool) []string {
	items := make([]string, 0, len(elements))
	for _, e := range sortedElements(elements) {
		items = append(items, e.render(kind))
	}
	return items
}

func mapItems(m map[netip.Addr]Verdict, verdicts bool) []string {
	addresses := make([]netip.Addr, 0, len(m))
	for a := range m {
		addresses = append(addresses, a)
	}
	sort.Slice(addresses, func(i, j int) bool { return addresses[i].Less(addresses[j]) })
	items := make([]string, 0, len(m))
	for _, a := range addresses {
		if verdicts {
			items = append(items, fmt.Sprintf("%s : %s", a, m[a]))
		} else {
			items = append(items, a.String())
		}
	}
	return items
}

// Full renders the transaction that replaces the table, whatever it held, by the ruleset.
func Full(table string, r *Ruleset) string {
	s := &script{table: table}
	// "add" first: deleting a table that does not exist would fail the transaction.
	s.add("add table ip %s", table)
	s.add("delete table ip %s", table)
	s.add("add table ip %s", table)
	s.apply(New(), r)
	return s.String()
}

// Update renders the transaction that turns one ruleset into another, and whether there is anything to do.
func Update(table string, from, to *Ruleset) (string, bool) {
	s := &script{table: table}
	s.apply(from, to)
	return s.String(), len(s.lines) > 0
}

// apply writes the difference in an order in which nothing is named before it exists or removed while it is used:
// declarations, emptied chains, elements, rules, and only then what is no longer there.
func (s *script) apply(from, to *Ruleset) {
	for _, name := range sortedKeys(to.Chains) {
		if from.Chains[name] == nil {
			s.declareChain(name, to.Chains[name])
		}
	}
	for _, name := range sortedKeys(to.Sets) {
		if from.Sets[name] == nil {
			s.add("add set ip %s %s %s", s.table, name, to.Sets[name].Kind.declaration())
		}
	}
	for _, name := range sortedKeys(to.Maps) {
		if from.Maps[name] == nil {
			s.add("add map ip %s %s { type ipv4_addr : verdict ; }", s.table, name)
		}
	}
	for _, name := range sortedKeys(from.Chains) {
		if to.Chains[name] == nil || !sameRules(from.Chains[name], to.Chains[name]) {
			s.add("flush chain ip %s %s", s.table, name)
		}
	}
	s.changeElements(from, to)
	for _, name := range sortedKeys(to.Chains) {
		if from.Chains[name] == nil || !sameRules(from.Chains[name], to.Chains[name]) {
			s.rules(name, to.Chains[name].Rules)
		}
	}
	s.remove(from, to)
}

func (s *script) changeElements(from, to *Ruleset) {
	for _, name := range sortedKeys(to.Sets) {
		set, old := to.Sets[name], from.Sets[name]
		if old == nil {
			old = NewSet(set.Kind)
		}
		s.elements("delete", name, setItems(set.Kind, without(old.Elements, set.Elements)))
		s.elements("add", name, setItems(set.Kind, without(set.Elements, old.Elements)))
	}
	for _, name := range sortedKeys(to.Maps) {
		s.elements("delete", name, mapItems(withoutVerdicts(from.Maps[name], to.Maps[name]), false))
		s.elements("add", name, mapItems(withoutVerdicts(to.Maps[name], from.Maps[name]), true))
	}
}

func (s *script) remove(from, to *Ruleset) {
	for _, name := range sortedKeys(from.Maps) {
		if to.Maps[name] == nil {
			s.add("delete map ip %s %s", s.table, name)
		}
	}
	for _, name := range sortedKeys(from.Chains) {
		if to.Chains[name] == nil {
			s.add("delete chain ip %s %s", s.table, name)
		}
	}
	for _, name := range sortedKeys(from.Sets) {
		if to.Sets[name] == nil {
			s.add("delete set ip %s %s", s.table, name)
		}
	}
}

func sameRules(a, b *Chain) bool { return slices.EqualFunc(a.Rules, b.Rules, Rule.equal) }

func without(a, b map[Element]bool) map[Element]bool {
	left := map[Element]bool{}
	for e := range a {
		if !b[e] {
			left[e] = true
		}
	}
	return left
}

func withoutVerdicts(a, b map[netip.Addr]Verdict) map[netip.Addr]Verdict {
	left := map[netip.Addr]Verdict{}
	for address, verdict := range a {
		if b[address] != verdict {
			left[address] = verdict
		}
	}
	return left
}
