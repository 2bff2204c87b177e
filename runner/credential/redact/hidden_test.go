package redact

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestMatcherAndRedactorAreHiddenFromPrinters(t *testing.T) {
	const value = "zyxwvutsrqpo"
	m := matcher(t, value)
	r := NewRedactor(io.Discard, m)
	if _, err := r.Write([]byte(value[:10])); err != nil { // which it holds back
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		if got := fmt.Sprintf(verb+verb+verb+verb, m, *m, r, *r); got != "[matcher][matcher][redactor][redactor]" {
			t.Errorf("%s prints %.100q", verb, got)
		}
	}
	// The control: inside, both have it.
	if inside := fmt.Sprintf("%v", m.trie.nodes); !strings.Contains(inside, " 122}") || !strings.HasSuffix(string(r.held), value[:10]) {
		t.Errorf("control: %s, %q", inside, r.held)
	}
}
