package main

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/initproto"
)

// A stream that is not the protocol, at any place, ends that sandbox.
func TestForgedFramesEndTheSandbox(t *testing.T) {
	hello := initproto.Frame{Type: initproto.TypeHello, Body: initproto.Hello{Version: initproto.Version}.Encode()}
	body, err := command("/bin/true").Encode()
	must(t, err)
	for name, raw := range map[string][]byte{
		"unknown type":  {0xee, 0, 0, 0, 0},
		"own frame":     append([]byte{byte(hello.Type), 0, 0, 0, 2}, hello.Body...),
		"oversize":      {byte(initproto.TypeSetup), 0xff, 0xff, 0xff, 0xff},
		"job too early": append([]byte{byte(initproto.TypeJob), 0, 0, 0, byte(len(body))}, body...),
		"malformed":     {byte(initproto.TypeSetup), 0, 0, 0, 1, 9},
	} {
		t.Run(name, func(t *testing.T) {
			b, socket := newBoxWithSocket(t, engineOptions{})
			_, err = unix.Write(socket, raw)
			must(t, err)
			<-b.ended // while our end is still open
		})
	}
	// The control: the same order of things, done right, stays.
	b := ready(t, engineOptions{})
	must(t, b.start(command("/bin/true")))
	b.finish("")
}

// The supervisor's end refuses to send these, so they are written past it.
func TestSecondJobEndsTheSandbox(t *testing.T) {
	body, err := command("/bin/true").Encode()
	must(t, err)
	for name, f := range map[string]initproto.Frame{
		"second job":         {Type: initproto.TypeJob, Body: body, FDs: []int{0, 1, 2}},
		"second setup":       {Type: initproto.TypeSetup, Body: []byte{0}},
		"resize of a pipe":   {Type: initproto.TypeResize, Body: make([]byte, 4)},
		"signal 0":           {Type: initproto.TypeSignal, Body: []byte{0}},
		"signal with a file": {Type: initproto.TypeSignal, Body: []byte{10}, FDs: []int{0}},
	} {
		t.Run(name, func(t *testing.T) {
			b, socket := newBoxWithSocket(t, engineOptions{})
			_, err := b.Handshake(b.context(), initproto.Setup{})
			must(t, err)
			must(t, b.start(probe("signal-group")))
			b.readUntil("listening\n")
			wire := initproto.NewConn(socket)
			signal := initproto.Signal{Number: int(unix.SIGUSR1)}
			must(t, wire.Send(initproto.Frame{Type: initproto.TypeSignal, Body: signal.Encode()}))
			b.readUntil("user defined signal 1\n") // the control: this way works
			must(t, wire.Send(f))
			<-b.ended
			if _, err := b.Wait(); !errors.Is(err, initproto.ErrGone) {
				t.Errorf("wait: %v", err)
			}
		})
	}
}

func TestCancelledStartEndsTheSandbox(t *testing.T) {
	b := ready(t, engineOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Start(ctx, command("/bin/true"), b.inside); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-b.ended
}
