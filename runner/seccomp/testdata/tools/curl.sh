#!/bin/bash
# One transfer, then two at once.
set -euo pipefail
curl -sS --max-time 10 "$URL"
curl -sS --max-time 10 --parallel "$URL" "$URL" | wc -c
