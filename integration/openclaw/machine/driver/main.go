// Command driver is a test's hands in the machine: the stand-in for the model,
// and somebody who has it make calls.
//
//	driver model ADDRESS            serves until it is killed; /requests shows what it was sent
//	driver turn SESSION TOOL ARGS   prints the call's id, and what the model was told it gave
//	driver of CALL                  prints a call's sandboxes of what `creel ps -a --json` says
//
// The token of the gateway is in the environment. It may import package
// openclaw and testrig, and never talks to anything but the loopback.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/creel-sandbox/creel/integration/openclaw"
	"github.com/creel-sandbox/creel/integration/testrig"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "driver:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "model":
		return serve(args[1])
	case len(args) == 4 && args[0] == "turn":
		return turn(args[1], args[2], args[3])
	case len(args) == 2 && args[0] == "of":
		return of(args[1])
	}
	return errors.New("it is driver model ADDRESS, driver turn SESSION TOOL ARGS, or driver of CALL")
}

func serve(address string) error {
	model := &openclaw.Model{}
	mux := http.NewServeMux()
	mux.Handle("/", model)
	mux.HandleFunc("/requests", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(model.Requests()) })
	return http.ListenAndServe(address, mux)
}

func turn(session, tool, encoded string) error {
	var args map[string]any
	if err := json.Unmarshal([]byte(encoded), &args); err != nil {
		return fmt.Errorf("read arguments of %s: %w", tool, err)
	}
	call := openclaw.NewCall(tool, args)
	fmt.Println(call.ID)
	answer, err := openclaw.Client{Port: 18789, Token: os.Getenv("OPENCLAW_GATEWAY_TOKEN")}.Ask(session, call.Message())
	fmt.Println(answer)
	return err
}

func of(call string) error {
	var list struct {
		Sandboxes []testrig.Sandbox
	}
	if err := json.NewDecoder(os.Stdin).Decode(&list); err != nil {
		return fmt.Errorf("read list: %w", err)
	}
	for _, one := range list.Sandboxes {
		if one.Call != call {
			continue
		}
		how := "goes on"
		if one.Result != nil {
			how = fmt.Sprintf("%s %d", one.Result.Reason, one.Result.ExitCode)
		}
		fmt.Println(one.ID, one.Policy, one.Session, how)
	}
	return nil
}
