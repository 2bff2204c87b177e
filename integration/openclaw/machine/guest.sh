#!/bin/bash
# Runs as root in the machine of package vm, with what `make install` installs
# in /in/root, and a drive with OpenClaw as `npm install -g` has it.
# shellcheck source=/dev/null
. /in/checks

canary=canary-$(tr -dc a-z0-9 </dev/urandom | head -c 24)

prepare() {
	install_creel
	mount -o ro /dev/nvme3n1 /mnt
	mount -t overlay -o ro,lowerdir=/mnt:/usr overlay /usr
	openclaw --version
	serve_model
	# What README says, as it prints it.
	bash -eux /in/store
	echo "$canary" | creel secret set model-provider
	bash -eux /in/declare
	OPENCLAW_GATEWAY_TOKEN=$(systemd-creds decrypt --name=openclaw-gateway-token /etc/creel/gateway-token.cred)
	export OPENCLAW_GATEWAY_TOKEN
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

# turn SESSION TOOL ARGS: $call, and what the model was told it gave in /tmp/told.
turn() {
	/in/driver turn "$@" >/tmp/turned
	call=$(head -n 1 /tmp/turned)
	tail -n +2 /tmp/turned | tee /tmp/told
}

# was WANT: the call had one sandbox, of exec-default, that ended so.
was() {
	creel ps -a --json | /in/driver of "$call" | tee /tmp/sandboxes
	[ "$(wc -l </tmp/sandboxes)" = 1 ]
	grep -E " exec-default .* $1\$" /tmp/sandboxes
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
	[ "$(cut -d' ' -f1 /tmp/sandboxes)" != "$(cut -d' ' -f1 /tmp/first)" ]
	# Of one session, by OpenClaw's name for it.
	[ "$(cut -d' ' -f3 /tmp/sandboxes)" = "$(cut -d' ' -f3 /tmp/first)" ]
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

check_files_are_written_and_read() {
	turn five write '{"path": "notes.txt", "content": "one\ntwo\n"}'
	[ "$(cat /srv/openclaw/workspace/notes.txt)" = $'one\ntwo' ]
	[ "$(stat -c %U /srv/openclaw/workspace/notes.txt)" = openclaw ]
	creel ps -a --json | /in/driver of "$call" | grep exec-default
	turn five read '{"path": "notes.txt"}'
	grep two /tmp/told
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

# Neither is in a file of the machine but those that hold it for systemd and
# creeld, encrypted; a control, which a command prints, is.
check_secrets_are_on_no_disk() {
	local control=control-8d1c
	turn six exec "{\"command\": \"echo $control; env; cat /proc/self/environ\"}"
	ip netns exec internet timeout 60 bash -c 'exec 3<>/dev/tcp/127.0.0.1/9000; printf "GET /requests HTTP/1.0\r\n\r\n" >&3; cat <&3' >/dev/shm/requests
	grep -q "$control" /dev/shm/requests
	for secret in "$canary" "$OPENCLAW_GATEWAY_TOKEN"; do
		refute grep -qF "$secret" /dev/shm/requests
		journalctl --sync
		refute grep -rlF "$secret" /etc /home /root /run/creel /srv /tmp /var
	done
	grep -rlF "$control" /var/lib/openclaw
}

run_checks is_ready_on_its_own_port is_confined exec_succeeds_in_a_sandbox_of_its_own exec_fails_with_its_code \
	exec_that_takes_too_long_is_ended background_command_is_killed files_are_written_and_read reaches_its_provider_and_nothing_else secrets_are_on_no_disk
