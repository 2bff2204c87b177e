package main

import (
	"errors"
	"strings"
)

// envFlag collects -e as it is given: no trimming, no splitting at commas.
type envFlag struct{ values []string }

// Set implements flag.Value. It never fails, because package flag would put
// the value into the message.
func (e *envFlag) Set(value string) error {
	e.values = append(e.values, value)
	return nil
}

// String implements flag.Value, for the default that help shows.
func (e *envFlag) String() string { return "" }

// resolve completes names without a value from creel's own environment, and
// leaves out those that are not set there, as docker does. Its error holds
// no value.
func (e *envFlag) resolve(lookup func(string) (string, bool)) ([][]byte, error) {
	var env [][]byte
	for _, value := range e.values {
		name, _, given := strings.Cut(value, "=")
		if name == "" {
			return nil, errors.New("-e takes NAME=VALUE or NAME, and one has no name")
		}
		if !given {
			own, ok := lookup(name)
			if !ok {
				continue
			}
			value += "=" + own
		}
		env = append(env, []byte(value))
	}
	return env, nil
}
