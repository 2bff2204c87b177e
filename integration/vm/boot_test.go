package vm

import (
	"context"
	"testing"
	"testing/fstest"
	"time"
)

// TestMachineIsSystemdOnCgroupV2 is the premise of every test that runs in
// the machine: were it something else, they would prove nothing.
func TestMachineIsSystemdOnCgroupV2(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	image, err := Cached(ctx, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	script := `#!/bin/bash
exec >/out/results
state=$(systemctl is-system-running --wait)
[ "$state" = running ] && echo "ok running" || echo "not ok running: $state $(systemctl --failed --no-legend | tr '\n' ' ')"
[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] && echo "ok cgroup2" || echo "not ok cgroup2: $(stat -fc %T /sys/fs/cgroup)"
for controller in cpu memory pids; do
  grep -qw $controller /sys/fs/cgroup/cgroup.controllers && echo "ok $controller" || echo "not ok $controller: $(cat /sys/fs/cgroup/cgroup.controllers)"
done
[ "$(cat /proc/1/comm)" = systemd ] && echo "ok pid1" || echo "not ok pid1: $(cat /proc/1/comm)"
systemd-analyze time >/out/boot
echo done
`
	start := time.Now()
	report, err := image.Run(ctx, fstest.MapFS{"run": {Data: []byte(script), Mode: 0o755}})
	if err != nil {
		t.Fatalf("%v\nconsole:\n%s", err, report.Console)
	}
	t.Logf("machine ran for %v: %s", time.Since(start).Round(time.Second), report.Files["boot"])
	if len(report.Checks) != 6 {
		t.Errorf("got %d checks, want 6: %+v", len(report.Checks), report.Checks)
	}
	for _, check := range report.Checks {
		if !check.OK {
			t.Errorf("%s: %s", check.Name, check.Why)
		}
	}
	if t.Failed() {
		t.Logf("journal:\n%s", report.Files["journal"])
	}
}
