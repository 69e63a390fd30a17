package ruleset

import (
	"fmt"
	"net/netip"
	"strings"
)

// Packet is the first packet of a connection.
type Packet struct {
	Source, Destination netip.Addr
	Protocol            string // tcp, udp, sctp or another one, which has no ports
	Port                uint16
}

// maxDepth is the kernel's limit of nested jumps (NFT_JUMP_STACK_SIZE).
const maxDepth = 16

// Evaluate gives the verdict of the table for a new connection that enters at a hook's chain. It panics where the kernel
// would refuse the ruleset (unknown chain, set or map, too many nested jumps): that is a fault of the translation.
func (r *Ruleset) Evaluate(chain string, p Packet) Verdict {
	if verdict := r.evaluate(chain, p, 1); verdict != "" {
		return verdict
	}
	return Accept // the policy of all our base chains
}

func (r *Ruleset) evaluate(name string, p Packet, depth int) Verdict {
	chain := r.Chains[name]
	if chain == nil || depth > maxDepth {
		panic(fmt.Sprintf("chain %s does not exist or is nested too deep (%d)", name, depth))
	}
	for _, rule := range chain.Rules {
		if !r.matches(rule, p) {
			continue
		}
		verdict := rule.Verdict
		if rule.Lookup != "" {
			verdict = r.lookup(rule, p)
		}
		switch {
		case verdict == "":
		case strings.HasPrefix(string(verdict), "goto "):
			return r.evaluate(string(verdict[5:]), p, depth)
		case strings.HasPrefix(string(verdict), "jump "):
			if final := r.evaluate(string(verdict[5:]), p, depth+1); final != "" {
				return final
			}
		default:
			return verdict
		}
	}
	return ""
}

func (r *Ruleset) lookup(rule Rule, p Packet) Verdict {
	m, known := r.Maps[rule.Lookup]
	if !known {
		panic("unknown map " + rule.Lookup)
	}
	if rule.LookupField == "saddr" {
		return m[p.Source]
	}
	return m[p.Destination]
}

func (r *Ruleset) set(name string) *Set {
	s := r.Sets[name]
	if s == nil {
		panic("unknown set " + name)
	}
	return s
}

func (r *Ruleset) matches(rule Rule, p Packet) bool {
	if rule.Established {
		return false // the packet opens a connection
	}
	for _, m := range rule.Source {
		if !r.matchesAddress(m, p.Source) {
			return false
		}
	}
	for _, m := range rule.Destination {
		if !r.matchesAddress(m, p.Destination) {
			return false
		}
	}
	if rule.Pair != "" && !r.set(rule.Pair).Has(Element{From: p.Source, To: p.Destination}) {
		return false
	}
	if rule.Protocol != "" && rule.Protocol != p.Protocol {
		return false
	}
	if rule.NamedPort != "" {
		return r.set(rule.NamedPort).Has(Element{From: p.Destination, Port: p.Port})
	}
	return len(rule.Ports) == 0 || matchesPort(rule.Ports, p.Port)
}

func (r *Ruleset) matchesAddress(m AddressMatch, address netip.Addr) bool {
	var inside bool
	if m.Set != "" {
		inside = r.set(m.Set).Has(Element{From: address})
	} else {
		inside = m.Prefix.Contains(address)
	}
	return inside != m.Negate
}

func matchesPort(ranges []PortRange, port uint16) bool {
	for _, r := range ranges {
		if r.First <= port && port <= r.Last {
			return true
		}
	}
	return false
}
