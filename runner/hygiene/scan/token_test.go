package scan

import (
	"bytes"
	"strings"
	"testing"

	tokentext "github.com/creel-sandbox/creel/runner/token/text"
)

// An API token of creel's own is known by its form, in force or not.
func TestTokenOfCreelIsFoundInAFileAndInTheHistory(t *testing.T) {
	var random [tokentext.RandomBytes]byte
	copy(random[:], bytes.Repeat([]byte("random"), 6))
	token := string(tokentext.Append(nil, &random))
	for name, content := range map[string]string{
		".env": "CI=" + token + "\n", "notes": token, "a.json": `{"a":"` + token + `"}`, "url": "https://host/?t=" + token + "&x=1", "run.sh": "run " + strings.Repeat("x ", 100) + token + "\n",
	} {
		w := newWorkspace(t)
		w.write(name, strings.ReplaceAll(content, tokentext.Prefix, "crate_"))
		w.clean(w.search())
		w.write(name, "one\n"+content)
		if f := w.only(w.search()); f.Rule != "creel-api-token" || f.Line != 2 {
			t.Errorf("%s: %+v", name, f)
		}
	}
	w := newWorkspace(t)
	w.git("init", "-q", "-b", "main")
	w.commit("conf.ini", token+"\n")
	w.commit("conf.ini", "\n")
	if f := w.only(w.search()); f.Rule != "creel-api-token" || f.Commit == "" {
		t.Errorf("in the history: %+v", f)
	}
}
