/* What a message costs: one receive and one send, nothing else. Not under ASan: it counts system calls. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";

import { defer, within } from "./lib/defer.mjs";
import { scriptedWorker, tunnel } from "./lib/scripted.mjs";
import { scratch, siolb } from "./lib/siolb.mjs";

const ROUND_TRIPS = 100;
const WAIT_MS = 10_000;
const has_strace = spawnSync("strace", ["-V"]).status === 0;

/** Every network and epoll_ctl call of `pid` while `act` runs, one line each. */
async function traced(t, pid, act) {
  const file = join(scratch(t), "calls");
  const strace = spawn("strace", ["-f", "-e", "trace=network,epoll_ctl", "-o", file, "-p", String(pid)], { stdio: ["ignore", "ignore", "pipe"] });
  defer(t, () => strace.exitCode ?? strace.kill("SIGINT"));
  const ended = once(strace, "close");
  await within(WAIT_MS, "strace to attach", once(strace.stderr.setEncoding("utf8"), "data"));
  await act();
  strace.kill("SIGINT");
  await within(WAIT_MS, "strace to end", ended);
  return readFileSync(file, "utf8").split("\n");
}

test("100 round trips on one tunnel are 200 receives and 200 sends, and no epoll_ctl", { skip: !has_strace && "no strace here" }, async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const { client, up } = await tunnel(t, lb, worker);
  const calls = await traced(t, lb.pid, async () => {
    for (let n = 0; n < ROUND_TRIPS; n++) {
      await client.send(`ping ${n}`);
      await up.expect(`ping ${n}`);
      await up.send(`pong ${n}`);
      await client.expect(`pong ${n}`);
    }
  });
  const first = calls.findIndex((call) => call.includes('"ping 0"'));
  const last = calls.findLastIndex((call) => call.includes(`"pong ${ROUND_TRIPS - 1}"`));
  assert.ok(first >= 0 && last > first, calls.slice(0, 20).join("\n"));
  const between = calls.slice(first, last + 1);
  const count = (pattern) => between.filter((call) => pattern.test(call)).length;
  const shown = between.slice(0, 12).join("\n");
  assert.equal(count(/ (recv|recvfrom|recvmsg|read|readv)\(/), 2 * ROUND_TRIPS, shown);
  assert.equal(count(/ (send|sendto|sendmsg|write|writev)\(/), 2 * ROUND_TRIPS, shown);
  assert.equal(count(/epoll_ctl\(/), 0, shown);
  assert.equal(between.length, 4 * ROUND_TRIPS, shown);
});
