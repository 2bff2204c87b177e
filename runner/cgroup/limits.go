package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/kernelfile"
)

// Unlimited is the value of a limit that is not set.
const Unlimited = -1

// Limits are the limits of one group as the kernel holds them. Unlimited
// stands for a limit that is not set.
type Limits struct {
	Memory    int64 `json:"memoryBytes"`
	Swap      int64 `json:"swapBytes"` // on top of Memory
	Pids      int64 `json:"pids"`
	CPUQuota  int64 `json:"cpuQuotaUs"`
	CPUPeriod int64 `json:"cpuPeriodUs"`
}

// Limits reads back the limits of a sandbox's group.
func (h *Hierarchy) Limits(id string) (Limits, error) {
	if h.Unified {
		return h.limitsV2(id)
	}
	return h.limitsV1(id)
}

func (h *Hierarchy) limitsV2(id string) (Limits, error) {
	r := reader{h: h, id: id}
	l := Limits{
		Memory: r.number("memory", "memory.max"),
		Swap:   r.number("memory", "memory.swap.max"),
		Pids:   r.number("pids", "pids.max"),
	}
	quota, period, _ := strings.Cut(r.text("cpu", "cpu.max"), " ")
	l.CPUQuota, l.CPUPeriod = r.parse(quota), r.parse(period)
	return l, r.err
}

func (h *Hierarchy) limitsV1(id string) (Limits, error) {
	r := reader{h: h, id: id}
	l := Limits{
		Memory:    r.number("memory", "memory.limit_in_bytes"),
		Pids:      r.number("pids", "pids.max"),
		CPUQuota:  r.number("cpu", "cpu.cfs_quota_us"),
		CPUPeriod: r.number("cpu", "cpu.cfs_period_us"),
	}
	// v1 counts memory and swap together. A kernel without swap accounting
	// has no such file: the limit is then not in force.
	both := r.optional("memory", "memory.memsw.limit_in_bytes", Unlimited)
	l.Swap = Unlimited
	if both != Unlimited && l.Memory != Unlimited {
		l.Swap = both - l.Memory
	}
	return l, r.err
}

// Usage is what one group uses, or has used, by the kernel's account.
type Usage struct {
	Memory   int64 // bytes
	CPUNanos int64
	Pids     int64
	OOMKills int64 // processes the kernel killed for want of memory
}

// Usage reads the account of a sandbox's group.
func (h *Hierarchy) Usage(id string) (Usage, error) {
	r := reader{h: h, id: id}
	if h.Unified {
		return Usage{
			Memory:   r.number("memory", "memory.current"),
			CPUNanos: 1000 * r.keyed("cpu", "cpu.stat", "usage_usec"),
			Pids:     r.number("pids", "pids.current"),
			OOMKills: r.keyed("memory", "memory.events", "oom_kill"),
		}, r.err
	}
	return Usage{
		Memory:   r.number("memory", "memory.usage_in_bytes"),
		CPUNanos: r.number("cpuacct", "cpuacct.usage"),
		Pids:     r.number("pids", "pids.current"),
		OOMKills: r.keyed("memory", "memory.oom_control", "oom_kill"),
	}, r.err
}

// reader reads the files of one group and keeps the first error.
type reader struct {
	h   *Hierarchy
	id  string
	err error
}

func (r *reader) text(controller, file string) string {
	if r.err != nil {
		return ""
	}
	text, err := kernelfile.Read(kernelfile.Path, filepath.Join(r.h.dir(controller, r.id), file))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV):
		r.err = fmt.Errorf("read %s: %w", file, ErrNotFound)
	case err != nil:
		r.err = fmt.Errorf("read %s: %w", file, err)
	}
	return strings.TrimSpace(text)
}

func (r *reader) number(controller, file string) int64 {
	return r.parse(r.text(controller, file))
}

func (r *reader) optional(controller, file string, absent int64) int64 {
	err := unix.Access(filepath.Join(r.h.dir(controller, r.id), file), unix.F_OK)
	if err == unix.ENOENT {
		return absent
	}
	return r.number(controller, file)
}

// keyed reads one value of a flat-keyed file such as memory.events.
func (r *reader) keyed(controller, file, key string) int64 {
	for line := range strings.Lines(r.text(controller, file)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == key {
			return r.parse(value)
		}
	}
	return 0
}

// v1NoLimit is what v1 shows for a memory limit that was never set: the
// largest page-aligned counter (PAGE_COUNTER_MAX).
const v1NoLimit = 1 << 62

func (r *reader) parse(text string) int64 {
	if r.err != nil {
		return 0
	}
	if text == "max" {
		return Unlimited
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		r.err = fmt.Errorf("parse control group value: %w", err)
		return 0
	}
	if n >= v1NoLimit {
		return Unlimited
	}
	return n
}
