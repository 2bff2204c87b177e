#!/bin/bash
# What a script of checks starts with, in the machine: it is sourced as
# /in/checks. A check is a function check_NAME, each by itself fit to fail; what
# it prints is the reason it failed for. run_checks calls them.
set -u
exec >/out/log 2>&1

check() { # NAME: runs check_NAME
	local why status
	echo "--- $1"
	why=$(
		set -eux
		"check_$1" 2>&1
	)
	status=$?
	echo "$why"
	if [ $status = 0 ]; then
		echo "ok $1" >>/out/results
	else
		! declare -F start_over >/dev/null || start_over
		echo "not ok $1: exit $status: $(tail -n 12 <<<"$why" | tr '\n' '|')" >>/out/results
	fi
	echo "$SECONDS s: $1 ended with $status" | tee -a /out/timing >/dev/console
}

# In a function that is called by refute, until_true or expect, or after `if`, `&&`
# and the like, `set -e` is not in force (bash(1)): its last command decides, and
# those before it need `|| return 1`.

# refute COMMAND…: the command fails. (`! command` would not end the check.) One
# that is not there has not failed, and grep(1) with an error has no answer, also
# where it found something.
refute() {
	local got=0
	"$@" || got=$?
	case $1:$got in
	*:0) echo "held, and must not: $*" ;;
	*:12[67] | grep:[!1] | grep:??*) echo "cannot tell, exit code $got: $*" ;;
	*) return 0 ;;
	esac
	return 1
}

# until_true SECONDS COMMAND…: asks again until it holds.
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt "$end" ] || return 1
		sleep 0.2
	done
}

# expect CODE COMMAND…: the command ends with exactly this exit code.
expect() {
	local want=$1 got=0
	shift
	"$@" || got=$?
	[ "$got" = "$want" ] || {
		echo "exit code $got, want $want: $*"
		return 1
	}
}

as() { # USER COMMAND…
	local user=$1
	shift
	setpriv --reuid "$user" --regid "$user" --init-groups -- "$@"
}

# install_creel: what `make install` installs, in /in/root, and what follows it.
install_creel() {
	cp -a /in/root/. /
	systemd-sysusers
	systemd-tmpfiles --create creel.conf
	systemctl daemon-reload
	systemctl enable creeld.service
}

# run_checks NAME…: prepare, without which there are no results, then each check.
run_checks() {
	set -ex
	prepare
	set +ex
	for name in "$@"; do
		check "$name"
	done
	echo "done" >>/out/results
}
