package egress

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// names accepts host names as browsers look them up (UTS #46, non-transitional
// processing, with the checks of STD3, hyphens, bidi and joiners), of at most
// 253 bytes.
var names = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(true),
	idna.ValidateLabels(true), idna.CheckHyphens(true), idna.CheckJoiners(true), idna.BidiRule(), idna.VerifyDNSLength(true))

// maxHost bounds what is looked at, in bytes: far more than a name has.
const maxHost = 1024

var (
	errNoName   = errors.New("it is not a host name")
	errNumber   = errors.New("it is a number that is written as no address is (octal, hexadecimal, short or decimal forms)")
	errOneLabel = errors.New("it has one label, which a resolver would complete as it likes")
)

// Canonical is the one form of a host: a name in lower-case ASCII without the
// final dot, or an IP address as netip writes it, with an IPv4 address in IPv6
// (RFC 4291 2.5.5) as the IPv4 address it means. What could be read in two
// ways, such as 0x7f.1 or an address with a zone, is an error.
func Canonical(host string) (string, error) {
	if len(host) > maxHost || !utf8.ValidString(host) || strings.ContainsAny(host, "\x00%") {
		return "", errNoName
	}
	if addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")); err == nil {
		if bracketed := strings.HasPrefix(host, "["); bracketed != strings.HasSuffix(host, "]") || bracketed && addr.Is4() {
			return "", errNoName
		}
		return addr.Unmap().String(), nil
	}
	name, err := names.ToASCII(strings.TrimSuffix(host, "."))
	if err != nil {
		return "", errNoName
	}
	if again, err := names.ToASCII(name); err != nil || again != name {
		return "", errNoName
	}
	labels := strings.Split(name, ".")
	switch last := labels[len(labels)-1]; {
	case endsInNumber(last):
		return "", errNumber
	case len(labels) == 1:
		return "", errOneLabel
	}
	return name, nil
}

// endsInNumber says whether a name's last label makes readers such as
// inet_aton(3) take it for an IPv4 address (WHATWG URL, "ends in a number").
func endsInNumber(last string) bool {
	if strings.Trim(last, "0123456789") == "" {
		return true
	}
	_, err := strconv.ParseUint(last, 0, 64)
	return err == nil || strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == ""
}

// port reads a TCP port in plain decimal digits.
func port(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != text {
		return 0, errors.New("the port is not a number from 1 to 65535")
	}
	return uint16(n), nil
}

// printable is what a sandbox said, for a log: quoted where it is not plain.
func printable(s string) string {
	const most = 300
	if len(s) > most {
		s = s[:most] + "…"
	}
	quoted := strconv.QuoteToASCII(s)
	if quoted == `"`+s+`"` {
		return s
	}
	return quoted
}
