/* strace - the system calls of a process while something happens. Without strace (scripts/setup installs it) a test fails. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { defer, within } from "./defer.mjs";
import { scratch } from "./siolb.mjs";

const WAIT_MS = 60_000;

/** Every one of `calls` (as behind strace -e trace=) of `pid` while `act` runs, one line each. */
export async function traced(t, pid, calls, act) {
  const file = join(scratch(t), "calls");
  const strace = spawn("strace", ["-f", "-e", `trace=${calls}`, "-o", file, "-p", String(pid)], { stdio: ["ignore", "ignore", "pipe"] });
  await once(strace, "spawn");
  defer(t, () => strace.exitCode ?? strace.kill("SIGINT"));
  const ended = once(strace, "close");
  const [said] = await within(WAIT_MS, "strace to attach", once(strace.stderr.setEncoding("utf8"), "data"));
  assert.match(said, / attached/);
  await act();
  strace.kill("SIGINT");
  await within(WAIT_MS, "strace to end", ended);
  return readFileSync(file, "utf8").split("\n");
}
