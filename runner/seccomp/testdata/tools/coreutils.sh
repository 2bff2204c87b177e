#!/bin/bash
# Files of each kind, copies with attributes, sizes, processes, terminals.
set -euo pipefail
mkdir -p a/b
echo one >a/f
ln -s f a/l
ln a/f a/h
mkfifo a/p
cp -a a c
mv c d
chmod 600 d/f
touch -d 2020-01-01 d/f
chown "$(id -u)" d/f
ls -laR --color d >/dev/null
stat d/f >/dev/null
df . >/dev/null
du -s d >/dev/null
dd if=/dev/zero of=big bs=1M count=4 status=none
truncate -s 1M big
sync -f big
sync big
sync
shuf -i 1-1000 | sort -n --parallel=4 | tail -1
timeout 5 nice -n 5 nohup true 2>/dev/null
install -m 755 d/f e
rm -rf d
date >/dev/null
nproc >/dev/null
split -n 2 big
sha256sum xaa >/dev/null
tail -f /dev/null &
kill $!
wait $! || true
mktemp -d >/dev/null
stty size </dev/null 2>/dev/null || true
echo coreutils
