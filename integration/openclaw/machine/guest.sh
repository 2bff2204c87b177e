#!/bin/bash
# Runs as root in the machine of package vm, with what `make install` installs
# in /in/root, and a drive with OpenClaw as `npm install -g` has it.
# shellcheck disable=SC2016 # the sandbox's shell expands these
# shellcheck source=/dev/null
. /in/checks

# Secrets are files here, in memory, and never in a variable or an argument: each
# step of this script is logged, on the disk that is searched for them.
secrets=/run/secrets

prepare() {
	install_creel
	mkdir -m 700 $secrets
	for secret in provider command control; do
		{ printf canary- && tr -dc a-z0-9 </dev/urandom | head -c 24; } >$secrets/$secret
	done
	mount -o ro /dev/nvme3n1 /mnt
	mount -t overlay -o ro,lowerdir=/mnt:/usr overlay /usr
	openclaw --version
	serve_model
	# What README says, as it prints it.
	bash -eux /in/store
	creel secret set model-provider <$secrets/provider
	bash -eux /in/declare
	systemd-creds decrypt --name=openclaw-gateway-token /etc/creel/gateway-token.cred $secrets/gateway
	systemd-creds decrypt --name=secrets /etc/creel/secrets.cred $secrets/key
	# Commands have a credential of their own.
	creel secret set deploy <$secrets/command
	sed -i '/^mounts:/i credentials:\n  - {env: DEPLOY_TOKEN, from: "store:deploy"}' /etc/creel/policies/exec-default.yaml
	# And what is left to the reader: a model, and to say that it is reached.
	install -m 640 -g openclaw /in/openclaw.json /srv/openclaw/openclaw.json
	sed -i -e 's/^# network:/network:/' -e 's/^#   egress:/  egress:/' -e 's|^env:|&\n  NODE_EXTRA_CA_CERTS: /authority/pem|' \
		-e 's|^tmp:|  - {kind: data, source: /srv/authority, target: /authority}\n&|' /etc/creel/policies/openclaw-agent.yaml
	printf '[Service]\nIPAddressAllow=any\n' >/etc/systemd/system/creeld.service.d/egress.conf
	systemctl daemon-reload
	# OpenClaw takes a workspace that has become empty for lost.
	as openclaw sh -c 'echo "Be kind." >/srv/openclaw/workspace/AGENTS.md'
	systemctl restart creeld
}

# serve_model has the stand-in answer in the name of the provider that the shipped
# policy names, on an Internet of this machine's own.
serve_model() {
	ip netns add internet
	ip link add internet type veth peer name eth0 netns internet
	ip address add 93.184.216.1/24 dev internet
	ip link set internet up
	ip -n internet address add 93.184.216.34/24 dev eth0
	ip -n internet link set eth0 up
	ip -n internet link set lo up
	echo '93.184.216.34 api.anthropic.com' >>/etc/hosts
	mkdir /srv/authority
	systemd-run --quiet --unit model ip netns exec internet /in/driver model 93.184.216.34:443 api.anthropic.com /srv/authority/pem
	until_true 60 test -s /srv/authority/pem
}

agent_is() { creel ps | grep -E "openclaw-agent .* $1 "; }

# turn SESSION TOOL ARGS: $call, of $session, and what the model was told it gave
# in /tmp/told.
turn() {
	session=$1
	/in/driver turn "$@" >/tmp/turned
	call=$(head -n 1 /tmp/turned)
	tail -n +2 /tmp/turned >/tmp/told
	head -c 2000 /tmp/told
}

# were WANT: the call had sandboxes, each of exec-default, of its session, for
# nobody, as the HTTP API names no sender, and ended so; none was another call's.
# Where it is asked until it holds, `set -e` is not in force.
were() {
	creel ps -a --json | /in/driver of "$call" >/tmp/sandboxes || return 1
	cat /tmp/sandboxes
	[ -s /tmp/sandboxes ] || return 1
	refute grep -vE "^[^ ]+ exec-default - [^ ]*\b$session\b[^ ]* $1\$" /tmp/sandboxes || return 1
	cut -d ' ' -f 1 /tmp/sandboxes | sed "s/\$/ $call/" >>/tmp/seen
	[ -z "$(sort -u /tmp/seen | cut -d ' ' -f 1 | uniq -d)" ]
}

# was WANT: that, and it was one.
was() {
	were "$1" || return 1
	[ "$(wc -l </tmp/sandboxes)" = 1 ]
}

check_is_ready_on_its_own_port() {
	until_true 400 agent_is ready
	curl_healthz
	# And nowhere else than on the loopback.
	ss -Htln 'sport = 18789' | awk '{print $4}' | sort -u >/tmp/listens
	[ "$(cat /tmp/listens)" = 127.0.0.1:18789 ]
}

curl_healthz() {
	timeout 20 bash -c 'exec 3<>/dev/tcp/127.0.0.1/18789; printf "GET /healthz HTTP/1.0\r\n\r\n" >&3; head -n1 <&3 | grep " 200 "'
}

check_is_confined() {
	local pid group namespace
	pid=$(pgrep -x openclaw-gatewa)
	[ "$(stat -c %U "/proc/$pid")" = openclaw ]
	grep -E '^(Cap|NoNewPrivs|Seccomp)' "/proc/$pid/status" | tee -a /out/timing
	[ "$(grep -cE '^Cap(Inh|Prm|Eff|Bnd|Amb):\s0000000000000000$' "/proc/$pid/status")" = 5 ]
	grep -E '^NoNewPrivs:\s1$' "/proc/$pid/status"
	grep -E '^Seccomp:\s2$' "/proc/$pid/status"
	for namespace in user pid mnt net ipc uts cgroup; do
		[ "$(readlink "/proc/$pid/ns/$namespace")" != "$(readlink "/proc/self/ns/$namespace")" ]
	done
	group=$(cut -d: -f3 "/proc/$pid/cgroup")
	case $group in /system.slice/creeld.service/*) ;; *) return 1 ;; esac
	[ "$(cat "/sys/fs/cgroup$group/memory.max")" = $((2 << 30)) ]
	[ "$(cat "/sys/fs/cgroup$group/pids.max")" = 512 ]
	creel inspect openclaw-agent | tee /out/agent
	tr -d ' \n' </out/agent | grep -F '"weaker":["network.egress"]'
	# Its root cannot be written, nor its configuration or the plugin; its state can.
	refute nsenter -t "$pid" -U -m -S "$(id -u openclaw)" -G "$(id -g openclaw)" sh -c 'echo x >/usr/x || echo x >>/config/openclaw.json || echo x >>/plugin/index.js'
	nsenter -t "$pid" -U -m -S "$(id -u openclaw)" -G "$(id -g openclaw)" sh -c 'echo x >/state/x && rm /state/x'
}

check_exec_succeeds_in_a_sandbox_of_its_own() {
	turn one exec '{"command": "echo fine; id -u; cat /proc/1/comm; pwd"}'
	grep fine /tmp/told
	grep -x "$(id -u openclaw)" /tmp/told
	grep -x init /tmp/told
	grep -x /workspace /tmp/told
	was 'exited 0'
	cp /tmp/sandboxes /tmp/first
	turn one exec '{"command": "echo again"}'
	was 'exited 0'
	# Of one session, by OpenClaw's name for it.
	[ "$(cut -d' ' -f4 /tmp/sandboxes)" = "$(cut -d' ' -f4 /tmp/first)" ]
}

check_exec_fails_with_its_code() {
	turn two exec '{"command": "echo partly; exit 7"}'
	grep partly /tmp/told
	grep 'code 7' /tmp/told
	was 'exited 7'
}

check_exec_that_takes_too_long_is_ended() {
	turn three exec '{"command": "echo begun; sleep 1000", "timeoutSeconds": 2}'
	grep 'timed out' /tmp/told
	until_true 60 was 'signaled 143'
}

check_background_command_is_killed() {
	local name
	turn four exec '{"command": "sleep 1000", "background": true}'
	name=$(grep -oE 'session [a-z]+-[a-z0-9-]+' /tmp/told | head -n 1)
	until_true 60 was 'goes on'
	local begun=$call
	turn four process "{\"action\": \"kill\", \"sessionId\": \"${name#session }\"}"
	call=$begun
	until_true 60 was 'signaled [0-9]+'
}

# What OpenClaw took of the command is what the model was told, and what it says
# that it left out.
check_large_output_arrives() {
	local more
	turn eight exec '{"command": "yes 0123456789abcdef | head -c 200000"}'
	was 'exited 0'
	more=$(grep -oE '\[\.\.\. [0-9]+ (more )?char' /tmp/told | grep -oE '[0-9]+')
	[ $((more + $(LC_ALL=C.UTF-8 wc -m </tmp/told))) -ge 200000 ]
}

check_files_are_written_read_edited_patched_and_listed() {
	local notes=/srv/openclaw/workspace/notes.txt
	turn five write '{"path": "notes.txt", "content": "one\ntwo\n"}'
	[ "$(cat $notes)" = $'one\ntwo' ]
	[ "$(stat -c %U $notes)" = openclaw ]
	until_true 60 were 'exited 0'
	turn five read '{"path": "notes.txt"}'
	grep two /tmp/told
	until_true 60 were 'exited 0'
	turn five edit '{"path": "notes.txt", "edits": [{"oldText": "two", "newText": "three"}]}'
	[ "$(cat $notes)" = $'one\nthree' ]
	until_true 60 were 'exited 0'
	turn five apply_patch '{"input": "*** Begin Patch\n*** Update File: notes.txt\n@@\n one\n-three\n+four\n*** End Patch\n"}'
	[ "$(cat $notes)" = $'one\nfour' ]
	until_true 60 were 'exited 0'
	turn five ls '{"path": "."}'
	grep notes.txt /tmp/told
	until_true 60 were 'exited 0'
}

# What else OpenClaw tries by itself, such as a catalogue, is refused and logged.
check_reaches_its_provider_and_nothing_else() {
	until_true 60 eval 'journalctl -u creeld -b -q --grep "egress refused" | grep -E "rule="'
	refute eval 'journalctl -u creeld -b -q --grep "egress refused" | grep anthropic'
	creel ps | grep openclaw-agent | grep network.egress
	# Nor do its commands reach what it reaches.
	turn seven exec '{"command": "bash -c \": </dev/tcp/93.184.216.34/443\" && echo reached; echo tried"}'
	grep tried /tmp/told
	refute grep reached /tmp/told
	bash -c ': </dev/tcp/93.184.216.34/443' # the control
}

# named: which secrets are in what is read, and how they are written there. To
# grep(1), what has no line in it is too long a line; lines are what NUL ends.
named() {
	{ LC_ALL=C grep -aozF -f /run/texts || [ $? = 1 ]; } | tr '\0' '\n' | sort -u |
		awk -F '\t' 'NR == FNR { name[$2] = $1; next } { print name[$0] }' /run/forms - | sort -u
}

# holders DIR…: the files with a secret. What vanishes meanwhile is an error to
# grep(1), so its exit code says nothing.
holders() { LC_ALL=C grep -rlazsF -f /run/texts "$@" || true; }

# write_control FILE: that which is no secret, in every way that is searched for.
write_control() {
	local before
	{
		cat $secrets/control
		for before in '' - --; do
			{ printf %s "$before" && cat $secrets/control && echo; } | base64 -w0
		done
		od -An -v -tx1 $secrets/control | tr -d ' \n'
		od -An -v -tx1 $secrets/control | tr -d ' \n' | tr a-f A-F
	} >"$1"
}

# only_control DEVICE: of all that is searched for, its bytes have the control, in
# every way, and nothing else. They are read past the cache, which may be older.
only_control() { [ "$(dd if="$1" bs=4M iflag=direct status=none | named)" = "$(grep ^control /run/forms | cut -f 1 | sort -u)" ]; }

# The command's, the provider's and the gateway's secret, and the key of the store.
check_secrets_are_on_no_disk_and_not_sent_to_the_model() {
	set -o pipefail
	local control=/var/lib/openclaw/control
	/in/driver forms $secrets/{provider,command,gateway,key,control} >/run/forms
	cut -f 2 /run/forms >/run/texts
	turn six exec '{"command": "echo printed-$((6 * 7)); env; cat /proc/self/environ; printf %s \"$DEPLOY_TOKEN\" | base64 -w0; printf %s \"$DEPLOY_TOKEN\" | od -An -v -tx1 | tr -d \" \\n\""}'
	was 'exited 0'
	[ "$(grep -oF '[redacted:DEPLOY_TOKEN]' /tmp/told | wc -l)" = 4 ]
	ip netns exec internet /in/driver requests $secrets/provider >/dev/shm/requests
	grep -q printed-42 /dev/shm/requests
	[ "$(cat /dev/shm/requests $secrets/control | named)" = 'control as it is' ]

	journalctl --sync
	[ "$({ journalctl -b -o export && cat $secrets/control; } | named)" = 'control as it is' ]
	write_control $control
	[ "$(holders /etc /home /out /root /run/creel /srv /tmp /var)" = $control ]

	# The disk itself, deleted files too: the machine can write to no other drive
	# but the one for its results, and has no swap.
	[ "$(findmnt -rno SOURCE,OPTIONS | awk '$1 ~ "^/dev/" && $2 ~ "(^|,)rw(,|$)" { sub(/\[.*/, "", $1); print $1 }' | sort -u)" = /dev/nvme0n1 ]
	[ "$(wc -l </proc/swaps)" = 1 ]
	dd if=$control of=/dev/nvme2n1 bs=1M seek=32 conv=notrunc,fsync status=none
	only_control /dev/nvme2n1
	sync
	rm $control
	sync
	only_control /dev/nvme0n1
}

run_checks is_ready_on_its_own_port is_confined exec_succeeds_in_a_sandbox_of_its_own exec_fails_with_its_code \
	exec_that_takes_too_long_is_ended background_command_is_killed large_output_arrives files_are_written_read_edited_patched_and_listed \
	reaches_its_provider_and_nothing_else secrets_are_on_no_disk_and_not_sent_to_the_model
