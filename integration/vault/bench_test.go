package vault

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// BenchmarkCredentials tells what credentials add to a command in a sandbox of
// the pool, from a vault on the loopback: the launch as creeld counts it, and
// the step that fetches them. All kinds take turns on one supervisor, so that
// they can be compared however busy the machine is.
func BenchmarkCredentials(b *testing.B) {
	s := Start(b, Options{})
	s.Tokens("task")
	s.Do("POST", "kv/data/there", map[string]any{"data": map[string]any{"a": "a value of kv, the first", "b": "a value of kv, the second", "c": "a value of kv, the third"}})
	lines := func(n int, credential string) string {
		text := "pool: {warm: 2}\ncredentials:\n"
		for i := range n {
			text += fmt.Sprintf("  - {env: V%d, from: 'vault:%s}\n", i, strings.ReplaceAll(credential, "#x", "#"+string(rune('a'+i))))
		}
		return text
	}
	const kv, token = "kv/there#x'", "auth/token/create/task#token', ttl: 10m"
	kinds := []struct{ name, lines string }{
		{"none", "pool: {warm: 2}\n"},
		{"1-kv", lines(1, kv)}, {"3-kv", lines(3, kv)},
		{"1-token", lines(1, token)}, {"3-token", lines(3, token)},
		{"1-token-prefetched", lines(1, token+", prefetch: true")}, {"3-token-prefetched", lines(3, token+", prefetch: true")},
	}
	// The same without creel, by a client that keeps its connection too.
	questions := map[string]func(){
		"kv":    func() { s.Do("GET", "kv/data/there", nil) },
		"token": func() { s.Do("POST", "auth/token/create/task", map[string]any{"ttl": "1m"}) },
	}
	asked := map[string][]time.Duration{}
	r := rig(b, s, "")
	for _, k := range kinds {
		r.WritePolicy(k.name, r.PolicyText(k.name, k.lines))
	}
	r.Reload()
	launches, fetches := map[string][]time.Duration{}, map[string][]time.Duration{}
	for b.Loop() {
		for _, k := range kinds {
			r.Stocked(k.name)
			if strings.Contains(k.name, "prefetched") {
				r.Eventually("tokens wait", func() bool { return waits(r, k.name) })
			}
			launch, fetch := once(b, r, k.name)
			launches[k.name], fetches[k.name] = append(launches[k.name], launch), append(fetches[k.name], fetch)
		}
		for name, question := range questions {
			began := time.Now()
			question()
			asked[name] = append(asked[name], time.Since(began))
		}
	}
	for name, times := range asked {
		b.ReportMetric(median(times), name+"-asked-directly-ms")
	}
	for _, k := range kinds {
		b.ReportMetric(median(launches[k.name]), k.name+"-launch-ms")
		b.ReportMetric(median(fetches[k.name]), k.name+"-fetch-ms")
	}
}

// waits says whether tokens wait for the sandbox of a policy that comes next.
func waits(r *testrig.Rig, policy string) bool {
	for _, row := range r.List() {
		if row.Policy == policy && row.State == "warm" && len(row.Leases) == 0 {
			return false
		}
	}
	return true
}

// once runs a command and gives the time of its launch, and of the step that
// fetched its credentials.
func once(b *testing.B, r *testrig.Rig, policy string) (launch, fetch time.Duration) {
	b.Helper()
	file := filepath.Join(r.Dir, "result")
	if got := r.Creel("exec", "--policy", policy, "--result", file, "--", "true"); got.Code != 0 {
		b.Fatalf("%s: ended with %d: %s", policy, got.Code, got.Stderr)
	}
	data, err := os.ReadFile(file)
	check(b, err)
	var result struct {
		ID       string
		LaunchNs time.Duration
	}
	check(b, json.Unmarshal(data, &result))
	var told struct{ Steps []string }
	check(b, json.Unmarshal([]byte(r.Creel("inspect", result.ID).Stdout), &told))
	for _, step := range told.Steps {
		if text, ok := strings.CutPrefix(step, "fetch credentials: "); ok {
			fetch, err = time.ParseDuration(text)
			check(b, err)
		}
	}
	return result.LaunchNs, fetch
}

// median is in milliseconds.
func median(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2].Microseconds()) / 1000
}
