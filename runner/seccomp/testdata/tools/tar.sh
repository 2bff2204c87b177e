#!/bin/bash
# Archives with links, a FIFO, a sparse file and attributes.
set -euo pipefail
mkdir -p t/s
echo a >t/s/f
ln -s f t/s/l
mkfifo t/p
truncate -s 1M t/sparse
tar --xattrs --acls -Sczf t.tgz t
tar -cJf t.txz t
rm -r t
tar --xattrs -xzf t.tgz
tar -tJf t.txz | wc -l
cat t/s/l
