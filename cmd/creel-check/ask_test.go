package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

// checker is a supervisor that says what it is told to.
type checker struct {
	servertest.Host
	asked chan api.CheckRequest
	reply *api.CheckReply
	err   error
}

func (c *checker) CheckWorkspaces(_ context.Context, req *api.CheckRequest) (*api.CheckReply, error) {
	c.asked <- *req
	return c.reply, c.err
}

// searched writes a policy that has its workspace searched. Here is none: to
// search it would fail.
func searched(t *testing.T, secrets string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "searched.yaml")
	if err := os.WriteFile(file, []byte(goodPolicy+"hygiene: {secrets: "+secrets+"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// wantLines fails unless what was printed holds all of these words.
func (r ran) wantLines(t *testing.T, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(r.stdout, word) {
			t.Errorf("printed:\n%swant %q there", r.stdout, word)
		}
	}
}

const notComparedWords = "searched by the rules alone, and not compared with the exact values that creel manages"

func TestPolicyCheckHasTheSupervisorCompareExactValues(t *testing.T) {
	backend := &checker{asked: make(chan api.CheckRequest, 9), reply: &api.CheckReply{
		Findings: []string{"/workspace/note:3: the value of store:github"}, Uncovered: []string{"/workspace/far: not searched"},
		Compared: 2, Unknown: []string{"exec:/usr/bin/helper"}, Count: api.CheckCount{Files: 7, Objects: 5},
	}}
	_, sockets := servertest.Serve(t, server.Options{Backend: backend})
	for secrets, severity := range map[string]string{"refuse": "error", "warn": "warning"} {
		file := searched(t, secrets)
		got := checkAt(t, sockets.Admin, "policy", "check", file)
		got.want(t, map[string]int{"refuse": 1, "warn": 0}[secrets])
		got.wantLines(t, severity+": hygiene: /workspace/note:3: the value of store:github", severity+": hygiene: /workspace/far: not searched",
			"compared with the exact values of 2 credentials; the supervisor has no value now of exec:/usr/bin/helper\n", "searched 7 files and 5 objects of Git")
		if strings.Contains(got.stdout, notComparedWords) {
			t.Errorf("it searched by itself too: %s", got.stdout)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if asked := <-backend.asked; asked.File != file || string(asked.Policy) != string(text) {
			t.Errorf("asked for %+v", asked)
		}
	}
	plain := filepath.Join(policies(t), "good.yaml")
	checkAt(t, sockets.Admin, "policy", "check", plain).want(t, 0)
	checkAt(t, sockets.Admin, "policy", "show", searched(t, "refuse")).want(t, 0)
	if len(backend.asked) != 0 {
		t.Errorf("it was asked for a policy that has nothing searched: %+v", <-backend.asked)
	}
}

// That nobody can be asked is no fault of the policy. Whoever was asked and did
// not do it leaves open what the policy wants known.
func TestWhatWasNotComparedIsAProblemOfItsKind(t *testing.T) {
	for code, severity := range map[string]policy.Severity{
		api.CodeUnavailable: policy.SeverityWarning, api.CodeDenied: policy.SeverityWarning,
		api.CodeUnsupported: policy.SeverityError, api.CodeLost: policy.SeverityError, "hygiene": policy.SeverityError,
	} {
		err := &api.Error{Code: code, Message: "why not", Hint: "what to do"}
		got := notCompared(policy.Problem{Severity: policy.SeverityError}, err).String()
		want := string(severity) + ": the workspaces were " + notComparedWords + ": why not (hint: what to do)"
		if got != want {
			t.Errorf("%s: %q, want %q", code, got, want)
		}
		if got := notCompared(policy.Problem{Severity: policy.SeverityWarning}, err); got.Severity != policy.SeverityWarning {
			t.Errorf("%s: of a policy that warns: %s", code, got)
		}
	}
}
