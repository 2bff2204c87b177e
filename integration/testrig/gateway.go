package testrig

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"strings"
)

// Gateway is a program for Python that stands for an agent's. Its argument is
// the port of the loopback at which it answers /healthz, and runs what it is
// sent.
//
//go:embed gateway.py
var Gateway string

// Ask has a Gateway at an address run a script, and says how that ended. An
// error is one of reaching it.
func Ask(address, script string) (told Result, err error) {
	response, err := http.Post("http://"+address+"/", "text/plain", strings.NewReader(script))
	if err != nil {
		return told, err
	}
	defer response.Body.Close()
	return told, json.NewDecoder(response.Body).Decode(&told)
}
