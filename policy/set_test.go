package policy

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func named(name string) *fstest.MapFile { return file(with("name: " + name)) }

func TestSetHoldsEveryPolicyOfTheDirectory(t *testing.T) {
	set, problems := LoadSet(fstest.MapFS{
		"etc/p/b.yaml":            named("b"),
		"etc/p/a.yaml":            named("a"),
		"etc/p/.a.yaml.swp":       file("junk"),
		"etc/p/.hidden.yaml":      file("junk"),
		"etc/p/README.md":         file("junk"),
		"etc/p/a.yaml~":           file("junk"),
		"etc/p/old.yaml/c.yaml":   named("c"),
		"etc/elsewhere/else.yaml": named("else"),
	}, "/etc/p")
	if len(problems) > 0 || !slices.Equal(set.Names(), []string{"a", "b"}) {
		t.Fatalf("%s%v", lines(problems), set)
	}
	if p, ok := set.Get("b"); !ok || p.Name != "b" {
		t.Errorf("Get(b) = %v, %v", p, ok)
	}
	if doc, ok := set.Document("a"); !ok || doc.File != "/etc/p/a.yaml" {
		t.Errorf("Document(a) = %v, %v", doc, ok)
	}
	if p, ok := set.Get("c"); ok || p != nil {
		t.Errorf("Get(c) = %v, %v", p, ok)
	}
}

func TestOneBrokenFileLeavesNoSet(t *testing.T) {
	good := fstest.MapFS{"a.yaml": named("a")}
	if set, problems := LoadSet(good, "."); set == nil {
		t.Fatalf("the control was refused:\n%s", lines(problems))
	}
	for what, bad := range map[string]struct {
		file *fstest.MapFile
		name string
		says string
	}{
		"a problem inside":   {file(with("user: root")), "b.yaml", "b.yaml:8:7: error: user: the sandbox may not run as root"},
		"another name":       {named("c"), "b.yaml", `b.yaml:3:7: error: name: the name "c" is not the file's name "b"`},
		"an empty file":      {file(""), "b.yaml", "b.yaml: error: the file declares nothing"},
		"another extension":  {named("b"), "b.yml", "b.yml: error: a policy file ends in .yaml"},
		"an oversize file":   {file(minimal + "# " + strings.Repeat("x", MaxFileSize)), "b.yaml", "b.yaml: error: the file has"},
		"not a regular file": {&fstest.MapFile{Mode: fs.ModeNamedPipe}, "b.yaml", "b.yaml: error: cannot be read"},
	} {
		set, problems := LoadSet(fstest.MapFS{"a.yaml": named("a"), bad.name: bad.file}, ".")
		if set != nil || len(problems) != 1 || !strings.HasPrefix(problems[0].String(), bad.says) {
			t.Errorf("%s: set %v, problems:\n%s", what, set, lines(problems))
		}
	}
}

func TestAllFilesProblemsAreReportedTogether(t *testing.T) {
	_, problems := LoadSet(fstest.MapFS{
		"a.yaml": file(with("user: root", "owner: ''")), "b.yaml": file(with("kind: Agency")),
	}, ".")
	if got := keysOf(problems, SeverityError); !slices.Equal(got, []string{"owner", "user", "kind"}) {
		t.Errorf("problems:\n%s", lines(problems))
	}
}

func TestMissingDirectoryIsAProblemAndAnEmptyOneIsNot(t *testing.T) {
	if set, problems := LoadSet(fstest.MapFS{}, "/etc/none"); set != nil || len(problems) != 1 || problems[0].File != "/etc/none" {
		t.Errorf("missing: %v %v", set, problems)
	}
	set, problems := LoadSet(os.DirFS("/"), t.TempDir())
	if set == nil || len(set.Names()) != 0 || len(problems) != 0 {
		t.Errorf("empty: %v %v", set, problems)
	}
}

// A pipe in the directory must not block a reload, nor a link to one.
func TestPipeInTheDirectoryDoesNotBlock(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("pipe", filepath.Join(dir, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	set, problems := LoadSet(os.DirFS("/"), dir)
	if set != nil || len(problems) != 1 || problems[0].File != filepath.Join(dir, "link.yaml") {
		t.Errorf("set %v, problems:\n%s", set, lines(problems))
	}
}

func TestSetReviewCoversEveryPolicy(t *testing.T) {
	set, problems := LoadSet(fstest.MapFS{
		"a.yaml": file(with("name: a", "userNamespace: off")),
		"b.yaml": file(with("name: b", "mounts: [{kind: data, source: /srv/run/x, target: /x}]")),
	}, ".")
	if set == nil {
		t.Fatal(lines(problems))
	}
	got := set.Review(reviewDay, &Config{RuntimeDir: "/srv/run"})
	if len(got) != 2 || got[0].Key != "userNamespace" || got[0].Severity != SeverityWarning ||
		got[1].Key != "mounts[0].source" || got[1].Severity != SeverityError {
		t.Errorf("problems:\n%s", lines(got))
	}
	if got := set.Review(reviewDay, &Config{Strict: true}); len(got) != 1 || got[0].Severity != SeverityError {
		t.Errorf("strict:\n%s", lines(got))
	}
}

// An agent has commands of other policies run, and so its policy alone keeps
// nothing from it, nor what it keeps from them.
func TestPolicyMayNotOpenWhatIsAnAgents(t *testing.T) {
	agent := file(`{apiVersion: creel/v1, kind: Agent, name: agent, justification: test, owner: o@example.org, reviewBy: 2027-02-01, root: {dir: /srv/root}, user: "1000:1000", command: [a],
mounts: [{kind: state, source: /srv/agent/state, target: /state, mode: rw}, {kind: config, source: /srv/agent/config.json, target: /config.json}, {kind: data, source: /srv/shared/plugin, target: /plugin},
  {kind: workspace, source: /srv/workspace, target: /workspace, mode: rw}, {kind: workspace, source: /srv/agent/state/inner/work, target: /work, mode: rw}]}`)
	const state, written, root = `shows the state of agent agent, "/srv/agent/state"`, `what agent agent may only read, "/srv/shared/plugin", can be written`, `what agent agent may only read, "/srv/root", can be written`
	for key, says := range map[string]string{
		"source: /srv/workspace, target: /w, mode: rw":                   "",
		"source: /srv/workspace/sub, target: /w, mode: rw":               "",
		"source: /srv/agent/state/inner/work, target: /w, mode: rw":      "", // declared by the agent as well
		"source: /srv/agent/state/inner/work/deep, target: /w, mode: rw": "",
		"source: /srv/shared, target: /w":                                "",
		"source: /srv/shared/plugin/dist, target: /w":                    "",
		"source: /srv/agent-other, target: /w, mode: rw":                 "",
		"source: /srv/root/usr, target: /w":                              "",
		"source: /srv/agent/state, target: /w":                           state,
		"source: /srv/agent/state/inner, target: /w":                     state,
		"source: /srv/agent/state/other/deep, target: /w, mode: rw":      state,
		"source: /srv/agent, target: /w":                                 state,
		"source: /srv/shared/plugin, target: /w, mode: rw":               written,
		"source: /srv/shared/plugin/dist, target: /w, mode: rw":          written,
		"source: /srv/shared, target: /w, mode: rw":                      written,
		"source: /srv/agent/config.json, target: /w, mode: rw":           "can be written through",
		"source: /srv/root, target: /w, mode: rw":                        root,
		"source: /srv/root/usr/lib, target: /w, mode: rw":                root,
		"root: /srv/agent/state":                                         state,
		"root: /srv/agent/state/inner":                                   state,
		"root: /srv/root":                                                "",
	} {
		more, at := "mounts: [{kind: data, "+key+"}]", "mounts[0].source"
		if dir, ok := strings.CutPrefix(key, "root: "); ok {
			more, at = "root: {dir: "+dir+"}", "root.dir"
		}
		_, problems := LoadSet(fstest.MapFS{"agent.yaml": agent, "b.yaml": file(with("name: b", more))}, ".")
		if (says == "") != (len(problems) == 0) || says != "" && (len(problems) != 1 || problems[0].Key != at || problems[0].File != "b.yaml" || !strings.Contains(problems[0].Message, says)) {
			t.Errorf("%s:\n%s", key, lines(problems))
		}
	}
}

func TestSetSaysWhichPolicyShowsAPath(t *testing.T) {
	set, problems := LoadSet(fstest.MapFS{
		"host.yaml": file(with("name: host", "mounts: [{kind: data, source: /srv/data, target: /data}]")),
		"dir.yaml":  file(with("name: dir", "root: {dir: /srv/root}")),
	}, ".")
	if len(problems) > 0 {
		t.Fatal(lines(problems))
	}
	for path, want := range map[string]string{
		"/srv/data": "host", "/srv/data/deep/file": "host", "/srv/root/etc": "dir", "/usr/share/x": "host",
		"/srv/database": "", "/srv": "", "/root/token": "", ".": "", "": "",
	} {
		if got, shown := set.Shows(path); got != want || shown != (want != "") {
			t.Errorf("%q: %q, %v; want %q", path, got, shown, want)
		}
	}
}
