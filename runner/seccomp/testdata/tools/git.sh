#!/bin/bash
# A repository's life: commits, a merge, packing, a clone.
set -euo pipefail
git config --global user.email a@example.org
git config --global user.name a
git init -q repo
cd repo
for i in $(seq 50); do echo "$i" >"f$i"; done
git add .
git commit -qm first
git checkout -qb topic
echo x >>f1
git commit -qam second
git checkout -q -
git merge -q topic
git gc -q
git fsck --no-progress
cd ..
git clone -q "file://$PWD/repo" copy
cd copy
git log --oneline | wc -l
git status --porcelain
git grep -q x
