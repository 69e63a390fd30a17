// Package ruleset is a typed model of one nftables table: it can be rendered for nft, compared with another one and evaluated.
//
// The model knows only the few expressions that NetworkPolicies need. That keeps the renderer (what the kernel gets) and the
// interpreter (what the tests compare with a naive evaluation of the policies) small enough to be read side by side.
package ruleset

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
)

// SetKind says what the elements of a set are.
type SetKind int

const (
	// Addresses: single IPv4 addresses; changed element by element.
	Addresses SetKind = iota
	// Ranges: disjoint IPv4 ranges. Such a set is never changed: its name is a hash of its content.
	Ranges
	// Pairs: source address . destination address.
	Pairs
	// AddressPorts: destination address . destination port (named ports).
	AddressPorts
)

// Element is one member of a set. Which fields count depends on the kind: Addresses use From, Ranges From and To,
// Pairs From (source) and To (destination), AddressPorts From and Port.
type Element struct {
	From, To netip.Addr
	Port     uint16
}

// Set is a named set.
type Set struct {
	Kind     SetKind
	Elements map[Element]bool
}

// NewSet returns an empty set of a kind.
func NewSet(kind SetKind) *Set { return &Set{Kind: kind, Elements: map[Element]bool{}} }

// Add puts an element in the set.
func (s *Set) Add(e Element) { s.Elements[e] = true }

// Has tells whether a packet's addresses and destination port are covered by the set.
func (s *Set) Has(e Element) bool {
	if s.Kind != Ranges {
		return s.Elements[e]
	}
	for r := range s.Elements {
		if r.From.Compare(e.From) <= 0 && e.From.Compare(r.To) <= 0 {
			return true
		}
	}
	return false
}

// Verdict ends or redirects the evaluation of a packet.
type Verdict string

const (
	Accept Verdict = "accept"
	Drop   Verdict = "drop"
)

// Goto returns the verdict that continues in a chain and does not come back to the calling one.
func Goto(chain string) Verdict { return Verdict("goto " + chain) }

// Jump returns the verdict that evaluates a chain and comes back when that reached no verdict.
func Jump(chain string) Verdict { return Verdict("jump " + chain) }

// AddressMatch compares an address of the packet with a prefix or a set; exactly one of the two is given.
type AddressMatch struct {
	Prefix netip.Prefix
	Set    string
	Negate bool
}

// PortRange is an inclusive range of destination ports.
type PortRange struct{ First, Last uint16 }

// Rule is a conjunction of matches and a verdict. Empty matches match everything.
type Rule struct {
	Established bool           // ct state established,related
	Source      []AddressMatch // all must hold
	Destination []AddressMatch // all must hold
	Pair        string         // set of Pairs that must hold source . destination
	Protocol    string         // tcp, udp or sctp
	Ports       []PortRange    // any of them (needs Protocol)
	NamedPort   string         // set of AddressPorts that must hold destination . port (needs Protocol)
	LookupField string         // "saddr" or "daddr": the verdict comes from the map Lookup
	Lookup      string
	Count       bool // keep a packet counter, for people who debug
	Verdict     Verdict
}

// equal compares without rendering, which would be most of an update's cost on a large cluster.
func (r Rule) equal(o Rule) bool {
	return r.Verdict == o.Verdict && r.Protocol == o.Protocol && r.NamedPort == o.NamedPort && r.Pair == o.Pair &&
		r.Lookup == o.Lookup && r.LookupField == o.LookupField && r.Established == o.Established && r.Count == o.Count &&
		slices.Equal(r.Source, o.Source) && slices.Equal(r.Destination, o.Destination) && slices.Equal(r.Ports, o.Ports)
}

// Chain is a list of rules; Hook is empty for chains that are only jumped to.
type Chain struct {
	Hook    string
	Comment string
	Rules   []Rule
}

// Ruleset is the content of one table.
type Ruleset struct {
	Sets   map[string]*Set
	Maps   map[string]map[netip.Addr]Verdict
	Chains map[string]*Chain
}

// New returns an empty ruleset.
func New() *Ruleset {
	return &Ruleset{Sets: map[string]*Set{}, Maps: map[string]map[netip.Addr]Verdict{}, Chains: map[string]*Chain{}}
}

// Counts says how large a ruleset is, for logs and metrics.
func (r *Ruleset) Counts() string {
	rules, elements := 0, 0
	for _, c := range r.Chains {
		rules += len(c.Rules)
	}
	for _, s := range r.Sets {
		elements += len(s.Elements)
	}
	for _, m := range r.Maps {
		elements += len(m)
	}
	return fmt.Sprintf("chains=%d rules=%d sets=%d elements=%d", len(r.Chains), rules, len(r.Sets)+len(r.Maps), elements)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func sortedElements(elements map[Element]bool) []Element {
	list := make([]Element, 0, len(elements))
	for e := range elements {
		list = append(list, e)
	}
	sort.Slice(list, func(i, j int) bool {
		a, b := list[i], list[j]
		if c := a.From.Compare(b.From); c != 0 {
			return c < 0
		}
		if c := a.To.Compare(b.To); c != 0 {
			return c < 0
		}
		return a.Port < b.Port
	})
	return list
}
