package policy

import (
	"encoding/binary"
	"net/netip"
	"sort"

	"barberpro.platform/cluster/policy_agent/internal/ruleset"
)

// addressRange is an inclusive range of IPv4 addresses as numbers; 64 bits, so that the end plus one never overflows.
type addressRange struct{ first, last uint64 }

func number(a netip.Addr) uint64 {
	b := a.As4()
	return uint64(binary.BigEndian.Uint32(b[:]))
}

func address(n uint64) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(n))
	return netip.AddrFrom4(b)
}

func rangeOf(prefix netip.Prefix) addressRange {
	first := number(prefix.Masked().Addr())
	return addressRange{first, first + (uint64(1) << (32 - prefix.Bits())) - 1}
}

// mergeRanges returns the union as disjoint, ascending ranges that do not touch.
func mergeRanges(ranges []addressRange) []addressRange {
	sorted := append([]addressRange(nil), ranges...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].first < sorted[j].first })
	var merged []addressRange
	for _, r := range sorted {
		if n := len(merged); n > 0 && r.first <= merged[n-1].last+1 {
			merged[n-1].last = max(merged[n-1].last, r.last)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// subtractRanges returns what is left of a range without the exceptions.
func subtractRanges(whole addressRange, exceptions []addressRange) []addressRange {
	var left []addressRange
	next := whole.first
	for _, e := range mergeRanges(exceptions) {
		if e.last < whole.first || e.first > whole.last {
			continue
		}
		if e.first > next {
			left = append(left, addressRange{next, e.first - 1})
		}
		next = max(next, e.last+1)
	}
	if next <= whole.last {
		left = append(left, addressRange{next, whole.last})
	}
	return left
}

// mergePorts makes ranges disjoint: nft refuses overlapping intervals in one set.
func mergePorts(ports []ruleset.PortRange) []ruleset.PortRange {
	sorted := append([]ruleset.PortRange(nil), ports...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].First < sorted[j].First })
	var merged []ruleset.PortRange
	for _, p := range sorted {
		if n := len(merged); n > 0 && int(p.First) <= int(merged[n-1].Last)+1 {
			merged[n-1].Last = max(merged[n-1].Last, p.Last)
			continue
		}
		merged = append(merged, p)
	}
	return merged
}
