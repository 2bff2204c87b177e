package internet

import (
	"net"
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// names is a name server that answers with what a test says, and counts.
type names struct {
	mu    sync.Mutex
	known map[string][][]netip.Addr // answers in turn; the last stays
	asked []string
}

// Name gives a name its addresses. Several answers come in turn, for each
// question of either family, and the last one stays: a name that changes what
// it means (DNS rebinding).
func (i *Internet) Name(name string, answers ...string) {
	i.names.mu.Lock()
	defer i.names.mu.Unlock()
	i.names.known[name] = nil
	for _, answer := range answers {
		var addresses []netip.Addr
		for text := range strings.FieldsSeq(answer) {
			addresses = append(addresses, netip.MustParseAddr(text))
		}
		i.names.known[name] = append(i.names.known[name], addresses)
	}
}

// Asked are the names that were asked for since it was last called.
func (i *Internet) Asked() []string {
	i.names.mu.Lock()
	defer i.names.mu.Unlock()
	asked := i.names.asked
	i.names.asked = nil
	return asked
}

func (i *Internet) serveNames() *names {
	i.t.Helper()
	n := &names{known: map[string][][]netip.Addr{}}
	var socket net.PacketConn
	i.do(func() (err error) {
		socket, err = net.ListenPacket("udp4", nameServer+":53")
		return err
	})
	i.t.Cleanup(func() { socket.Close() })
	go func() {
		question := make([]byte, 1500)
		for {
			size, from, err := socket.ReadFrom(question)
			if err != nil {
				return
			}
			if answer, err := n.answer(question[:size]); err == nil {
				_, _ = socket.WriteTo(answer, from)
			}
		}
	}()
	return n
}

func (n *names) answer(raw []byte) ([]byte, error) {
	var message dnsmessage.Message
	if err := message.Unpack(raw); err != nil || len(message.Questions) != 1 {
		return nil, err
	}
	question := message.Questions[0]
	message.Header = dnsmessage.Header{ID: message.ID, Response: true, RecursionDesired: true, RecursionAvailable: true}
	message.Additionals = nil
	known, addresses := n.next(strings.TrimSuffix(question.Name.String(), "."), question.Type)
	if !known {
		message.RCode = dnsmessage.RCodeNameError
	}
	for _, addr := range addresses {
		resource := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class, TTL: 1}}
		if addr.Is4() {
			resource.Body = &dnsmessage.AResource{A: addr.As4()}
		} else {
			resource.Body = &dnsmessage.AAAAResource{AAAA: addr.As16()}
		}
		message.Answers = append(message.Answers, resource)
	}
	return message.Pack()
}

// next takes the answer that is due for a question.
func (n *names) next(name string, family dnsmessage.Type) (known bool, addresses []netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, name)
	answers := n.known[name]
	if len(answers) == 0 {
		return false, nil
	}
	for _, addr := range answers[0] {
		if addr.Is4() == (family == dnsmessage.TypeA) {
			addresses = append(addresses, addr)
		}
	}
	if len(answers) > 1 && family == dnsmessage.TypeA {
		n.known[name] = answers[1:]
	}
	return true, addresses
}
