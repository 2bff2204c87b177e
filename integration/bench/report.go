package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Report is bench.json. Times are milliseconds unless their names say so, low
// and high the 10th and 90th percentile of the rounds' medians, or the
// slowest and fastest slice of a sustained row. In a list of rounds, slices or
// repeats, which all rows have in the same order, 0 is one without a figure.
type Report struct {
	Date    time.Time `json:"date"`
	Version string    `json:"version"`
	Machine Machine   `json:"machine"`
	Quick   bool      `json:"quick"`

	Latency    []LatencyRow    `json:"latency,omitempty"`
	Sustained  []SustainedRow  `json:"sustained,omitempty"`
	Memory     []MemoryRow     `json:"memory,omitempty"`
	Throughput []ThroughputRow `json:"throughput,omitempty"`
	Drift      *DriftRow       `json:"drift,omitempty"`
	Many       *ManyRow        `json:"many,omitempty"`
	Overload   *OverloadRow    `json:"overload,omitempty"`
	Goals      []Goal          `json:"goals,omitempty"`
	Problems   []string        `json:"problems,omitempty"`
	// Unmeasured are parts that had not what they need, with the reason.
	Unmeasured []string `json:"unmeasured,omitempty"`
}

// Machine is what the figures depend on. The load is that of one minute,
// before the run: much above zero means that others were at work.
type Machine struct {
	Processor string            `json:"processor"`
	Cores     int               `json:"cores"`
	MemoryGiB int               `json:"memoryGiB"`
	Kernel    string            `json:"kernel"`
	Cgroups   string            `json:"cgroups"`
	Load      string            `json:"load"`
	Programs  map[string]string `json:"programs"`
}

// LatencyRow is one contender at one number of callers.
type LatencyRow struct {
	Contender string  `json:"contender"`
	Callers   int     `json:"callers"`
	N         int     `json:"n"`
	Missed    int     `json:"missed,omitempty"` // of n, when fewer waited than called
	Failed    int     `json:"failed,omitempty"`
	P50       float64 `json:"p50"`
	P90       float64 `json:"p90"`
	P99       float64 `json:"p99"`
	Low       float64 `json:"low"`
	High      float64 `json:"high"`
	// Stolen is what the host took of the processors, all together, during the
	// paced calls of one caller, HeldUp in how many of them, and OwnP99 the p99
	// of the others.
	Stolen float64 `json:"stolen,omitempty"`
	HeldUp int     `json:"heldUp,omitempty"`
	OwnP99 float64 `json:"ownP99,omitempty"`
	// Rounds are the medians of each.
	Rounds []float64 `json:"rounds,omitempty"`
	Note   string    `json:"note,omitempty"`
}

// SustainedRow is one contender at sustainedCallers callers.
type SustainedRow struct {
	Contender string  `json:"contender"`
	PerSecond float64 `json:"perSecond"`
	Low       float64 `json:"low"`
	High      float64 `json:"high"`
	N         int     `json:"n"`
	Failed    int     `json:"failed,omitempty"`
	// Slices are the commands a second of each.
	Slices []float64 `json:"slices,omitempty"`
	Note   string    `json:"note,omitempty"`
}

// MemoryRow is the proportional set size of some processes.
type MemoryRow struct {
	What string  `json:"what"`
	MiB  float64 `json:"mib"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	Of   int     `json:"of"`
	Note string  `json:"note,omitempty"`
}

// ThroughputRow is one way for 1 GiB of output to go.
type ThroughputRow struct {
	Stream string  `json:"stream"`
	MiBps  float64 `json:"mibPerSecond"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	N      int     `json:"n"`
	// Repeats are MiB a second of each.
	Repeats []float64 `json:"repeats,omitempty"`
	Note    string    `json:"note,omitempty"`
}

// DriftRow compares the first and last Window of N invocations in a row.
type DriftRow struct {
	N            int      `json:"n"`
	Window       int      `json:"window"`
	Failed       int      `json:"failed"`
	First        float64  `json:"first"`
	Last         float64  `json:"last"`
	PlainFirst   float64  `json:"plainFirst"`
	PlainLast    float64  `json:"plainLast"`
	Took         float64  `json:"tookSeconds"`
	MemoryBefore float64  `json:"memoryBeforeMiB"` // PSS of creeld
	MemoryAfter  float64  `json:"memoryAfterMiB"`
	Leaks        []string `json:"leaks,omitempty"`
	Note         string   `json:"note,omitempty"`
}

// ManyRow is N sandboxes at once.
type ManyRow struct {
	N            int      `json:"n"`
	Alive        int      `json:"alive"`
	Start        float64  `json:"startSeconds"`
	End          float64  `json:"endSeconds"`
	MemoryBefore float64  `json:"memoryBeforeMiB"`
	MemoryDuring float64  `json:"memoryDuringMiB"`
	MemoryAfter  float64  `json:"memoryAfterMiB"`
	Leaks        []string `json:"leaks,omitempty"`
	Note         string   `json:"note,omitempty"`
}

// OverloadRow is Callers callers on a few cores.
type OverloadRow struct {
	Callers  int            `json:"callers"`
	Seconds  float64        `json:"seconds"`
	Served   int            `json:"served"`
	P50      float64        `json:"p50"`
	P99      float64        `json:"p99"`
	Refusals map[string]int `json:"refusals,omitempty"`
	Probes   int            `json:"probes"`
	Ps50     float64        `json:"ps50"`
	Ps99     float64        `json:"ps99"`
	Kill50   float64        `json:"kill50"`
	Kill99   float64        `json:"kill99"`
	Leaks    []string       `json:"leaks,omitempty"`
}

func (r *Report) begin(b *bench) {
	r.Date, r.Quick = time.Now().UTC().Truncate(time.Second), b.quick
	r.Version = firstLine("git", "describe", "--tags", "--always", "--dirty")
	r.Machine = thisMachine()
}

func (r *Report) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

func (r *Report) unmeasured(part, reason string) {
	r.Unmeasured = append(r.Unmeasured, part+": "+reason)
}

func thisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Processor: "unknown", Cgroups: "v2", Programs: map[string]string{}}
	for _, line := range strings.Split(read("/proc/cpuinfo"), "\n") {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			m.Processor = strings.TrimSpace(value)
			break
		}
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.MemoryGiB = int((info.Totalram*uint64(info.Unit) + 1<<29) >> 30)
	}
	// The numbers alone: what follows them names who built it, and for whom.
	m.Kernel, _, _ = strings.Cut(strings.TrimSpace(read("/proc/sys/kernel/osrelease")), "-")
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		m.Cgroups = "v1"
	}
	m.Load, _, _ = strings.Cut(read("/proc/loadavg"), " ")
	for _, name := range []string{"bwrap", "crun", "runc", "dockerd"} {
		m.Programs[name] = firstLine(name, "--version")
	}
	return m
}

func firstLine(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "missing"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	line, _, _ = strings.Cut(line, ", build")
	return line
}

// write writes the three files, and the table to standard output.
func (b *bench) write() error {
	b.report.judge()
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(b.report, "", "  ")
	if err != nil {
		return err
	}
	text := b.report.markdown()
	for name, content := range map[string]string{
		"bench.json": string(data) + "\n", "bench.md": text, "bench.svg": b.report.plot(),
	} {
		if err := os.WriteFile(filepath.Join(b.out, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	if b.readme == "" {
		return nil
	}
	return b.updateReadme(b.readme)
}
