// Runs every command of OpenClaw's sandboxed tools through `creel exec`, each in
// a container of its own, and tells creel for whom. What a command may see, and
// for whom it may run at all, is the policy's to say, never this file's.
//
// OpenClaw tells the hook before a tool call who asked for it, and asks the
// backend for a program to spawn without telling it that. An id, made here, put
// into the call's environment and good for one command, joins the two.
import { spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import path from "node:path";
import { definePluginEntry } from "openclaw/plugin-sdk/plugin-entry";
import { createRemoteShellSandboxFsBridge, registerSandboxBackend } from "openclaw/plugin-sdk/sandbox";

// CALL carries the id. creel refuses a command with a variable of this name, so
// one that a model made up, or that was not taken out here, runs nothing.
const CALL = "CREEL_CALL";

// CREEL_FAILED is the exit code of `creel exec` when no command ran.
const CREEL_FAILED = 125;

// MOST bounds what is remembered, of calls and of talks: calls that OpenClaw
// blocked after our hook never end. One that is forgotten is refused.
const MOST = 1024;

// MOST_BYTES is what a file tool may bring at once, as with OpenClaw's own
// sandboxes.
const MOST_BYTES = 100 * 1024 * 1024;

// calls are those under way, by their id, the oldest first. OpenClaw loads this
// file more than once, one copy for the hooks and one for the backend, and all
// of them must know the same.
const calls = (globalThis[Symbol.for("creel.calls")] ??= new Map());

// talks are what is known of who speaks in a session, by its key. While the
// model works for one, OpenClaw hands it what others say there ("steering"), and
// goes on calling all that follows the first one's (OpenClaw's
// docs/concepts/queue-steering.md, Scope).
const talks = (globalThis[Symbol.for("creel.talks")] ??= new Map());

// origin names a person or a place of a chat platform as policies do:
// telegram:123456789, or irc:libera/nick for an account that is not the default
// one, where the same nick is somebody else. No two origins have the same name.
function origin(requester, id) {
  if (!/^[a-z][a-z0-9_-]*$/.test(requester?.channel ?? "") || (id ?? "") === "") return undefined;
  const plain = (text) => String(text).replace(/[^!-~]|[%/]/gu, (c) => encodeURIComponent(c));
  const account = requester.accountId ?? "default";
  return `${requester.channel}:${account === "default" ? "" : `${plain(account)}/`}${plain(id)}`;
}

// conversation is where a call was asked for. OpenClaw names some by platform,
// too: telegram:-1001234567890.
function conversation({ channelId, requester }) {
  const prefix = `${requester?.channel}:`;
  return channelId?.startsWith(prefix) ? channelId.slice(prefix.length) : channelId;
}

// voice is who said a message and where, of which only equality matters. What
// OpenClaw does not say of it makes it nobody's: an error here would be lost.
function voice(message) {
  const about = message.__openclaw;
  const [by, from] = [about?.senderIdentity, about?.transport];
  return { who: person(by?.pluginId ?? from?.channel, by?.accountId, about?.senderId), where: JSON.stringify([from?.channel, from?.conversationRef]) };
}

const person = (platform, account, id) => JSON.stringify([platform, account ?? "default", id]);

// hear is the hook before a message is written down, which is before the model
// is told it, or before what it answers is done.
function hear({ message }, { sessionKey }) {
  const talk = talks.get(sessionKey) ?? { fresh: new Map(), answered: new Map(), voices: new Map() };
  if (message.role === "user") {
    const said = voice(message);
    for (const list of [talk.fresh, talk.voices]) list.set(JSON.stringify(said), said);
  } else if (message.role === "assistant" && talk.fresh.size > 0) {
    [talk.answered, talk.fresh] = [talk.fresh, new Map()];
  }
  talks.delete(sessionKey);
  talks.set(sessionKey, talk);
  if (talks.size > MOST) talks.delete(talks.keys().next().value);
}

// names says for whom and from where a call is, as far as only one person, in
// one place, has told the model anything since the run began: in what its first
// call answers, and later. Whoever said more than that could have asked for it.
function names(ctx) {
  const talk = talks.get(ctx.sessionKey);
  if (!talk) return {};
  if (talk.run !== ctx.runId) [talk.run, talk.voices] = [ctx.runId, new Map([...talk.answered, ...talk.fresh])];
  const [first, ...rest] = talk.voices.values();
  if (!first) return {};
  const { channel, accountId, senderId } = ctx.requester ?? {};
  const alone = [first, ...rest].every(({ who }) => who === person(channel, accountId, senderId));
  const together = rest.every(({ where }) => where === first.where);
  return {
    sender: alone ? origin(ctx.requester, senderId) : undefined,
    channel: together ? origin(ctx.requester, conversation(ctx)) : undefined,
  };
}

// remember is the hook before every tool call. requester is what OpenClaw itself
// found out; senderIsOwner, which a client could once claim, is not looked at.
function remember(event, ctx) {
  for (const [id, call] of calls) {
    // A session has one run at a time: what another left behind is over.
    if (call.session === ctx.sessionKey && call.run !== ctx.runId) calls.delete(id);
  }
  const id = randomUUID();
  calls.set(id, {
    session: ctx.sessionKey,
    run: ctx.runId,
    name: ctx.toolCallId,
    ...names(ctx),
    env: event.params.env ?? {},
  });
  if (calls.size > MOST) calls.delete(calls.keys().next().value);
  // Whoever talks to OpenClaw can have a session's commands run by OpenClaw
  // itself ("/exec host=gateway"). A call that says where it is to run is refused
  // where that is not so.
  return event.toolName === "exec" ? { params: { host: "sandbox", elevated: false, env: { ...event.params.env, [CALL]: id } } } : undefined;
}

// forget is the hook after every tool call.
function forget(event, ctx) {
  for (const [id, call] of calls) {
    if (call.session === ctx.sessionKey && call.name === ctx.toolCallId) calls.delete(id);
  }
}

// take gives the call that an id belongs to, once.
function take(id) {
  const call = calls.get(id);
  if (!call || call.taken) throw new Error("creel: refused");
  call.taken = true;
  return call;
}

// current is who a session's file tools work for now. OpenClaw does not say
// which call wants a file, so the calls under way must be for the same person
// from the same place; otherwise nobody is named, and a policy that lists
// senders refuses.
function current(session) {
  const all = [...calls.values()].filter((call) => call.session === session);
  const [first, ...rest] = all;
  if (!first || rest.some((call) => call.sender !== first.sender || call.channel !== first.channel)) return { session };
  return { ...first, name: all.map((call) => call.name).join(",") };
}

// named is what creel calls a session, or a call, whose name a model's provider
// chooses: creel takes 255 bytes of what can be printed. No two are called the
// same: with "scope: session" of the policy they would share their files.
function named(text) {
  const taken = Buffer.byteLength(text) <= 255 && !/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/u.test(text);
  return taken ? text : createHash("sha256").update(JSON.stringify(text)).digest("hex");
}

// inside gives a working directory, which must be the workspace or below it.
function inside(workspace, dir) {
  const clean = path.posix.resolve(workspace, dir || workspace);
  if (clean !== workspace && !clean.startsWith(`${workspace}/`)) throw new Error(`creel: the working directory must be in ${workspace}`);
  return clean;
}

function backend({ policy = "exec-default", filePolicy = policy, workdir = "/workspace", program = "/usr/bin/creel", socket }, session) {
  // Nothing of the gateway's own environment, which holds its secrets.
  const env = socket ? { CREEL_SOCKET: socket } : {};

  // Values are joined to their flags, so that none can be taken for one.
  const exec = (name, call, dir, flags, command) => [
    program, "exec", "--die-with-parent", `--policy=${name}`, `--cwd=${dir}`, `--session=${named(session)}`,
    ...(call.sender === undefined ? [] : [`--sender=${call.sender}`]),
    ...(call.channel === undefined ? [] : [`--channel=${call.channel}`]),
    ...(call.name === undefined ? [] : [`--call=${named(call.name)}`]),
    ...flags, "--", ...command,
  ];

  const runShellCommand = async ({ script, args = [], stdin = "", allowFailure, signal }) => {
    const command = ["sh", "-c", script, "openclaw", ...args];
    const [file, ...argv] = exec(filePolicy, current(session), workdir, ["--interactive"], command);
    const result = await run(file, argv, { env, signal, killSignal: "SIGKILL" }, stdin);
    if (result.code === CREEL_FAILED || (result.code !== 0 && !allowFailure)) {
      throw Object.assign(new Error(result.stderr.toString().trim() || `ended with ${result.code}`), result);
    }
    return result;
  };

  return {
    id: "creel",
    runtimeId: `creel-${policy}-${session}`,
    runtimeLabel: `creel, policy ${policy}`,
    configLabel: policy,
    configLabelKind: "Policy",
    workdir,
    // OpenClaw mixes its own PATH and the like into env: only what the call
    // itself set is passed on, and creel refuses what would run other code.
    async buildExecSpec({ command, workdir: dir, env: given }) {
      const call = take(given[CALL]);
      const set = Object.entries(call.env).map(([name, value]) => `--env=${name}=${value}`);
      return { argv: exec(policy, call, inside(workdir, dir), set, ["sh", "-c", command]), env, stdinMode: "pipe-closed" };
    },
    runShellCommand,
    // Files are read in sandboxes, too, and not by the gateway: it would follow
    // links that a command made, and for whoever asks.
    createFsBridge: ({ sandbox }) => createRemoteShellSandboxFsBridge({
      sandbox,
      runtime: { remoteWorkspaceDir: workdir, remoteAgentWorkspaceDir: workdir, runRemoteShellScript: runShellCommand },
    }),
  };
}

// run gives what a program wrote and how it ended. It is ended when it writes
// more than OpenClaw is to hold, which a policy need not bound.
function run(file, argv, options, stdin) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, argv, { ...options, stdio: "pipe" });
    const [stdout, stderr] = [[], []];
    let room = MOST_BYTES;
    const keep = (chunks) => (data) => {
      room -= data.length;
      if (room >= 0) return chunks.push(data);
      child.kill("SIGKILL");
      reject(new Error(`creel: more than ${MOST_BYTES} bytes`));
    };
    child.stdout.on("data", keep(stdout));
    child.stderr.on("data", keep(stderr));
    child.stdin.on("error", () => {}); // a script may end before it has read all
    child.stdin.end(stdin);
    child.on("error", reject);
    child.on("close", (code) => resolve({ stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr), code: code ?? CREEL_FAILED }));
  });
}

export default definePluginEntry({
  id: "creel",
  name: "creel",
  description: "Runs every command of OpenClaw's sandboxed tools through creel, in a container of its own.",
  register(api) {
    // Last of all hooks: what others change of a call, they change before.
    api.on("before_tool_call", remember, { priority: Number.MIN_SAFE_INTEGER });
    api.on("after_tool_call", forget);
    // First of all hooks: of what was said, none is to change by whom.
    api.on("before_message_write", hear, { priority: Number.MAX_SAFE_INTEGER });
    if (api.registrationMode !== "full") return; // hooks are to fire in the other modes too
    registerSandboxBackend("creel", async ({ sessionKey, cfg }) => {
      // Nothing that was asked for is dropped in silence.
      if (cfg.workspaceAccess !== "rw") throw new Error("creel: set sandbox.workspaceAccess to rw; the policy says whether the workspace can be written");
      if (cfg.docker?.binds?.length) throw new Error("creel: sandbox.docker.binds has no effect; name directories in the policy's mounts");
      return backend(api.pluginConfig ?? {}, sessionKey);
    });
  },
});
