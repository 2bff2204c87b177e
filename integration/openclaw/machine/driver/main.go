// Command driver is a test's hands in the machine: the stand-in for the model,
// and somebody who has it make calls.
//
//	driver model ADDRESS NAME PEM   serves by TLS, as NAME, until it is killed; PEM is written, for clients to trust
//	driver turn SESSION TOOL ARGS   prints the call's id, and what the model was told it gave
//	driver of CALL                  prints a call's sandboxes of what `creel ps -a --json` says
//
// What the model was sent is at /requests of the namespace's own port 9000. The
// token of the gateway is in the environment. It may import package openclaw and
// testrig, and never talks to anything outside of its machine.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"time"

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
	case len(args) == 4 && args[0] == "model":
		return serve(args[1], args[2], args[3])
	case len(args) == 4 && args[0] == "turn":
		return turn(args[1], args[2], args[3])
	case len(args) == 2 && args[0] == "of":
		return of(args[1])
	}
	return errors.New("it is driver model ADDRESS NAME PEM, driver turn SESSION TOOL ARGS, or driver of CALL")
}

func serve(address, name, file string) error {
	certificate, err := certify(name, file)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	model := &openclaw.Model{}
	failed := make(chan error)
	go func() {
		failed <- http.ListenAndServe("127.0.0.1:9000", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(model.Requests()) }))
	}()
	go func() {
		server := &http.Server{Addr: address, Handler: model, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
		failed <- server.ListenAndServeTLS("", "")
	}()
	return <-failed
}

// certify makes a certificate that signs itself, and writes it to a file.
func certify(name, file string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
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
