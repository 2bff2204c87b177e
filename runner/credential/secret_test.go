package credential

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"go.yaml.in/yaml/v4"
)

const canary = "canary-5f2c-value"

// TestMain plays another process when it is started with these arguments.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 {
		switch os.Args[1] {
		case "panic-with":
			panicWith(os.Args[2], NewSecret([]byte(canary)))
		case "fetch":
			provider, err := NewExec()
			if err == nil {
				_, err = provider.Fetch(context.Background(), Ask{Reference: os.Args[2]})
			}
			log.Fatal(err)
		}
	}
	os.Exit(m.Run())
}

// holder has a secret in each place where printers look for it.
type holder struct {
	Exported Secret
	hidden   Secret
	Pointer  *Secret
	Any      any
	List     []Secret
	Map      map[string]Secret
}

func newHolder() holder {
	s := NewSecret([]byte(canary))
	return holder{s, s, &s, s, []Secret{s}, map[string]Secret{"key": s}}
}

// spellings are the forms in which a printer might show a value.
func spellings(value string) []string {
	return []string{
		value,
		fmt.Sprintf("%x", value), fmt.Sprintf("%X", value), fmt.Sprintf("% x", value),
		fmt.Sprint([]byte(value)), fmt.Sprintf("%#v", []byte(value)),
		strings.Trim(fmt.Sprint([]byte(value)), "[]"),
	}
}

func wantHidden(t *testing.T, how, output string) {
	t.Helper()
	for _, spelling := range spellings(canary) {
		if strings.Contains(output, spelling) {
			t.Errorf("%s shows the value: %s", how, output)
		}
	}
}

func TestSecretIsHiddenFromEveryVerb(t *testing.T) {
	h := newHolder()
	for _, verb := range strings.Fields("%v %+v %#v %s %q %x %X %d %o %b %c %U %t %e %p %T %20s %-20v %#x %+q %08d %!") {
		for what, value := range map[string]any{"secret": h.Exported, "pointer": h.Pointer, "struct": h, "pointer to struct": &h, "slice": h.List, "map": h.Map} {
			wantHidden(t, verb+" of a "+what, fmt.Sprintf(verb, value))
		}
	}
	// The control: the same struct with plain bytes shows them.
	if got := fmt.Sprintf("%s %v", []byte(canary), struct{ b []byte }{[]byte(canary)}); !strings.Contains(got, spellings(canary)[6]) || !strings.Contains(got, canary) {
		t.Errorf("control: %s", got)
	}
	for _, verb := range []string{"%v", "%s", "%x", "%d", "%#v"} {
		if got := fmt.Sprintf(verb, h.Exported); got != hidden {
			t.Errorf("%s prints %q, want %q", verb, got, hidden)
		}
	}
	if got := fmt.Sprint(h.Exported.String(), h.Exported.GoString()); got != hidden+hidden {
		t.Errorf("String and GoString give %q", got)
	}
	// A printer that walks unexported fields by force.
	exporter := cmp.Exporter(func(reflect.Type) bool { return true })
	diff := cmp.Diff(struct{ h holder }{h}, struct{ h holder }{}, exporter)
	if !strings.Contains(diff, "hidden") {
		t.Errorf("control: the diff does not look inside: %s", diff)
	}
	wantHidden(t, "cmp.Diff", diff)
}

func TestSecretIsHiddenFromEncoders(t *testing.T) {
	h := newHolder()
	type record struct {
		Secret  Secret
		Pointer *Secret
		Map     map[string]Secret `xml:"-"`
	}
	type plain struct{ Secret string }
	exported := record{h.Exported, h.Pointer, h.Map}
	for how, encode := range map[string]func(any) ([]byte, error){
		"json": json.Marshal, "yaml": yaml.Marshal, "xml": func(v any) ([]byte, error) { return xml.Marshal(v) },
	} {
		if got, err := encode(plain{canary}); err != nil || !strings.Contains(string(got), canary) {
			t.Errorf("control: %s of a plain text: %s, %v", how, got, err)
		}
		got, err := encode(exported)
		if err != nil || !strings.Contains(string(got), "[secret]") {
			t.Errorf("%s: %s, %v", how, got, err)
		}
		wantHidden(t, how, string(got))
		if got, err := encode(h.Exported); err == nil {
			wantHidden(t, how, string(got))
		}
	}
	if text, err := h.Exported.MarshalText(); err != nil || string(text) != hidden {
		t.Errorf("text: %s, %v", text, err)
	}
	if data, err := h.Exported.MarshalBinary(); err == nil {
		t.Errorf("binary: %q", data)
	}
	var out bytes.Buffer
	if err := gob.NewEncoder(&out).Encode(exported); err == nil {
		t.Error("gob: encoded")
	}
	wantHidden(t, "gob", out.String())
	if err := gob.NewEncoder(&out).Encode(plain{canary}); err != nil || !strings.Contains(out.String(), canary) {
		t.Errorf("control: gob of a plain text: %q, %v", out.String(), err)
	}
}

func TestSecretIsHiddenFromLogs(t *testing.T) {
	h := newHolder()
	var out bytes.Buffer
	for _, formatter := range []logrus.Formatter{&logrus.TextFormatter{}, &logrus.JSONFormatter{}} {
		logger := logrus.New()
		logger.SetOutput(&out)
		logger.SetFormatter(formatter)
		logger.WithFields(logrus.Fields{"secret": h.Exported, "pointer": h.Pointer, "struct": h, "list": h.List}).
			WithError(fmt.Errorf("wrap %v: %w", h.Exported, errors.New("cause"))).Error(h.Exported)
		logger.Infof("%v %+v", h, &h)
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("message", "secret", h.Exported, "pointer", h.Pointer, "struct", h, "list", h.List)
	}
	log.New(&out, "", 0).Print(h.Exported, h, &h)
	if strings.Count(out.String(), hidden) < 8 {
		t.Errorf("control: the logs hold too few secrets: %s", out.String())
	}
	wantHidden(t, "a log", out.String())
	log.New(&out, "", 0).Print(canary)
	if !strings.Contains(out.String(), canary) {
		t.Errorf("control: a plain text is not logged: %s", out.String())
	}
}

// panicWith ends the process by a panic with the secret in reach of it.
//
//go:noinline
func panicWith(what string, secret Secret) {
	h := newHolder()
	switch what {
	case "plain": // the control
		panic(string(secret.Reveal()))
	case "secret":
		panic(secret)
	case "struct":
		panic(h)
	case "error":
		panic(fmt.Errorf("with %v in %+v", secret, h))
	case "print":
		panic(fmt.Sprintf("%#v %x", h, secret))
	case "nested":
		defer func() { panic(secret) }()
		panic(&h)
	}
}

func TestSecretIsHiddenFromPanics(t *testing.T) {
	for _, what := range []string{"plain", "secret", "struct", "error", "print", "nested"} {
		cmd := exec.Command("/proc/self/exe", "panic-with", what)
		cmd.Env = []string{"GOTRACEBACK=system"}
		output, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(output), "goroutine 1") {
			t.Errorf("%s: no panic: %v\n%s", what, err, output)
		}
		if what == "plain" {
			if !strings.Contains(string(output), canary) {
				t.Errorf("control: %s", output)
			}
			continue
		}
		wantHidden(t, "panic with "+what, string(output))
	}
}

func TestDestroyWipesTheValueForEveryCopy(t *testing.T) {
	value := []byte(canary)
	s := NewSecret(value)
	other := s
	if string(s.Reveal()) != canary || s.Len() != len(canary) {
		t.Fatalf("control: %q", s.Reveal())
	}
	if !bytes.Equal(value, make([]byte, len(value))) {
		t.Errorf("where the value came from still holds %q", value)
	}
	revealed := s.Reveal()
	if cap(revealed) != len(revealed) {
		t.Error("an append to the revealed value would write behind it")
	}
	other.Destroy()
	if s.Reveal() != nil || s.Len() != 0 {
		t.Errorf("after Destroy: %q", s.Reveal())
	}
	if !bytes.Equal(revealed, make([]byte, len(revealed))) {
		t.Errorf("the memory still holds %q", revealed)
	}
	s.Destroy()
	Secret{}.Destroy()
	if (Secret{}).Reveal() != nil || fmt.Sprint(Secret{}) != hidden {
		t.Error("the zero secret")
	}
}
