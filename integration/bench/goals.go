package main

import "fmt"

// Goal is one thing that creel must reach, as a ratio of rows of this run.
type Goal struct {
	What string `json:"what"`
	Goal string `json:"goal"`
	Got  string `json:"got"`
	Met  string `json:"met"` // yes, no, or not measured
}

const notMeasured = "not measured"

// judge compares the rows with the goals. What waits in a pool is called after
// a pause, so it is compared with what was called after one, too.
func (r *Report) judge() {
	r.Goals = nil
	fork, wrapped := r.latency(paced(plain)), r.latency(paced(bubblewrap))
	for _, maker := range []string{"crun", "runc"} {
		hot, shell, fresh := r.latency(throughAPI(maker, warm)), r.latency(throughShell(maker, warm)), r.latency(throughAPI(maker, cold))
		r.compare("warm, API, "+maker+": p50", hot.rounds(), fork.rounds(), atMost(2, paced(plain)+": p50"))
		// A round has too few calls for a p99 of its own.
		r.compare("warm, API, "+maker+": p99", hot.whole(hot.P99), fork.whole(fork.P50), atMost(8, paced(plain)+": p50"))
		r.compare(fmt.Sprintf("warm, API, %s: p99 of the %d calls not held up by the host", maker, hot.N-hot.HeldUp), hot.whole(hot.OwnP99), fork.whole(fork.P50), atMost(8, paced(plain)+": p50"))
		r.compare("warm, shell, "+maker+": p50", shell.rounds(), wrapped.rounds(), atMost(1, paced(bubblewrap)+": p50"))
		r.compare("cold, API, "+maker+": p50", fresh.rounds(), r.latency(bare(maker)).rounds(), atMost(1.3, bare(maker)+": p50"))
	}
	for _, maker := range []string{"crun", "runc"} {
		got := r.sustained(throughAPI(maker, warm))
		r.compare("sustained, "+maker, got, r.sustained(bare(maker)), atLeast(0.9, bare(maker)))
		r.compare("sustained, "+maker+", as an engine uses it", got, r.sustained(apart(maker)), atLeast(0.9, apart(maker)))
		r.compare("sustained, "+maker+", then", got, r.sustained(bubblewrap), atLeast(1, bubblewrap))
	}
	for _, row := range r.Memory {
		if row.What == "one idle warm sandbox, crun" || row.What == "one idle warm sandbox, runc" {
			r.number("PSS of "+row.What, row.MiB, 3, "MiB")
		}
	}
	pipe := r.throughput(plainPipe)
	r.compare("1 GiB through stdout", r.throughput(streamAPI), pipe, atLeast(0.8, plainPipe))
	r.compare("1 GiB through stdout, redacted", r.throughput(redactedAPI), pipe, atLeast(0.3, plainPipe))
	if d := r.Drift; d != nil {
		r.compare(fmt.Sprintf("p50 of the last %d of %d in a row", d.Window, d.N), series{[]float64{d.Last}, d.Failed}, series{values: []float64{d.First}}, atMost(1.2, "that of the first"))
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
	g := Goal{What: what, Goal: goal, Got: notMeasured, Met: notMeasured}
	if known {
		g.Got, g.Met = got, "no"
		if met {
			g.Met = "yes"
		}
	}
	r.Goals = append(r.Goals, g)
}

// series is what was measured in each round, and how many calls failed.
type series struct {
	values []float64
	failed int
}

func (row LatencyRow) rounds() series { return series{row.Rounds, row.Failed} }

// whole is a figure of all rounds together.
func (row LatencyRow) whole(v float64) series { return series{[]float64{v}, row.Failed} }

// bound is what a ratio must keep to.
type bound struct {
	text string
	kept func(ratio float64) bool
}

func atMost(factor float64, of string) bound {
	return bound{fmt.Sprintf("≤ %g × %s", factor, of), func(ratio float64) bool { return ratio <= factor }}
}

func atLeast(factor float64, of string) bound {
	return bound{fmt.Sprintf("≥ %g × %s", factor, of), func(ratio float64) bool { return ratio >= factor }}
}

// compare judges by the median of the rounds' ratios, and shows their spread.
// Whoever failed sometimes has met nothing: what fails can be quick.
func (r *Report) compare(what string, got, than series, b bound) {
	all := ratios(got.values, than.values)
	ratio := middle(all)
	text := fmt.Sprintf("%.2f ×", ratio)
	if low, high := between10and90(all); len(all) > 1 {
		text += fmt.Sprintf(" (%.2f–%.2f)", low, high)
	}
	if got.failed > 0 {
		text += fmt.Sprintf(", %d failed", got.failed)
	}
	r.add(what, b.text, text, len(all) > 0, b.kept(ratio) && got.failed == 0)
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

func (r *Report) sustained(name string) series {
	for _, row := range r.Sustained {
		if row.Contender == name {
			return series{row.Slices, row.Failed}
		}
	}
	return series{}
}

func (r *Report) throughput(name string) series {
	for _, row := range r.Throughput {
		if row.Stream == name {
			return series{values: row.Repeats}
		}
	}
	return series{}
}
