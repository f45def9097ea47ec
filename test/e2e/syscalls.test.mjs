/* What a message costs: one receive and one send, nothing else. Not under ASan: it counts system calls. */
import assert from "node:assert/strict";
import test from "node:test";

import { scriptedWorker, tunnel } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";
import { traced } from "./lib/strace.mjs";

const ROUND_TRIPS = 100;

test("100 round trips on one tunnel are 200 receives and 200 sends, and no epoll_ctl", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const { client, up } = await tunnel(t, lb, worker);
  const calls = await traced(t, lb.pid, "network,epoll_ctl", async () => {
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
