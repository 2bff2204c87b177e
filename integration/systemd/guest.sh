#!/bin/bash
# Runs as root in the machine of package vm, with what `make install` installs
# in /in/root.
# shellcheck disable=SC2016 # the sandbox's shell, or eval later, expands these
# shellcheck source=/dev/null
. /in/checks

unit=/sys/fs/cgroup/system.slice/creeld.service

exec_as_openclaw() { as openclaw creel exec --policy "$1" -- "${@:2}"; }

main_pid() { systemctl show -P MainPID creeld; }

# in_force: creeld is up, and a command runs.
in_force() { systemctl is-active creeld && exec_as_openclaw exec-default true; }

# inits counts PID 1s of sandboxes: the program is /.creel/init there.
inits() { pgrep -c -x init || true; }

# sandbox_running: a sandbox that holds `sleep $1` is there.
sandbox_running() { pgrep -x -f "sleep $1"; }

# start_sleeper SECONDS: a command that the number names. Not by `as`: a
# signal to $sleeper is meant for creel, not for a shell above it.
start_sleeper() {
	setpriv --reuid openclaw --regid openclaw --init-groups -- \
		creel exec --policy exec-default -- sleep "$1" &
	sleeper=$!
	until_true 30 sandbox_running "$1"
}

prepare() {
	install_creel
	useradd -r -G creel member
	useradd -r stranger
	sed -e "s/^name: .*/name: small/" -e 's/memory: 512MiB/memory: 64MiB/' -e 's/pids: 128/pids: 32/' \
		-e 's/warm: 2/warm: 0/' /etc/creel/policies/exec-default.yaml >/etc/creel/policies/small.yaml
	serve_gateway
}

# serve_gateway listens where OpenClaw would.
serve_gateway() {
	systemd-run --quiet --unit gateway python3 -c 'import socket
s = socket.create_server(("127.0.0.1", 18789))
while True: s.accept()'
	until_true 60 bash -c ': </dev/tcp/127.0.0.1/18789'
}

# start_over: a check that failed has not undone what it did, and the next one
# is not to fail for it.
start_over() {
	cp -a /in/root/etc/creel/. /etc/creel
	rm -rf /etc/creel/policies/{secret,stored,canary,openclaw-agent}.yaml /{run,etc}/systemd/system/creeld.service.d
	systemctl daemon-reload
	systemctl kill -s KILL creeld
	systemctl reset-failed creeld
	systemctl restart creeld
}

check_users() {
	id openclaw
	[ "$(id -nG openclaw)" = "openclaw creel" ]
	[ "$(stat -c '%U %a' /srv/openclaw/workspace)" = "openclaw 750" ]
	[ "$(stat -c '%U %a' /run/creel)" = "root 711" ]
	[ "$(stat -c '%U %a' /srv/openclaw/plugin /srv/openclaw/plugin/index.js)" = $'openclaw 755\nopenclaw 644' ]
}

check_units_verify() {
	systemd-analyze verify creeld.service creeld-exec.socket creeld-admin.socket 2>&1 | tee /tmp/verify
	[ "${PIPESTATUS[0]}" = 0 ]
	[ ! -s /tmp/verify ]
}

check_socket_activation() {
	systemctl start creeld-exec.socket creeld-admin.socket
	[ "$(stat -c '%U:%G %a' /run/creel/exec.sock)" = "root:creel 660" ]
	[ "$(stat -c '%U:%G %a' /run/creel/admin.sock)" = "root:root 600" ]
	expect 3 systemctl is-active creeld
	creel ps
	systemctl is-active creeld
}

check_notify() {
	# start returns when creeld has said that it is ready, or fails.
	systemctl restart creeld
	[ "$(systemctl show -P Type creeld)" = notify ]
	[ "$(systemctl show -P NotifyAccess creeld)" = main ]
	creel version
}

check_exec_as_openclaw() {
	exec_as_openclaw exec-default sh -c 'id -u; cat /proc/self/status' >/tmp/status
	[ "$(head -n1 /tmp/status)" = "$(id -u openclaw)" ]
	grep -E '^CapEff:\s0000000000000000$' /tmp/status
	grep -E '^CapBnd:\s0000000000000000$' /tmp/status
	grep -E '^NoNewPrivs:\s1$' /tmp/status
	grep -E '^Seccomp:\s2$' /tmp/status
	expect 7 exec_as_openclaw exec-default sh -c 'exit 7'
	expect 127 exec_as_openclaw exec-default no-such-command
	exec_as_openclaw exec-default sh -c 'echo written >/workspace/file'
	[ "$(stat -c %U /srv/openclaw/workspace/file)" = openclaw ]
}

check_gateway_that_is_down_refuses() {
	exec_as_openclaw exec-default true
	systemctl stop gateway
	expect 125 exec_as_openclaw exec-default true
	serve_gateway
	exec_as_openclaw exec-default bash -c ': </dev/tcp/127.0.0.1/18789'
}

check_refuses_users_without_rights() {
	# Not in the group: the kernel refuses. In it, but no caller of the policy:
	# creeld does. Neither is an operator; nor is openclaw.
	expect 125 as stranger creel exec --policy exec-default -- true
	expect 125 as member creel exec --policy exec-default -- true
	expect 125 as openclaw creel ps
	expect 125 as member creel kill --all
	exec_as_openclaw exec-default true
	creel ps
}

check_delegated_cgroup() {
	local pid group
	start_sleeper 1001
	pid=$(sandbox_running 1001)
	# When the host runs out of memory, no sandbox is spared before others.
	[ "$(cat "/proc/$pid/oom_score_adj")" -ge 0 ]
	# The limits of the unit that a sandbox does not have.
	refute grep -q '^Max locked memory  *268435456 ' "/proc/$pid/limits"
	grep -q '^Max locked memory  *268435456 ' "/proc/$(systemctl show -P MainPID creeld)/limits"
	group=$(cut -d: -f3 "/proc/$pid/cgroup")
	case $group in /system.slice/creeld.service/*) ;; *)
		echo "sandbox in $group"
		return 1
		;;
	esac
	group=/sys/fs/cgroup$group
	[ "$(cat "$group/memory.max")" = $((512 << 20)) ]
	[ "$(cat "$group/memory.swap.max")" = 0 ]
	[ "$(cat "$group/pids.max")" = 128 ]
	[ "$(cat "$group/cpu.max")" = "150000 100000" ]
	kill "$sleeper"
	until_true 30 refute sandbox_running 1001
	for controller in cpu memory pids; do
		grep -w $controller $unit/cgroup.subtree_control
	done
}

check_memory_limit_ends_in_oom() {
	exec_as_openclaw small python3 -c 'b = bytearray(16 << 20)'
	expect 137 exec_as_openclaw small python3 -c 'b = bytearray(256 << 20); print("had it")' >/tmp/oom
	[ ! -s /tmp/oom ]
	journalctl -k -b --grep 'oom-kill|Memory cgroup out of memory' | tail -n 2
	journalctl -k -b -q --grep 'Memory cgroup out of memory' | grep -q .
	# The unit itself lives on.
	[ "$(systemctl show -P Result creeld)" = success ]
	in_force
}

check_pids_limit() {
	exec_as_openclaw small sh -c 'for i in 1 2 3 4 5; do sleep 1 & done; wait'
	expect 2 exec_as_openclaw small sh -c 'for i in $(seq 60); do sleep 60 & done' 2>/tmp/fork
	grep -i 'cannot fork' /tmp/fork
	in_force
}

check_systemd_credential() {
	mkdir -p /run/systemd/system/creeld.service.d
	printf '[Service]\nSetCredential=token:canary-5f2a\n' >/run/systemd/system/creeld.service.d/credential.conf
	sed -e 's/^name: .*/name: secret/' -e '/^mounts:/i credentials:\n  - {env: TOKEN, from: "systemd:token"}' \
		/etc/creel/policies/exec-default.yaml >/etc/creel/policies/secret.yaml
	systemctl daemon-reload
	systemctl restart creeld
	exec_as_openclaw secret sh -c '[ "$TOKEN" = canary-5f2a ]'
	exec_as_openclaw secret sh -c 'echo "<$TOKEN>"' >/tmp/redacted
	grep '<' /tmp/redacted
	refute grep canary /tmp/redacted
	exec_as_openclaw exec-default sh -c '[ -z "${TOKEN+set}" ]'
	rm /run/systemd/system/creeld.service.d/credential.conf /etc/creel/policies/secret.yaml
	systemctl daemon-reload
	systemctl restart creeld
}

check_secrets_of_the_store() {
	local creds=/etc/creel/secrets.cred
	bash -eux /in/recipe # as README prints it
	refute grep AGE-SECRET-KEY $creds
	printf 'canary-1c9e\n' | creel secret set token
	sed -e 's/^name: .*/name: stored/' -e '/^mounts:/i credentials:\n  - {env: TOKEN, from: "store:token"}' \
		/etc/creel/policies/exec-default.yaml >/etc/creel/policies/stored.yaml
	systemctl reload creeld
	exec_as_openclaw stored sh -c '[ "$TOKEN" = canary-1c9e ]'
	[ "$(stat -c '%U %a' /var/lib/creel/secrets)" = "root 700" ]
	[ "$(stat -c '%U %a' /var/lib/creel/secrets/secrets.age)" = "root 600" ]
	# The control: the same search finds what it looks for.
	echo canary-1c9e >/var/log/control
	[ "$(grep -rl canary-1c9e /var/log /var/lib/creel /etc/creel /run/creel)" = /var/log/control ]
	rm /var/log/control
	systemctl restart creeld
	exec_as_openclaw stored sh -c '[ "$TOKEN" = canary-1c9e ]'
	expect 125 as member creel secret ls
	# Without the key it is refused, and no other is made.
	mv $creds $creds.away
	creeld --new-secrets-key | systemd-creds encrypt --name=secrets - $creds
	systemctl restart creeld
	expect 125 exec_as_openclaw stored true
	expect 125 creel secret rm token
	mv $creds.away $creds
	systemctl restart creeld
	exec_as_openclaw stored sh -c '[ "$TOKEN" = canary-1c9e ]'
	creel secret rm token
	rm -r /etc/systemd/system/creeld.service.d /etc/creel/policies/stored.yaml $creds
	systemctl daemon-reload
	systemctl restart creeld
}

# Where firmware tells systemd of a TPM it seals with it by itself; this machine
# has one, but no such firmware.
check_key_of_the_store_sealed_by_a_tpm() {
	local creds=/etc/creel/secrets.cred
	rm -f /var/lib/creel/secrets/secrets.age # of another key
	sed 's/systemd-creds encrypt/& --with-key=tpm2/' /in/recipe >/tmp/recipe
	bash -eux /tmp/recipe
	printf 'canary-7d3b\n' | creel secret set token
	sed -e 's/^name: .*/name: stored/' -e '/^mounts:/i credentials:\n  - {env: TOKEN, from: "store:token"}' \
		/etc/creel/policies/exec-default.yaml >/etc/creel/policies/stored.yaml
	systemctl restart creeld
	exec_as_openclaw stored sh -c '[ "$TOKEN" = canary-7d3b ]'
	# Without this TPM, which a copy of the disk is, the key stays sealed.
	mv /dev/tpmrm0 /dev/away
	refute systemctl restart creeld
	refute exec_as_openclaw stored true
	mv /dev/away /dev/tpmrm0
	systemctl reset-failed creeld
	systemctl restart creeld
	exec_as_openclaw stored sh -c '[ "$TOKEN" = canary-7d3b ]'
	creel secret rm token
	rm -r /etc/systemd/system/creeld.service.d /etc/creel/policies/stored.yaml $creds /tmp/recipe
	systemctl daemon-reload
	systemctl restart creeld
}

# verified CODE COMMAND…: verify-no-leak ends with this code, nothing left out.
verified() {
	local want=$1
	shift
	expect "$want" creel credential verify-no-leak --policy canary "$@" >/tmp/verified || {
		cat /tmp/verified
		return 1
	}
}

# told_token: what a process of this host can see of the canary, in $token.
told_token() {
	token=$(cat /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' | sed -n 's/^CANARY=//p' | head -n 1)
	[ "$token" ]
}

check_verify_no_leak() {
	local token enough=/srv/openclaw/workspace/enough
	sed -e 's/^name: .*/name: canary/' -e '/^mounts:/i credentials:\n  - {env: CANARY, from: "systemd:is-not-asked"}' \
		/etc/creel/policies/exec-default.yaml >/etc/creel/policies/canary.yaml
	systemctl reload creeld
	verified 0
	grep -E '^journal +covered' /tmp/verified
	grep -E '^kernel log +covered' /tmp/verified
	# What another process logs of it is found, in a field that journald compresses.
	verified 1 -- sh -c 'until [ -e /workspace/enough ]; do sleep 0.1; done' &
	until_true 60 told_token
	{ echo "$token" && head -c 3000 /dev/zero | tr '\0' x; } | tr '\n' ' ' | systemd-cat
	touch $enough
	wait $!
	rm $enough /etc/creel/policies/canary.yaml
	grep '^the journal' /tmp/verified
	refute grep -F "${token:0:52}" /tmp/verified
	systemctl reload creeld
}

check_reload_keeps_the_last_good() {
	local before
	cp -a /etc/creel/policies/exec-default.yaml /tmp/good.yaml
	echo 'nonsense: [' >/etc/creel/policies/exec-default.yaml
	before=$(main_pid)
	refute systemctl reload creeld
	[ "$(systemctl is-active creeld)" = active ]
	[ "$(main_pid)" = "$before" ]
	until_true 30 eval 'journalctl -u creeld -b -q --grep "exec-default.yaml" | grep .'
	exec_as_openclaw exec-default true
	creel ps >/tmp/ps 2>&1
	grep exec-default.yaml /tmp/ps
	creel doctor >/tmp/doctor || true
	grep exec-default.yaml /tmp/doctor
	# Mended, and changed: the change is in force when the reload ends.
	sed 's/pids: 128/pids: 99/' /tmp/good.yaml >/etc/creel/policies/exec-default.yaml
	systemctl reload creeld
	creel ps >/tmp/ps 2>&1
	refute grep exec-default.yaml /tmp/ps
	start_sleeper 1002
	[ "$(cat "/sys/fs/cgroup$(cut -d: -f3 "/proc/$(sandbox_running 1002)/cgroup")/pids.max")" = 99 ]
	kill "$sleeper"
	cp -a /tmp/good.yaml /etc/creel/policies/exec-default.yaml
	systemctl reload creeld
}

check_watchdog_restarts_a_stuck_creeld() {
	local before stuck
	mkdir -p /run/systemd/system/creeld.service.d
	printf '[Service]\nWatchdogSec=10\n' >/run/systemd/system/creeld.service.d/watchdog.conf
	systemctl daemon-reload
	systemctl restart creeld
	start_sleeper 1003
	before=$(systemctl show -P NRestarts creeld)
	stuck=$(main_pid)
	kill -STOP "$stuck"
	until_true 90 eval '[ "$(systemctl show -P NRestarts creeld)" -gt '"$before"' ]'
	until_true 60 in_force
	[ "$(main_pid)" != "$stuck" ]
	journalctl -u creeld -b -q --grep 'watchdog' | grep -i watchdog
	refute sandbox_running 1003
	rm /run/systemd/system/creeld.service.d/watchdog.conf
	systemctl daemon-reload
}

check_restarts_after_a_kill() {
	local killed
	start_sleeper 1004
	killed=$(main_pid)
	kill -KILL "$killed"
	until_true 60 eval '[ "$(main_pid)" != 0 ] && [ "$(main_pid)" != '"$killed"' ] && in_force'
	refute sandbox_running 1004
}

# mounted: the processes that see a mount of creel's. Those that end meanwhile are
# an error to grep(1), so its exit code says nothing.
mounted() { grep -ls /run/creel /proc/[0-9]*/mountinfo || true; }

check_stop_leaves_nothing() {
	start_sleeper 1005
	[ "$(inits)" -gt 0 ]
	[ "$(mounted)" ] # the control
	systemctl stop creeld-exec.socket creeld-admin.socket creeld.service
	[ "$(systemctl show -P Result creeld)" = success ]
	refute sandbox_running 1005
	[ "$(inits)" = 0 ]
	[ ! -e $unit ]
	[ -z "$(mounted)" ]
	find /run/creel -mindepth 1 | tee /tmp/left
	[ ! -s /tmp/left ]
	lsns -t net -n
	[ "$(lsns -t net -n | wc -l)" = 1 ]
	systemctl start creeld.service
	in_force
}

# answered: what the agent publishes answers a request for /healthz.
answered() {
	timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/18790; printf "GET /healthz HTTP/1.0\r\n\r\n" >&3; head -n1 <&3 | grep " 200 "'
}

agent_is() { creel ps | grep -E "openclaw-agent .* $1 "; }

# As README says, and the policy as it is shipped, with a program of the machine's
# own in OpenClaw's place, at boot and under the unit's rules.
check_agent_is_kept_up() {
	local pid serve='creel exec -- sh -c "echo said from a sandbox" >/state/said; stat -c %u /plugin >/state/owner; exec python3 /config/openclaw.json'
	bash -eux /in/agent
	[ "$(stat -c '%U:%G %a' /srv/openclaw/openclaw.json)" = "root:openclaw 640" ]
	cat >/srv/openclaw/openclaw.json <<-'END'
		import socket
		s = socket.create_server(("127.0.0.1", 18790))
		while True:
		    c, _ = s.accept()
		    c.recv(4096)
		    c.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
		    c.close()
	END
	sed -i -e "s|^command: .*|command: [sh, -c, '$serve']|" -e '/model-provider/d' -e 's/^publish: .*/publish: 127.0.0.1:18790/' \
		/etc/creel/policies/openclaw-agent.yaml
	systemctl restart creeld
	until_true 60 agent_is ready
	until_true 10 answered
	[ "$(cat /var/lib/openclaw/said)" = "said from a sandbox" ]
	[ "$(cat /var/lib/openclaw/owner)" = "$(id -u openclaw)" ]
	pid=$(pgrep -x -f 'python3 /config/openclaw.json')
	[ "$(stat -c %U "/proc/$pid")" = openclaw ]
	grep -E '^CapEff:\s0000000000000000$' "/proc/$pid/status"
	grep -E '^Seccomp:\s2$' "/proc/$pid/status"
	[ "$(tr '\0' '\n' <"/proc/$pid/environ" | sed -n 's/^OPENCLAW_GATEWAY_TOKEN=//p')" = "$(systemd-creds decrypt --name=openclaw-gateway-token /etc/creel/gateway-token.cred)" ]
	kill -KILL "$pid"
	until_true 30 refute kill -0 "$pid"
	until_true 60 agent_is ready
	until_true 10 answered
	systemctl kill -s KILL creeld # systemd starts it again
	until_true 60 agent_is ready
	until_true 10 answered
	[ "$(pgrep -c -x -f 'python3 /config/openclaw.json')" = 1 ]
	creel inspect openclaw-agent >/out/agent
	rm -r /etc/creel/policies/openclaw-agent.yaml /etc/creel/gateway-token.cred /etc/systemd/system/creeld.service.d
	systemctl daemon-reload
	systemctl restart creeld
	refute answered
	in_force
}

# A core limit of 0 keeps cores out of files, but not from the program of a
# piped core_pattern: the control. A sandbox's limit keeps both away.
check_no_core_program_sees_a_sandbox() {
	local pattern
	pattern=$(cat /proc/sys/kernel/core_pattern)
	printf '#!/bin/sh\ncat >"/tmp/cored-$1"\n' >/usr/local/sbin/cored
	chmod 0755 /usr/local/sbin/cored
	echo '|/usr/local/sbin/cored %e' >/proc/sys/kernel/core_pattern
	cp /bin/sh /tmp/control
	expect 134 sh -c 'ulimit -c 0; /tmp/control -c "kill -ABRT \$\$"; exit $?'
	[ -s /tmp/cored-control ]
	expect 134 exec_as_openclaw exec-default sh -c 'kill -ABRT $$'
	refute test -e /tmp/cored-sh
	echo "$pattern" >/proc/sys/kernel/core_pattern
}

check_the_other_runtime() {
	local other
	creel version
	other=$(creel version | grep -q crun && echo runc || echo crun)
	cp -a /etc/creel/creel.yaml /tmp/creel.yaml
	echo "runtime: $other" >>/etc/creel/creel.yaml
	systemctl restart creeld
	creel version | grep "$other"
	check_exec_as_openclaw
	check_delegated_cgroup
	cp -a /tmp/creel.yaml /etc/creel/creel.yaml
	systemctl restart creeld
}

check_exposure() {
	systemd-analyze security --no-pager creeld.service >/out/security
	# In tenths. What is weaker than it could be says why in the unit.
	[ "$(sed -n 's/^.*exposure level for creeld.service: \([0-9]*\)\.\([0-9]\).*/\1\2/p' /out/security)" -le 50 ]
}

checks=(users units_verify socket_activation notify exec_as_openclaw gateway_that_is_down_refuses refuses_users_without_rights
	delegated_cgroup memory_limit_ends_in_oom pids_limit systemd_credential verify_no_leak secrets_of_the_store key_of_the_store_sealed_by_a_tpm reload_keeps_the_last_good
	watchdog_restarts_a_stuck_creeld restarts_after_a_kill agent_is_kept_up stop_leaves_nothing
	no_core_program_sees_a_sandbox the_other_runtime exposure)

run_checks "${checks[@]}"
