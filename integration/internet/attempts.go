package internet

import (
	"crypto/tls"
	"net"
	"slices"
	"testing"
)

// Hello is the first message of TLS for a name, or for none.
func Hello(t testing.TB, name string) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	config := &tls.Config{ServerName: name}
	if name == "" {
		config.InsecureSkipVerify = true
	}
	go func() { _ = tls.Client(there, config).Handshake(); there.Close() }()
	buffer := make([]byte, 16<<10)
	n, err := here.Read(buffer)
	check(t, err)
	return buffer[:n]
}

// ConnectTo asks by HTTP.
func ConnectTo(target string) string {
	return "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n"
}

// The commands and the kinds of address of RFC 1928.
const (
	socksIPv4 = 1
	socksName = 3
	socksIPv6 = 4
)

// Socks asks by SOCKS5: a greeting and a request in one.
func Socks(command, kind byte, address string, port uint16) string {
	length := ""
	if kind == socksName {
		length = string(byte(len(address)))
	}
	return "\x05\x01\x00\x05" + string(command) + "\x00" + string(kind) + length + address + string([]byte{byte(port >> 8), byte(port)})
}

func v4(s string) string { return string(net.ParseIP(s).To4()) }
func v6(s string) string { return string(net.ParseIP(s).To16()) }

// Attempt is one way around a list that has api.example.org:443,
// 93.184.216.34:443 and inside.example.org:443.
type Attempt struct {
	Name string
	Sent string // to the proxy
	SNI  string // of TLS behind that; empty: no TLS, "none": TLS without a name
	Rule string // that must refuse it (RFC 9209 2.3); empty: whatever refuses it
}

// Bytes are all that is sent.
func (a Attempt) Bytes(t testing.TB) []byte {
	t.Helper()
	switch a.SNI {
	case "":
		return []byte(a.Sent)
	case "none":
		return append([]byte(a.Sent), Hello(t, "")...)
	}
	return append([]byte(a.Sent), Hello(t, a.SNI)...)
}

const (
	request    = "http_request_error"
	denied     = "http_request_denied"
	prohibited = "destination_ip_prohibited"
	tlsError   = "tls_protocol_error"
)

// Attempts are all of them.
func Attempts() []Attempt { return slices.Concat(byHTTP(), bySOCKS()) }

func byHTTP() []Attempt {
	return []Attempt{
		{"an unlisted name", ConnectTo("other.example.org:443"), "other.example.org", denied},
		{"an unlisted name under a listed one", ConnectTo("x.api.example.org:443"), "x.api.example.org", denied},
		{"a listed name with more in front", ConnectTo("evilapi.example.org:443"), "evilapi.example.org", denied},
		{"a listed name with more behind", ConnectTo("api.example.org.evil.example.net:443"), "api.example.org.evil.example.net", denied},
		{"another port", ConnectTo("api.example.org:80"), "api.example.org", denied},
		{"no port", ConnectTo("api.example.org"), "api.example.org", request},
		{"an empty port", ConnectTo("api.example.org:"), "api.example.org", request},
		{"a port with a sign", ConnectTo("api.example.org:+443"), "api.example.org", request},
		{"a port with a zero", ConnectTo("api.example.org:0443"), "api.example.org", request},
		{"a port beyond 16 bits", ConnectTo("api.example.org:65979"), "api.example.org", request},
		{"a user before the name", ConnectTo("api.example.org@other.example.org:443"), "other.example.org", denied},
		{"a user before a listed name", ConnectTo("other.example.org@api.example.org:443"), "api.example.org", denied},
		{"a fragment", ConnectTo("other.example.org#api.example.org:443"), "other.example.org", request},
		{"a path", ConnectTo("other.example.org/api.example.org:443"), "other.example.org", denied},
		{"a percent sign", ConnectTo("api%2eexample.org:443"), "api.example.org", request},
		{"two final dots", ConnectTo("api.example.org..:443"), "api.example.org", denied},
		{"a look-alike in Cyrillic", ConnectTo("\u0430pi.example.org:443"), "xn--pi-6kc.example.org", denied},
		{"the look-alike in ASCII", ConnectTo("xn--pi-6kc.example.org:443"), "xn--pi-6kc.example.org", denied},
		{"a listed name as Punycode", ConnectTo("xn--api-.example.org:443"), "api.example.org", denied},
		{"a soft hyphen and another name", ConnectTo("api.example.org\u00ad.example.net:443"), "api.example.org.example.net", denied},
		{"a listed name in Host alone", "CONNECT other.example.org:443 HTTP/1.1\r\nHost: api.example.org:443\r\n\r\n", "other.example.org", denied},
		{"two Hosts", "CONNECT other.example.org:443 HTTP/1.1\r\nHost: other.example.org:443\r\nHost: api.example.org:443\r\n\r\n", "other.example.org", ""},
		{"content that hides a request", "CONNECT api.example.org:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /", "api.example.org", request},
		{"chunks", "CONNECT api.example.org:443 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "api.example.org", request},
		{"plain HTTP, absolute", "GET http://api.example.org:443/ HTTP/1.1\r\nHost: api.example.org\r\n\r\n", "", request},
		{"plain HTTP to port 80", "GET http://93.184.216.34/ HTTP/1.1\r\nHost: x\r\n\r\n", "", request},
		{"a target of CONNECT for another method", "GET api.example.org:443 HTTP/1.1\r\nHost: api.example.org:443\r\n\r\n", "api.example.org", request},
		{"HTTP/2 in the clear", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", request},
		{"plain HTTP inside CONNECT", ConnectTo("api.example.org:443") + "GET / HTTP/1.1\r\nHost: api.example.org\r\n\r\n", "", tlsError},
		{"SSH inside CONNECT", ConnectTo("api.example.org:443") + "SSH-2.0-x\r\n", "", tlsError},
		{"TLS for another name", ConnectTo("api.example.org:443"), "other.example.org", tlsError},
		{"TLS for no name", ConnectTo("api.example.org:443"), "none", tlsError},
		{"TLS for a name at a literal address", ConnectTo("93.184.216.34:443"), "other.example.org", tlsError},
		{"the gateway", ConnectTo("127.0.0.1:18789"), "host.example.org", denied},
		{"localhost", ConnectTo("localhost:443"), "localhost", denied},
		{"one label", ConnectTo("api:443"), "api", denied},
		{"IPv4 in IPv6", ConnectTo("[::ffff:93.184.216.35]:443"), "none", denied},
		{"loopback in IPv6", ConnectTo("[::ffff:127.0.0.1]:443"), "none", denied},
		{"an IPv6 zone", ConnectTo("[fe80::1%25host0]:443"), "none", denied},
		{"a decimal address", ConnectTo("1572395043:443"), "none", denied},
		{"an octal address", ConnectTo("0135.0270.0330.043:443"), "none", denied},
		{"a hexadecimal address", ConnectTo("0x5db8d823:443"), "none", denied},
		{"a short address", ConnectTo("127.1:443"), "none", denied},
		{"an address with a final dot", ConnectTo("93.184.216.35.:443"), "none", denied},
		{"a line break in the target", ConnectTo("api.example.org:443\r\nX: other.example.org:443"), "other.example.org", ""},
		{"TLS to the proxy itself", "", "api.example.org", request},
		{"a name that the list has, pointed at a private address", ConnectTo("inside.example.org:443"), "inside.example.org", prohibited},
	}
}

func bySOCKS() []Attempt {
	return []Attempt{
		{"SOCKS: an unlisted name", Socks(1, socksName, "other.example.org", 443), "other.example.org", denied},
		{"SOCKS: a NUL byte", Socks(1, socksName, "other.example.org\x00.api.example.org", 443), "other.example.org", denied},
		{"SOCKS: a NUL byte behind", Socks(1, socksName, "api.example.org\x00other.example.org", 443), "api.example.org", denied},
		{"SOCKS: a name that is an address", Socks(1, socksName, "127.0.0.1", 443), "none", denied},
		{"SOCKS: an address", Socks(1, socksIPv4, v4("93.184.216.35"), 443), "none", denied},
		{"SOCKS: loopback", Socks(1, socksIPv4, v4("127.0.0.1"), 18789), "none", denied},
		{"SOCKS: any address", Socks(1, socksIPv4, v4("0.0.0.0"), 443), "none", denied},
		{"SOCKS: IPv4 in IPv6", Socks(1, socksIPv6, v6("::ffff:127.0.0.1")[:10]+"\xff\xff"+v4("127.0.0.1"), 443), "none", denied},
		{"SOCKS: IPv6", Socks(1, socksIPv6, v6("::1"), 443), "none", denied},
		{"SOCKS: BIND", Socks(2, socksName, "api.example.org", 443), "api.example.org", request},
		{"SOCKS: UDP", Socks(3, socksName, "api.example.org", 443), "api.example.org", request},
		{"SOCKS: another version in the request", "\x05\x01\x00\x04" + Socks(1, socksName, "api.example.org", 443)[4:], "api.example.org", request},
		{"SOCKS: an empty name", Socks(1, socksName, "", 443), "none", request},
		{"SOCKS: TLS for another name", Socks(1, socksName, "api.example.org", 443), "other.example.org", tlsError},
		{"SOCKS 4", "\x04\x01\x01\xbb\x5d\xb8\xd8\x23u\x00", "none", request},
	}
}
