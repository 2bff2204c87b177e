package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestHangingContenderIsNotTriedAgain(t *testing.T) {
	b := &bench{scale: scale{rounds: 1, budget: 1}}
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	c := &contender{name: "stuck", once: within(0, hang)}
	few, same, many := &cell{contender: c, callers: 1}, &cell{contender: c, callers: 2}, &cell{contender: c, callers: 3}
	if !same.worthwhile(b) {
		t.Error("control: it was not tried at all")
	}
	if took := same.call(t.Context(), func(int64) bool { return true }); len(took) != 0 || same.failed != 2 || !strings.Contains(same.failure, "it hung, for 0s") {
		t.Errorf("%v, %d failed: %s", took, same.failed, same.failure)
	}
	if same.worthwhile(b) || many.worthwhile(b) || !few.worthwhile(b) {
		t.Error("it is tried again with as many callers or more, or not with fewer")
	}
	if got := many.row().Note; got != "not tried: it hung before" {
		t.Errorf("the row of what was not tried says %q", got)
	}
}

func TestFailureIsNotTakenForHanging(t *testing.T) {
	broken := errors.New("broken")
	c := &cell{contender: &contender{once: within(1<<40, func(context.Context) error { return broken })}, callers: 1}
	c.call(t.Context(), func(int64) bool { return true })
	if c.failure != "broken" || c.hangs() {
		t.Errorf("%q, hangs: %v", c.failure, c.hangs())
	}
}

func TestOnlyWhatIsNeededIsStarted(t *testing.T) {
	for _, c := range []struct {
		only, match string
		supervisors []string
		docker      bool
	}{
		{"", "", makers, true},
		{"drift", "", makers[:1], false},
		{"latency", "bwrap", nil, false},
		{"latency", "^docker", nil, true},
		{"latency,many", "runc", []string{"runc"}, false},
		{"memory", "crun|runc", makers[:2], false},
	} {
		b := &bench{options: options{only: c.only, match: c.match}}
		if err := b.choose(); err != nil {
			t.Fatal(err)
		}
		var supervisors []string
		for _, maker := range makers {
			if b.needs(maker) {
				supervisors = append(supervisors, maker)
			}
		}
		if docker := b.measures(dockerRun, dockerExec); !slices.Equal(supervisors, c.supervisors) || docker != c.docker {
			t.Errorf("-only %q -match %q: %v, docker %v", c.only, c.match, supervisors, docker)
		}
	}
	for _, o := range []options{{only: "latency,nothing"}, {match: "("}} {
		if err := (&bench{options: o}).choose(); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}
