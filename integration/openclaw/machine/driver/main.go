// Command driver is a test's hands in the machine: the stand-in for the model,
// and somebody who has it make calls.
//
//	driver model ADDRESS NAME PEM   serves by TLS, as NAME, until it is killed; PEM is written, for clients to trust
//	driver requests KEY             prints what the model was sent, if it came with the key in that file
//	driver turn SESSION TOOL ARGS   prints the call's id, and what the model was told it gave
//	driver of CALL                  prints a call's sandboxes of what `creel ps -a --json` says
//	driver forms FILE…              prints the ways to write what each file holds: its name, the way, a tab, the text
//
// What the model was sent is at the namespace's own port 9000, and the token of the
// gateway in tokenFile. It may import package openclaw, testrig, and the forms
// that a canary can take. It never talks to anything outside of its machine, and
// never writes a secret to its disk.
package main

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/creel-sandbox/creel/integration/openclaw"
	"github.com/creel-sandbox/creel/integration/testrig"
	"github.com/creel-sandbox/creel/runner/leakcheck"
)

// tokenFile is in memory, like every secret of the machine's.
const tokenFile = "/run/secrets/gateway"

// kept is where the stand-in shows what it was sent.
const kept = "127.0.0.1:9000"

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
	case len(args) == 2 && args[0] == "requests":
		return requests(args[1])
	case len(args) == 4 && args[0] == "turn":
		return turn(args[1], args[2], args[3])
	case len(args) == 2 && args[0] == "of":
		return of(args[1])
	case len(args) > 1 && args[0] == "forms":
		return forms(args[1:])
	}
	return errors.New("it is driver model ADDRESS NAME PEM, requests KEY, turn SESSION TOOL ARGS, of CALL, or forms FILE…")
}

func serve(address, name, file string) error {
	certificate, err := certify(name, file)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	model := &openclaw.Model{}
	failed := make(chan error)
	go func() {
		failed <- http.ListenAndServe(kept, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !model.Authorized(r.Header.Get("Authorization")) {
				http.Error(w, "nothing was asked with this key", http.StatusForbidden)
				return
			}
			_, _ = w.Write(model.Requests())
		}))
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

// secret is what a file holds, but for the end of its line.
func secret(file string) (string, error) {
	data, err := os.ReadFile(file)
	return strings.TrimSuffix(string(data), "\n"), err
}

func requests(file string) error {
	key, err := secret(file)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodGet, "http://"+kept, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask the model: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the model: %s", response.Status)
	}
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}

func forms(files []string) error {
	for _, file := range files {
		value, err := secret(file)
		if err != nil {
			return err
		}
		for _, form := range leakcheck.Canary(value).Forms() {
			fmt.Printf("%s %s\t%s\n", filepath.Base(file), form.Name, form.Text)
		}
	}
	return nil
}

func turn(session, tool, encoded string) error {
	var args map[string]any
	if err := json.Unmarshal([]byte(encoded), &args); err != nil {
		return fmt.Errorf("read arguments of %s: %w", tool, err)
	}
	token, err := secret(tokenFile)
	if err != nil {
		return err
	}
	call := openclaw.NewCall(tool, args)
	fmt.Println(call.ID)
	answer, err := openclaw.Client{Port: 18789, Token: token}.Ask(session, call.Message())
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
		fmt.Println(one.ID, one.Policy, cmp.Or(one.Sender, "-"), cmp.Or(one.Session, "-"), how)
	}
	return nil
}
