package program

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestTerminalObeysNothingThatASandboxPrinted(t *testing.T) {
	for text, want := range map[string]string{
		"plain\n\tGrüße, 世界 🙂\n":         "plain\n\tGrüße, 世界 🙂\n",
		"as on a terminal\r\n":           "as on a terminal\n",
		"\x1b]52;c;cm0gLXJm\x07":         `\x1b]52;c;cm0gLXJm\x07`,
		"\x1b[1A\x1b[2Knothing here":     `\x1b[1A\x1b[2Knothing here`,
		"\u009b2J, and in one byte \x9b": `\xc2\x9b2J, and in one byte \x9b`,
		"over\rwritten\b\x00\x7f":        `over\x0dwritten\x08\x00\x7f`,
		"\u202eturned round":             `\xe2\x80\xaeturned round`,
		"a broken one \xe2\x80 \ufffd":   `a broken one \xe2\x80 ` + "\ufffd",
	} {
		for size := 1; size <= len(text); size++ {
			var out strings.Builder
			v := &visible{to: &out}
			for rest := text; rest != ""; rest = rest[min(size, len(rest)):] {
				if n, err := v.Write([]byte(rest[:min(size, len(rest))])); err != nil || n != min(size, len(rest)) {
					t.Fatalf("wrote %d: %v", n, err)
				}
			}
			if out.String() != want {
				t.Errorf("%q by %d bytes is shown as %q, want %q", text, size, &out, want)
			}
		}
	}
}

func TestTerminalObeysNothingInJSON(t *testing.T) {
	const text = "\u009b2J \x7f \u202e \U000e0001 \u00ad <&> Grüße 🙂\n"
	var out strings.Builder
	if err := JSON(&out, map[string]string{"command": text}); err != nil {
		t.Fatal(err)
	}
	const want = "{\n  \"command\": \"\\u009b2J \\u007f \\u202e \\udb40\\udc01 \\u00ad <&> Grüße 🙂\\n\"\n}\n"
	if out.String() != want {
		t.Errorf("printed %q, want %q", &out, want)
	}
	var back map[string]string
	if err := json.Unmarshal([]byte(out.String()), &back); err != nil || back["command"] != text {
		t.Errorf("it is read as %q: %v", back, err)
	}
}
