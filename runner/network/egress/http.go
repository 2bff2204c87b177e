package egress

import (
	"fmt"
	"net"
	"net/http"
)

// httpConnect is HTTP/1 with the one method CONNECT (RFC 9110 9.3.6).
type httpConnect struct{}

func (httpConnect) ask(a *asking) (string, uint16, error) {
	request, err := http.ReadRequest(a.in)
	if err != nil {
		return "", 0, &Refusal{Rule: RuleRequest, Reason: "it is no request of HTTP or SOCKS5"}
	}
	switch {
	case request.Method != http.MethodConnect:
		return "", 0, &Refusal{Rule: RuleRequest, Reason: "only CONNECT is served: what is carried is TLS, never plain HTTP"}
	case request.ContentLength != 0 || len(request.TransferEncoding) > 0:
		return "", 0, &Refusal{Rule: RuleRequest, Reason: "a CONNECT request has no content (RFC 9110 9.3.6)"}
	}
	// The request's target itself, and no other place that could name another.
	host, digits, err := net.SplitHostPort(request.RequestURI)
	if err != nil {
		return "", 0, &Refusal{Rule: RuleRequest, Reason: "the target of CONNECT is not HOST:PORT"}
	}
	n, err := port(digits)
	if err != nil {
		return "", 0, &Refusal{Rule: RuleRequest, Reason: err.Error()}
	}
	return host, n, nil
}

func (httpConnect) grant(a *asking) error {
	_, err := a.out.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n"))
	return err
}

// status are the codes of RFC 9209 2.3 for each rule.
var status = map[string]int{
	RuleRequest: http.StatusBadRequest, RuleDenied: http.StatusForbidden, RuleProhibited: http.StatusForbidden,
	RuleDNS: http.StatusBadGateway, RuleUnreachable: http.StatusBadGateway,
}

func (httpConnect) refuse(a *asking, r *Refusal) {
	code := status[r.Rule]
	body := "creel: " + r.Error() + "\n"
	_, _ = fmt.Fprintf(a.out, "HTTP/1.1 %d %s\r\nProxy-Status: creel; error=%s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		code, http.StatusText(code), r.Rule, len(body), body)
}
