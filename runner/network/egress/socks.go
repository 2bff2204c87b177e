package egress

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
)

// The words of RFC 1928.
const (
	socksVersion = 5

	socksNoAuth  = 0x00
	socksNoneFit = 0xff
	socksConnect = 1

	socksIPv4 = 1
	socksName = 3
	socksIPv6 = 4

	socksGranted     = 0
	socksFailed      = 1
	socksNotAllowed  = 2
	socksUnreachable = 4
	socksBadCommand  = 7
)

// socks5 is SOCKS version 5 with the one command CONNECT, without
// authentication: who asks is known by the listener.
//
//	── version, n, n methods ──►   ◄── version, method ──
//	── version, command, 0, type, address, port ──►   ◄── version, reply, 0, type, address, port ──
type socks5 struct{}

func (socks5) ask(a *asking) (string, uint16, error) {
	var greeting [2]byte
	if _, err := io.ReadFull(a.in, greeting[:]); err != nil {
		return "", 0, fmt.Errorf("read greeting: %w", err)
	}
	methods := make([]byte, greeting[1])
	if _, err := io.ReadFull(a.in, methods); err != nil {
		return "", 0, fmt.Errorf("read methods: %w", err)
	}
	if bytes.IndexByte(methods, socksNoAuth) < 0 {
		_, _ = a.out.Write([]byte{socksVersion, socksNoneFit})
		return "", 0, fmt.Errorf("choose method: none of %d fits", len(methods))
	}
	if _, err := a.out.Write([]byte{socksVersion, socksNoAuth}); err != nil {
		return "", 0, fmt.Errorf("answer greeting: %w", err)
	}
	var request [4]byte
	if _, err := io.ReadFull(a.in, request[:]); err != nil {
		return "", 0, fmt.Errorf("read request: %w", err)
	}
	if request[0] != socksVersion || request[2] != 0 {
		return "", 0, &Refusal{Rule: RuleRequest, Reason: "it is no request of SOCKS5"}
	}
	host, err := socksHost(a.in, request[3])
	if err != nil {
		return "", 0, err
	}
	var port [2]byte
	if _, err := io.ReadFull(a.in, port[:]); err != nil {
		return "", 0, fmt.Errorf("read port: %w", err)
	}
	if request[1] != socksConnect {
		return "", 0, &Refusal{Rule: RuleRequest, Reason: "only CONNECT is served: no BIND, no UDP"}
	}
	return host, binary.BigEndian.Uint16(port[:]), nil
}

// socksHost reads an address of a type.
func socksHost(in io.Reader, kind byte) (string, error) {
	length := map[byte]int{socksIPv4: 4, socksIPv6: 16}[kind]
	if kind == socksName {
		var n [1]byte
		if _, err := io.ReadFull(in, n[:]); err != nil {
			return "", fmt.Errorf("read length of name: %w", err)
		}
		length = int(n[0])
	}
	if length == 0 {
		return "", &Refusal{Rule: RuleRequest, Reason: "it names no address"}
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(in, text); err != nil {
		return "", fmt.Errorf("read address: %w", err)
	}
	if kind == socksName {
		return string(text), nil
	}
	addr, _ := netip.AddrFromSlice(text)
	return addr.String(), nil
}

func (socks5) grant(a *asking) error { return socksReply(a, socksGranted) }

func (socks5) refuse(a *asking, r *Refusal) {
	reply := byte(socksFailed)
	switch r.Rule {
	case RuleDenied, RuleProhibited:
		reply = socksNotAllowed
	case RuleDNS, RuleUnreachable:
		reply = socksUnreachable
	case RuleRequest:
		reply = socksBadCommand
	}
	_ = socksReply(a, reply)
}

func socksReply(a *asking, reply byte) error {
	_, err := a.out.Write([]byte{socksVersion, reply, 0, socksIPv4, 0, 0, 0, 0, 0, 0})
	return err
}
