package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// table is a Markdown table in the making.
type table struct{ strings.Builder }

func newTable(columns ...string) *table {
	t := &table{}
	t.row(columns...)
	t.row(slices.Repeat([]string{"---"}, len(columns))...)
	return t
}

func (t *table) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = strings.NewReplacer("|", "\\|", "\n", " ").Replace(cell)
	}
	t.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// short shows three digits that matter.
func short(v float64) string {
	switch {
	case v == 0:
		return "–"
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func spread(low, high float64) string {
	if high == 0 {
		return "–"
	}
	return short(low) + "–" + short(high)
}

const (
	ratioNote = "Got: the median of the ratios of each round, and their 10th to 90th percentile."
	pacedNote = "Warm and paced: each caller calls once, each time that the pools are full and nothing has happened for a moment; the others call again and again. " +
		"Held up by the host: calls during which it took processors from this virtual machine (steal in /proc/stat, in ticks of 10 ms)."
)

func (r *Report) markdown() string {
	out := "# creel's speed\n\n" + r.heading() + "\n## Goals\n\n" + ratioNote + "\n\n" + r.goalTable()
	out += "\n## One `busybox true`, milliseconds\n\n" +
		"Spread: the 10th to 90th percentile of the rounds' medians. " + pacedNote +
		" In bursts: they call until as many have as waited, while creeld makes new ones. Redacted: cold, with a credential. " +
		"Of fewer than 100 calls, p99 is the slowest.\n\n" + r.latencyTable()
	for _, part := range []struct{ title, text string }{
		{fmt.Sprintf("Sustained, %d callers, commands a second", sustainedCallers), r.sustainedTable()},
		{"Memory, PSS, MiB", r.memoryTable()},
		{"1 GiB through stdout, MiB a second", r.throughputTable()},
		{"In a row, at once, too many", r.enduranceTable()},
	} {
		if part.text != "" {
			out += "\n## " + part.title + "\n\n" + part.text
		}
	}
	if len(r.Unmeasured) > 0 {
		out += "\n## Not measured\n\n- " + strings.Join(r.Unmeasured, "\n- ") + "\n"
	}
	if len(r.Problems) > 0 {
		out += "\n## Problems\n\n- " + strings.Join(r.Problems, "\n- ") + "\n"
	}
	return out
}

// heading says when and on what. Only ratios within one run mean much.
func (r *Report) heading() string {
	m := r.Machine
	kind := ""
	if r.Quick {
		kind = " A quick run: its figures say that it works, no more."
	}
	var programs []string
	for _, name := range []string{"bwrap", "crun", "runc", "dockerd"} {
		programs = append(programs, strings.TrimPrefix(m.Programs[name], "Docker version "))
	}
	programs[len(programs)-1] = "docker " + programs[len(programs)-1]
	return fmt.Sprintf("%s, creel %s, %s, %d cores, %d GiB, Linux %s, cgroup %s, %s. Load before the run: %s.%s Only ratios within one run count.\n",
		r.Date.Format("2006-01-02 15:04 UTC"), r.Version, m.Processor, m.Cores, m.MemoryGiB, m.Kernel, m.Cgroups, strings.Join(programs, ", "), m.Load, kind)
}

func (r *Report) goalTable() string {
	t := newTable("what", "goal", "got", "met")
	for _, g := range r.Goals {
		t.row(g.What, g.Goal, g.Got, g.Met)
	}
	return t.String()
}

func (r *Report) latencyTable() string {
	t := newTable("contender", "callers", "p50", "p90", "p99", "spread", "n", "remarks")
	for _, row := range r.Latency {
		t.row(row.Contender, fmt.Sprint(row.Callers), short(row.P50), short(row.P90), short(row.P99), spread(row.Low, row.High),
			fmt.Sprint(row.N), remarks(row.held(), row.Failed, row.Missed))
	}
	return t.String()
}

// held is the note, with what the host took from paced calls.
func (row LatencyRow) held() string {
	if row.HeldUp == 0 {
		return row.Note
	}
	held := fmt.Sprintf("%d held up by the host, %s ms in all; p99 of the others %s", row.HeldUp, short(row.Stolen), short(row.OwnP99))
	return strings.TrimSuffix(held+"; "+row.Note, "; ")
}

func remarks(note string, failed, missed int) string {
	var all []string
	if failed > 0 {
		all = append(all, fmt.Sprintf("%d failed", failed))
	}
	if missed > 0 {
		all = append(all, fmt.Sprintf("%d more called than waited", missed))
	}
	if note != "" {
		all = append(all, note)
	}
	return strings.Join(all, "; ")
}

func (r *Report) sustainedTable() string {
	if len(r.Sustained) == 0 {
		return ""
	}
	t := newTable("contender", "a second", "slowest–fastest slice", "n", "remarks")
	for _, row := range r.Sustained {
		t.row(row.Contender, short(row.PerSecond), spread(row.Low, row.High), fmt.Sprint(row.N), remarks(row.Note, row.Failed, 0))
	}
	return t.String()
}

func (r *Report) memoryTable() string {
	if len(r.Memory) == 0 {
		return ""
	}
	t := newTable("what", "median", "spread", "of", "remarks")
	for _, row := range r.Memory {
		t.row(row.What, short(row.MiB), spread(row.Low, row.High), fmt.Sprint(row.Of), row.Note)
	}
	return t.String()
}

func (r *Report) throughputTable() string {
	if len(r.Throughput) == 0 {
		return ""
	}
	t := newTable("way", "median", "spread", "n", "remarks")
	for _, row := range r.Throughput {
		t.row(row.Stream, short(row.MiBps), spread(row.Low, row.High), fmt.Sprint(row.N), row.Note)
	}
	return t.String()
}

func (r *Report) enduranceTable() string {
	var out strings.Builder
	if d := r.Drift; d != nil {
		fmt.Fprintf(&out, "- %d in a row, in %.0f s: p50 of the first %d %s ms, of the last %s ms (plain fork+exec meanwhile: %s, %s); %d failed; creeld's PSS %s MiB before, %s after.\n",
			d.N, d.Took, d.Window, short(d.First), short(d.Last), short(d.PlainFirst), short(d.PlainLast), d.Failed, short(d.MemoryBefore), short(d.MemoryAfter))
	}
	if m := r.Many; m != nil {
		fmt.Fprintf(&out, "- %d of %d at once: all started in %.1f s, all ended and gone in %.1f s; creeld's PSS %s MiB before, %s during, %s after.\n",
			m.Alive, m.N, m.Start, m.End, short(m.MemoryBefore), short(m.MemoryDuring), short(m.MemoryAfter))
	}
	if o := r.Overload; o != nil {
		fmt.Fprintf(&out, "- %d callers for %.0f s: %d served, p50 %s ms, p99 %s ms; refusals and errors: %v; ps p50 %s ms, p99 %s ms; kill p50 %s ms, p99 %s ms (%d probes).\n",
			o.Callers, o.Seconds, o.Served, short(o.P50), short(o.P99), o.Refusals, short(o.Ps50), short(o.Ps99), short(o.Kill50), short(o.Kill99), o.Probes)
	}
	return out.String()
}

const (
	beginMark = "<!-- what make bench wrote, begin -->\n"
	endMark   = "<!-- what make bench wrote, end -->\n"
	plotName  = "integration/bench/speed.svg"
)

// updateReadme puts the tables that matter between the marks of a file, and
// the plot where it points to.
func (b *bench) updateReadme(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := between(string(data), b.report.summary())
	if err != nil {
		return fmt.Errorf("update %s: %w", path, err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), plotName), []byte(b.report.plot()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

func between(text, content string) (string, error) {
	before, rest, begun := strings.Cut(text, beginMark)
	_, after, ended := strings.Cut(rest, endMark)
	if !begun || !ended {
		return "", errors.New("the marks are missing")
	}
	return before + beginMark + content + endMark + after, nil
}

// summary is the report as the README has it: the rows at one caller.
func (r *Report) summary() string {
	one := *r
	one.Latency = slices.DeleteFunc(slices.Clone(r.Latency), func(row LatencyRow) bool { return row.Callers != 1 })
	return r.heading() + "\n" + ratioNote + "\n\n" + r.goalTable() + "\nOne `busybox true`, one caller, milliseconds. " + pacedNote + "\n\n" + one.latencyTable() +
		fmt.Sprintf("\nSustained, %d callers, commands a second:\n\n", sustainedCallers) + r.sustainedTable() +
		"\n![latency of each](" + plotName + ")\n"
}
