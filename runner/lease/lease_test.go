package lease

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/boottime"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/privatefile/privatefiletest"
)

// vault revokes, or says that it is down.
type vault struct {
	mu      sync.Mutex
	down    bool
	revoked []string
	tries   int
}

func (v *vault) Revoke(_ context.Context, accessor string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tries++
	if v.down {
		return errors.New("it is down")
	}
	v.revoked = append(v.revoked, accessor)
	return nil
}

func (v *vault) set(down bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.down = down
}

func (v *vault) got() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Sorted(slices.Values(v.revoked))
}

func open(t *testing.T, dir string, v *vault) *Book {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	b, err := Open(dir, map[string]credential.Revoker{"vault": v}, log)
	if err != nil {
		t.Fatal(err)
	}
	b.Recover()
	return b
}

func shut(t *testing.T, b *Book) {
	t.Helper()
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func keep(t *testing.T, h *Holding, accessor string) {
	t.Helper()
	of := credential.Lease{Accessor: accessor, Ends: boottime.Now().Add(time.Hour)}
	if err := h.Keep(policy.Credential{Env: "TOKEN_" + accessor, Provider: "vault"}, of); err != nil {
		t.Fatal(err)
	}
}

// files are what is written down.
func files(t *testing.T, dir string) int {
	t.Helper()
	names, err := filepath.Glob(dir + "/*" + suffix)
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, ok := got.([]string); ok && slices.Equal(g, want.([]string)) || !ok && got == want {
		return
	}
	t.Errorf("%s: %v, want %v", what, got, want)
}

func TestLeasesOfAnEndedSandboxAreRevokedAndNoOthers(t *testing.T) {
	dir, v := t.TempDir()+"/leases", &vault{}
	b := open(t, dir, v)
	one, two := b.Hold("one", "p"), b.Hold("two", "p")
	keep(t, one, "a")
	keep(t, one, "b")
	keep(t, two, "c")
	want(t, "written down", files(t, dir), 3)
	want(t, "state", one.List()[0].State, Live)
	one.Release()
	shut(t, b)
	want(t, "revoked", v.got(), []string{"a", "b"})
	want(t, "written down", files(t, dir), 1)
	want(t, "state", one.List()[1].State, Revoked)
	want(t, "state", two.List()[0].State, Live)
}

func TestLeaseThatComesTooLateIsRevoked(t *testing.T) {
	dir, v := t.TempDir()+"/leases", &vault{}
	b := open(t, dir, v)
	h := b.Hold("one", "p")
	h.Release()
	if err := h.Keep(policy.Credential{Provider: "vault"}, credential.Lease{Accessor: "late"}); !errors.Is(err, errReleased) {
		t.Error(err)
	}
	b.Discard("vault", credential.Lease{Accessor: "nobody's"})
	shut(t, b)
	want(t, "revoked", v.got(), []string{"late", "nobody's"})
	want(t, "written down", files(t, dir), 0)
}

func TestLeaseThatCannotBeWrittenDownIsRevokedAndRefused(t *testing.T) {
	dir, v := t.TempDir()+"/leases", &vault{}
	b := open(t, dir, v)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := b.Hold("one", "p").Keep(policy.Credential{Provider: "vault"}, credential.Lease{Accessor: "a"}); err == nil {
		t.Error("it was kept")
	}
	shut(t, b)
	want(t, "revoked", v.got(), []string{"a"})
}

// Whatever the disk says no to, and even where the lease's file is there by then.
func TestLeaseWhoseWritingFailsIsRevokedAndLeavesNothing(t *testing.T) {
	dir, v := t.TempDir()+"/leases", &vault{}
	b := open(t, dir, v)
	h := b.Hold("one", "p")
	steps, err := privatefiletest.Steps(func() error { keep(t, h, "kept"); return nil })
	if err != nil || len(steps) == 0 {
		t.Fatal(steps, err)
	}
	for _, step := range steps {
		err := privatefiletest.Fail(step, unix.ENOSPC, func() error {
			return h.Keep(policy.Credential{Provider: "vault"}, credential.Lease{Accessor: step})
		})
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s: %v", step, err)
		}
	}
	shut(t, b)
	want(t, "revoked", v.got(), slices.Sorted(slices.Values(steps)))
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Errorf("left: %v, %v", names, err)
	}
}

// A lease is on the disk, whole, before Keep returns, and before that it is
// there whole or not at all.
func TestLeaseOfASupervisorThatIsKilledWhileItWritesIsWholeOrNotThere(t *testing.T) {
	steps, err := privatefiletest.Steps(func() error { keep(t, open(t, t.TempDir()+"/leases", &vault{}).Hold("one", "p"), "a"); return nil })
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range steps {
		dir, v := t.TempDir()+"/leases", &vault{}
		h := open(t, dir, v).Hold("one", "p")
		if !privatefiletest.Kill(step, func() error { keep(t, h, "a"); return nil }) {
			t.Fatalf("it was not killed before it could %s", step)
		}
		shut(t, open(t, dir, v))
		var revoked []string
		if i > slices.Index(steps, "replace file") {
			revoked = []string{"a"}
		}
		want(t, "revoked after "+step, v.got(), revoked)
		names, _ := os.ReadDir(dir)
		want(t, "left after "+step, len(names), 0)
	}
}

// TestNextSupervisorRevokesWhatAKilledOneLeft opens the book again without
// having closed it.
func TestNextSupervisorRevokesWhatAKilledOneLeft(t *testing.T) {
	dir, v := t.TempDir()+"/leases", &vault{}
	keep(t, open(t, dir, v).Hold("one", "p"), "a")
	if err := os.WriteFile(dir+"/x.json.partial", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, "revoked", v.got(), []string(nil))
	shut(t, open(t, dir, v))
	want(t, "revoked", v.got(), []string{"a"})
	names, _ := os.ReadDir(dir)
	want(t, "left", len(names), 0)
}

func TestVaultThatIsDownIsAskedAgainUntilTheLeaseEnds(t *testing.T) {
	dir := t.TempDir() + "/leases"
	synctest.Test(t, func(t *testing.T) {
		v := &vault{down: true}
		b := open(t, dir, v)
		h := b.Hold("one", "p")
		keep(t, h, "a")
		h.Release()
		time.Sleep(10 * time.Minute)
		if pending := b.Pending(); len(pending) != 1 || pending[0].Problem != "it is down" || pending[0].State != Revoking {
			t.Errorf("pending %+v", pending)
		}
		want(t, "written down", files(t, dir), 1)
		v.set(false)
		time.Sleep(lastWait)
		synctest.Wait()
		want(t, "revoked", v.got(), []string{"a"})
		want(t, "written down", files(t, dir), 0)

		v.set(true)
		h = b.Hold("two", "p")
		keep(t, h, "b")
		h.Release()
		time.Sleep(time.Hour + 2*clockSlack)
		synctest.Wait()
		want(t, "state", h.List()[0].State, Expired)
		want(t, "written down", files(t, dir), 0)
		if v.tries > 300 {
			t.Errorf("%d tries", v.tries)
		}
		shut(t, b)
	})
}

func TestOperatorRevokesAtOnceAndIsToldWhatFails(t *testing.T) {
	dir, v := t.TempDir()+"/leases", &vault{down: true}
	b := open(t, dir, v)
	keep(t, b.Hold("one", "p"), "a")
	keep(t, b.Hold("two", "q"), "b")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	ofP := func(e Entry) bool { return e.Policy == "p" }
	rows := b.Revoke(ctx, ofP)
	if len(rows) != 1 || rows[0].State != Revoking || rows[0].Problem == "" {
		t.Errorf("down: %+v", rows)
	}
	v.set(false)
	rows = b.Revoke(t.Context(), ofP)
	if len(rows) == 1 && rows[0].State != Revoked {
		t.Errorf("up: %+v", rows)
	}
	want(t, "revoked", v.got(), []string{"a"})
	if rows = b.Revoke(t.Context(), ofP); len(rows) != 0 {
		t.Errorf("again: %+v", rows)
	}
	shut(t, b)
}

func TestBookThatOthersCanUseOrThatIsOddIsRefused(t *testing.T) {
	const good = `{"provider":"vault","accessor":"a"}`
	put := func(text string) func(string) error {
		return func(dir string) error { return os.WriteFile(dir+"/x.json", []byte(text), 0o600) }
	}
	for name, c := range map[string]struct {
		put   func(dir string) error
		words string // none: it is accepted
	}{
		"control":           {put(good), ""},
		"mode":              {func(dir string) error { return os.Chmod(dir, 0o750) }, "0750"},
		"another's":         {func(dir string) error { return os.Chown(dir, 12345, 0) }, "uid 12345"},
		"mode of a file":    {func(dir string) error { return errors.Join(put(good)(dir), os.Chmod(dir+"/x.json", 0o640)) }, "0640"},
		"file of another's": {func(dir string) error { return errors.Join(put(good)(dir), os.Chown(dir+"/x.json", 12345, 0)) }, "uid 12345"},
		"names no lease":    {put("{}"), "it names no lease"},
		"garbage":           {put("{"), "x.json"},
		"more than a lease": {put(good + strings.Repeat(" ", maxFile)), "are the most"},
		"symlink":           {func(dir string) error { return os.Symlink("/etc/passwd", dir+"/x.json") }, "x.json"},
		"symlink to the book": {func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".aside"), os.Symlink(dir+".aside", dir))
		}, "a symlink is not followed"},
		"FIFO": {func(dir string) error { return unix.Mkfifo(dir+"/x.json", 0o600) }, "not of the kind"},
	} {
		dir := t.TempDir() + "/leases"
		if err := errors.Join(os.Mkdir(dir, 0o700), c.put(dir)); err != nil {
			t.Fatal(err)
		}
		b, err := Open(dir, nil, logrus.New())
		if c.words == "" {
			if err != nil || len(b.leases) != 1 {
				t.Errorf("%s: %v", name, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v; want an error with %q", name, err, c.words)
		}
	}
}

func TestLoginIsRevokedWhenItsSupervisorStopsOrByTheNext(t *testing.T) {
	dir, v := t.TempDir()+"/leases", &vault{}
	b := open(t, dir, v)
	b.Remember("vault", credential.Lease{Accessor: "over", Ends: boottime.Now().Add(-time.Hour)})
	b.Remember("vault", credential.Lease{Accessor: "killed", Ends: boottime.Now().Add(time.Hour)})
	want(t, "written down", files(t, dir), 1)
	if rows := b.Revoke(t.Context(), func(Entry) bool { return true }); len(rows) != 0 {
		t.Errorf("an operator revoked %+v", rows)
	}
	b = open(t, dir, v) // as after a kill
	b.Remember("vault", credential.Lease{Accessor: "first"})
	b.Remember("vault", credential.Lease{Accessor: "second"})
	shut(t, b)
	want(t, "revoked", v.got(), []string{"first", "killed", "second"})
	want(t, "in their order", v.revoked[len(v.revoked)-1], "second")
	want(t, "written down", files(t, dir), 0)

	b = open(t, dir, v)
	b.Remember("vault", credential.Lease{Accessor: "vault is down"})
	v.set(true)
	if err := b.Close(t.Context()); err == nil {
		t.Error("a login that could not be revoked is no error")
	}
	want(t, "written down", files(t, dir), 1)
	v.set(false)
	shut(t, open(t, dir, v))
	want(t, "revoked", v.got(), []string{"first", "killed", "second", "vault is down"})
}
