package credential

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/creel-sandbox/creel/runner/credential/locked"
)

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mapping is a part of this process's memory (proc_pid_smaps(5)).
type mapping struct {
	start, end uintptr
	mode       string
	flags      []string
}

func mappings(t *testing.T) []mapping {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	noError(t, err)
	var all []mapping
	for line := range strings.Lines(string(smaps)) {
		var m mapping
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &m.start, &m.end, &m.mode); n == 3 {
			all = append(all, m)
		} else if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok {
			all[len(all)-1].flags = strings.Fields(flags)
		}
	}
	return all
}

// copies counts how often this process's memory has the value, where it is
// locked and where it is not. It makes no copy of its own elsewhere.
func copies(t *testing.T, value []byte) (inLocked, elsewhere int) {
	t.Helper()
	mem, err := os.Open("/proc/self/mem")
	noError(t, err)
	defer func() { noError(t, mem.Close()) }()
	window, err := locked.New(128 << 10)
	noError(t, err)
	defer window.Free()
	own := uintptr(unsafe.Pointer(&window.Bytes()[0]))
	for _, m := range mappings(t) {
		if !strings.HasPrefix(m.mode, "rw") {
			continue
		}
		parts := [][2]uintptr{{m.start, m.end}}
		if m.start <= own && own < m.end { // the kernel joins mappings of one kind that touch: there is more in it
			parts = [][2]uintptr{{m.start, own}, {own + uintptr(len(window.Bytes())), m.end}}
		}
		found := 0
		for _, part := range parts {
			step := uintptr(len(window.Bytes()) - len(value))
			for at := part[0]; at < part[1]; at += step {
				n, _ := mem.ReadAt(window.Bytes()[:min(uintptr(len(window.Bytes())), part[1]-at)], int64(at)) // what is not there is not read
				found += bytes.Count(window.Bytes()[:n], value)
			}
		}
		if slices.Contains(m.flags, "lo") && slices.Contains(m.flags, "dd") && slices.Contains(m.flags, "wf") {
			inLocked += found
		} else {
			elsewhere += found
		}
	}
	return inLocked, elsewhere
}

// A helper and a file whose value no process but those that made it knows.
const makesAValue = "head -c 30 /dev/urandom | base64 -w0"

func TestFetchedValueIsInLockedMemoryAlone(t *testing.T) {
	dir := t.TempDir()
	make := exec.Command("sh", "-c", "umask 077; "+makesAValue+" >"+filepath.Join(dir, "token"))
	noError(t, make.Run())
	for name, from := range map[string]struct {
		provider  Provider
		reference string
	}{
		"systemd": {NewSystemd(dir), "token"},
		"exec":    {newExec(t, 10*time.Second), script(t, makesAValue+"; echo")},
	} {
		t.Run(name, func(t *testing.T) {
			before := locked.InUse()
			grant, err := from.provider.Fetch(t.Context(), Ask{Reference: from.reference})
			noError(t, err)
			if grant.Secret.Len() != 40 || locked.InUse() != before+40 {
				t.Fatalf("%d bytes, for which %d are in use", grant.Secret.Len(), locked.InUse()-before)
			}
			if safe, elsewhere := copies(t, grant.Secret.Reveal()); safe != 1 || elsewhere != 0 {
				t.Errorf("%d copies in locked memory and %d elsewhere, want 1 and none", safe, elsewhere)
			}
			careless := string(grant.Secret.Reveal()) // the control
			if _, elsewhere := copies(t, grant.Secret.Reveal()); elsewhere == 0 {
				t.Error("control: a copy on the heap is not found")
			}
			runtime.KeepAlive(&careless)
			grant.Secret.Destroy()
			if got := locked.InUse(); got != before {
				t.Errorf("after Destroy %d bytes are in use, want %d", got, before)
			}
		})
	}
}

// What is longer than the first buffer is read whole, and what is too long
// leaves nothing.
func TestLongValueIsReadWholeAndTooLongOneLeavesNothing(t *testing.T) {
	provider := newExec(t, 10*time.Second)
	before := locked.InUse()
	for _, size := range []int{firstRead - 1, firstRead, firstRead + 1, 5*firstRead + 7, MaxValue} {
		grant, err := provider.Fetch(t.Context(), Ask{Reference: script(t, fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x", size))})
		if err != nil || grant.Secret.Len() != size || bytes.Count(grant.Secret.Reveal(), []byte("x")) != size {
			t.Errorf("of %d bytes %d are read: %v", size, grant.Secret.Len(), err)
		}
		grant.Secret.Destroy()
	}
	wantRefused(t, provider, script(t, fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x", MaxValue+2)), "more than 65536 bytes")
	if got := locked.InUse(); got != before {
		t.Errorf("%d bytes are in use, want %d", got, before)
	}
}

func TestValueThatCannotBeLockedIsRefused(t *testing.T) {
	secret := NewSecret(make([]byte, locked.Limit+1))
	if err := CheckValue(secret); err == nil || !strings.Contains(err.Error(), "lock memory") {
		t.Errorf("got %v, want a refusal that says that memory was not locked", err)
	}
	if secret.Reveal() != nil || secret.Len() != 0 {
		t.Error("there is a value")
	}
	secret.Destroy()
}

// walk follows everything that reflection can reach, whether exported or not,
// as spew and its like do, and collects the bytes and strings it comes to.
func walk(v reflect.Value, seen map[uintptr]bool, out *bytes.Buffer) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() && !seen[v.Pointer()] {
			seen[v.Pointer()] = true
			walk(v.Elem(), seen, out)
		}
	case reflect.Interface:
		if !v.IsNil() {
			walk(v.Elem(), seen, out)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			walk(v.Field(i), seen, out)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			walk(key, seen, out)
			walk(v.MapIndex(key), seen, out)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			walk(v.Index(i), seen, out)
		}
	case reflect.String:
		out.WriteString(v.String())
	case reflect.Uint8:
		out.WriteByte(byte(v.Uint()))
	}
}

func TestSecretIsHiddenFromReflection(t *testing.T) {
	secret := NewSecret([]byte(canary))
	defer secret.Destroy()
	grant := Grant{Secret: secret}
	resolved := Resolved{Env: "TOKEN", Secret: secret}
	for name, v := range map[string]any{
		"a secret": secret, "a pointer": &secret, "a grant": grant, "what is resolved": []Resolved{resolved}, "a struct": newHolder(),
	} {
		var out bytes.Buffer
		walk(reflect.ValueOf(v), map[uintptr]bool{}, &out)
		wantHidden(t, name+" by reflection", out.String())
		wantHidden(t, name+" in %+v", fmt.Sprintf("%+v %#v", v, v))
	}
	var out bytes.Buffer
	walk(reflect.ValueOf(struct{ deep map[string]any }{map[string]any{"key": &struct{ b []byte }{[]byte(canary)}}}), map[uintptr]bool{}, &out)
	if !strings.Contains(out.String(), canary) {
		t.Errorf("control: plain bytes are not found: %q", out.String())
	}
}
