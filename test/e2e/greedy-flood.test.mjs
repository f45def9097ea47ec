/*
 * Hundreds more connections than descriptors: who is inside is served all the time, who waits is served when there is
 * room, and waiting costs nothing. Not under ASan: it counts system calls.
 */
import assert from "node:assert/strict";
import test from "node:test";

import { ordinaryClients, ordinaryWorker } from "./lib/ordinary.mjs";
import { get, rawClient, SWITCH } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";
import { traced } from "./lib/strace.mjs";

const DESCRIPTORS = 256;
const FLOOD = 600;
const ROUNDS = 50;
const WAIT_MS = 60_000;

/** How often siolb waited for events and accepted while `act` ran. */
async function wakeUps(t, lb, act) {
  const calls = await traced(t, lb.pid, "epoll_wait,epoll_pwait,accept4", act);
  const count = (pattern) => calls.filter((call) => pattern.test(call)).length;
  return { waits: count(/epoll_p?wait/), accepts: count(/accept4/) };
}

async function start(t, worker, timeouts) {
  const prefix = ["prlimit", `--nofile=${DESCRIPTORS}:${DESCRIPTORS}`];
  const lb = await siolb(t, { workers: [worker], prefix, timeouts });
  const ordinary = await ordinaryClients(t, lb, { newcomers: false });
  const ceiling = Number(lb.ready_line.clients_max);
  assert.ok(ceiling > ordinary.connections && 2 * ceiling <= DESCRIPTORS, lb.ready_line.text);
  return { lb, ordinary, room: ceiling - ordinary.connections };
}

/** `count` connections; those over the ceiling wait in the kernel's queue. */
function flood(t, lb, count) {
  return Promise.all(Array.from({ length: count }, () => rawClient(t, lb)));
}

const ends = (client) => client.until("an end", () => client.end_seen, WAIT_MS);

test("600 who connect and say nothing, at 256 descriptors: they come and go in their turn, and so does a newcomer behind them", async (t) => {
  const worker = await ordinaryWorker(t);
  const { lb, ordinary } = await start(t, worker, { head: "500ms" });
  const silent = await flood(t, lb, FLOOD);
  const newcomer = await rawClient(t, lb);
  await newcomer.send(get("/newcomer"));
  await ordinary.served(ROUNDS);
  await Promise.all(silent.map(ends));
  assert.match(await newcomer.head(WAIT_MS), /^HTTP\/1\.1 200 OK\r\n/);
  await ordinary.served(10);
  const metrics = await lb.metrics();
  assert.ok(metrics.accept_pauses_total >= FLOOD / DESCRIPTORS, `${metrics.accept_pauses_total} pauses`);
  assert.deepEqual(worker.strangers, ["/newcomer"]);
});

/* A request is held until `release` and answered then, which closes its connection. */
const kinds = {
  "hold a request": {
    head: get("/held", "Connection: close"),
    worker: (hold) => ({ answer: (req, res) => hold(() => res.end("released")) }),
  },
  "hold a websocket": {
    head: get("/held", "Connection: Upgrade", "Upgrade: websocket"),
    worker: (hold) => ({ upgrade: (up) => up.send(SWITCH).then(() => hold(() => up.fin("released"))) }),
  },
};

for (const [what, { head, worker: made }] of Object.entries(kinds)) {
  test(`600 who ${what}, at 256 descriptors: the rest waits without a spin, and is served as soon as there is room`, async (t) => {
    const held = [];
    let hold = (release) => held.push(release);
    const worker = await ordinaryWorker(t, made((release) => hold(release)));
    const { lb, ordinary, room } = await start(t, worker, { keepalive: "60s", head: "60s" });
    const clients = await flood(t, lb, FLOOD);
    await Promise.all(clients.map((client) => client.send(head)));
    await lb.untilMetrics((m) => m.accept_pauses_total >= 1 && held.length >= room);

    const { waits, accepts } = await wakeUps(t, lb, () => ordinary.served(ROUNDS));
    assert.ok(waits > ROUNDS && waits < 30 * ROUNDS, `${waits} wake-ups for ${ROUNDS} round trips`);
    assert.equal(accepts, 0, "accepting has stopped");
    assert.equal(held.length, room, "nobody over the ceiling came in");

    hold = (release) => release();
    held.forEach(hold);
    const leaves = async (client) => {
      await ends(client);
      client.socket.destroy();
      assert.match((await client.rest()).text, /\r\n\r\nreleased$|\r\n\r\n8\r\nreleased\r\n0\r\n\r\n$/);
    };
    await Promise.all(clients.map(leaves));
    await ordinary.served(10);
    await lb.untilMetrics((m) => m.clients + m.tunnels <= ordinary.connections);
  });
}
