package scan

import (
	"crypto/hmac"

	"github.com/creel-sandbox/creel/runner/hygiene"
)

// values finds the values under management, of which it has only hashes.
type values struct {
	needles hygiene.Needles
	roll    hygiene.Rolling
	// sums says which sums of a window are worth a closer look: one bit each.
	sums [1 << 16 / 64]uint64
}

// hit is where a value begins.
type hit struct{ at, value int }

func newValues(n hygiene.Needles) values {
	v := values{needles: n, roll: n.Rolling()}
	for _, needle := range n.All {
		v.sums[needle.Sum/64] |= 1 << (needle.Sum % 64)
	}
	return v
}

// find gives the values that begin in data before limit, in their order.
func (v *values) find(data []byte, limit int) (hits []hit) {
	if len(v.needles.All) == 0 || len(data) < hygiene.Window || limit == 0 {
		return nil
	}
	last := min(limit-1, len(data)-hygiene.Window)
	state := v.roll.Start(data)
	for at := 0; ; at++ {
		sum := v.roll.Fold(state)
		if v.sums[sum/64]>>(sum%64)&1 != 0 {
			hits = v.verify(data, at, sum, hits)
		}
		if at >= last {
			return hits
		}
		state = v.roll.Next(state, data[at], data[at+hygiene.Window])
	}
}

// verify computes the HMAC where a value may be.
func (v *values) verify(data []byte, at int, sum uint16, hits []hit) []hit {
	var digest []byte
	length := -1
	for _, needle := range v.needles.All {
		if needle.Sum != sum || at+needle.Length > len(data) {
			continue
		}
		if needle.Length != length {
			length = needle.Length
			digest = v.needles.Digest(data[at : at+length])
		}
		if hmac.Equal(digest, needle.Digest) && (len(hits) == 0 || hits[len(hits)-1] != hit{at, needle.Value}) {
			hits = append(hits, hit{at, needle.Value})
		}
	}
	return hits
}
