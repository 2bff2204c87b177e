#!/bin/bash
# Files, workers, children, HTTP.
set -euo pipefail
cat >main.js <<'JS'
const { execFileSync, spawn } = require('child_process');
const fs = require('fs');
const http = require('http');
const { Worker, isMainThread } = require('worker_threads');
if (isMainThread) {
  fs.mkdirSync('x');
  fs.writeFileSync('x/f', 'y');
  fs.cpSync('x', 'z', { recursive: true });
  execFileSync('true');
  new Worker(__filename).on('exit', () => spawn('echo').on('exit', () => http.get(process.argv[2], (reply) => {
    reply.on('data', async (body) => console.log('node', String(body), String(await fs.promises.readFile('z/f'))));
  })));
}
JS
node main.js "$URL"
