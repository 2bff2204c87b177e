package policy

import (
	"net/netip"

	"github.com/google/go-cmp/cmp"
)

var compareAddresses = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
