package main

import "fmt"

// Goal is one thing that creel must reach, as a ratio of rows of this run.
type Goal struct {
	What string `json:"what"`
	Goal string `json:"goal"`
	Got  string `json:"got"`
	Met  string `json:"met"` // yes, no, or not measured
}

const unmeasured = "not measured"

// judge compares the rows with the goals.
func (r *Report) judge() {
	fork := r.latency(plain).P50
	for _, maker := range []string{"crun", "runc"} {
		hot := r.latency(throughAPI(maker, warm))
		r.atMost("warm, API, "+maker+": p50", hot.P50, fork, 2, "plain's p50")
		r.atMost("warm, API, "+maker+": p99", hot.P99, fork, 8, "plain's p50")
		r.atMost("warm, shell, "+maker+": p50", r.latency(throughShell(maker, warm)).P50, r.latency(bubblewrap).P50, 1, "bwrap's p50")
		r.atMost("cold, API, "+maker+": p50", r.latency(throughAPI(maker, cold)).P50, r.latency(bare(maker)).P50, 1.3, bare(maker)+"'s p50")
	}
	for _, maker := range []string{"crun", "runc"} {
		got := r.sustained(throughAPI(maker, warm))
		r.atLeast("sustained, "+maker, got, r.sustained(bare(maker)), 0.9, bare(maker)+"'s")
		r.atLeast("sustained, "+maker+", then", got, r.sustained(bubblewrap), 1, "bwrap's")
	}
	for _, row := range r.Memory {
		if row.What == "one idle warm sandbox, crun" || row.What == "one idle warm sandbox, runc" {
			r.number("PSS of "+row.What, row.MiB, 3, "MiB")
		}
	}
	pipe := r.throughput(plainPipe)
	r.atLeast("1 GiB through stdout", r.throughput(streamAPI), pipe, 0.8, "a plain pipe")
	r.atLeast("1 GiB through stdout, redacted", r.throughput(redactedAPI), pipe, 0.3, "a plain pipe")
	if d := r.Drift; d != nil {
		r.atMost(fmt.Sprintf("p50 of the last %d of %d in a row", d.Window, d.N), d.Last, d.First, 1.2, "that of the first")
		r.nothingLeft(fmt.Sprintf("%d invocations in a row", d.N), d.Leaks)
	}
	if m := r.Many; m != nil {
		r.nothingLeft(fmt.Sprintf("%d sandboxes at once", m.N), m.Leaks)
	}
	if o := r.Overload; o != nil {
		r.number("ps under overload, p99", o.Ps99, 100, "ms")
		r.number("kill under overload, p99", o.Kill99, 100, "ms")
	}
}

func (r *Report) add(what, goal, got string, known, met bool) {
	g := Goal{What: what, Goal: goal, Got: unmeasured, Met: unmeasured}
	if known {
		g.Got, g.Met = got, "no"
		if met {
			g.Met = "yes"
		}
	}
	r.Goals = append(r.Goals, g)
}

func (r *Report) atMost(what string, got, than, factor float64, name string) {
	ratio := got / than
	r.add(what, fmt.Sprintf("≤ %g × %s", factor, name), fmt.Sprintf("%.2f ×", ratio), got > 0 && than > 0, ratio <= factor)
}

func (r *Report) atLeast(what string, got, than, factor float64, name string) {
	ratio := got / than
	r.add(what, fmt.Sprintf("≥ %g × %s", factor, name), fmt.Sprintf("%.2f ×", ratio), got > 0 && than > 0, ratio >= factor)
}

func (r *Report) number(what string, got, most float64, unit string) {
	r.add(what, fmt.Sprintf("≤ %g %s", most, unit), fmt.Sprintf("%.2f %s", got, unit), got > 0, got <= most)
}

func (r *Report) nothingLeft(after string, leaks []string) {
	got := "nothing"
	if len(leaks) > 0 {
		got = fmt.Sprintf("%d things", len(leaks))
	}
	r.add("left after "+after, "nothing", got, true, len(leaks) == 0)
}

// latency is a contender's row at one caller; an empty one without it. A warm
// row for which nothing waited says nothing of warm sandboxes.
func (r *Report) latency(name string) LatencyRow {
	for _, row := range r.Latency {
		if row.Contender == name && row.Callers == 1 && row.Note != coldNote {
			return row
		}
	}
	return LatencyRow{}
}

func (r *Report) sustained(name string) float64 {
	for _, row := range r.Sustained {
		if row.Contender == name {
			return row.PerSecond
		}
	}
	return 0
}

func (r *Report) throughput(name string) float64 {
	for _, row := range r.Throughput {
		if row.Stream == name {
			return row.MiBps
		}
	}
	return 0
}
