// Asks the plugin beside it, as OpenClaw does, for the programs of some commands:
// the array of what each call is in the first argument. What is answered for each
// is printed, or why it is refused.
import { getSandboxBackendFactory } from "openclaw/plugin-sdk/sandbox";
import plugin from "./plugin/index.js";

const hooks = {};
plugin.register({ registrationMode: "full", pluginConfig: {}, on: (name, hook) => { hooks[name] = hook; } });
const backend = await getSandboxBackendFactory("creel")({ sessionKey: "driven", cfg: { workspaceAccess: "rw" } });
const answers = [];
for (const { workdir, env, call = "call" } of JSON.parse(process.argv[2])) {
  const { params } = hooks.before_tool_call({ toolName: "exec", params: { env } }, { sessionKey: "driven", runId: "run", toolCallId: call });
  try {
    answers.push(await backend.buildExecSpec({ command: "true", workdir, env: { ...process.env, ...params.env } }));
  } catch (error) {
    answers.push({ refused: error.message });
  }
}
console.log(JSON.stringify(answers));
