/* limits.memory beside tunnels: what requests, answers and heads hold. */
import assert from "node:assert/strict";
import test from "node:test";

import { defer } from "./lib/defer.mjs";
import { answers, get, GET, rawClient, response, scriptedWorker } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const MEMORY = 1024 * 1024;
const CLIENTS = 60;

/** siolb with 1 MiB for all buffers, before a worker that `script` plays. */
async function scene(t, script, more = {}) {
  const worker = await scriptedWorker(t, { script });
  const lb = await siolb(t, { workers: [worker], limits: { memory: "1m", buffer: "64k" }, log: { access: "on" }, ...more });
  return { worker, lb };
}

/** An ordinary client is served now. */
async function assertServes(t, lb, target = "/ordinary") {
  const client = await rawClient(t, lb);
  await client.send(get(target));
  assert.equal((await client.response()).status, 200);
  client.socket.destroy();
}

const shed = (lb) => lb.log.filter((l) => l.event === "closed" && l.reason === "shed");

test("answers that nobody reads: the largest are cut, and their lines say whose they were", async (t) => {
  const large = response("x".repeat(8 * MEMORY));
  const { lb, worker } = await scene(t, answers(({ target }) => (target === "/ordinary" ? response("fine") : large)));
  const readers = [];
  for (let n = 0; n < CLIENTS; n++) {
    const client = await rawClient(t, lb);
    client.pause();
    await client.send(GET);
    readers.push(client);
  }
  const metrics = await lb.untilMetrics((m) => m.shed_total > 0 && m.buffer_memory + m.copied_bytes <= MEMORY);
  await assertServes(t, lb);
  await lb.waitLog((l) => l.event === "closed" && l.reason === "shed");
  const [line] = shed(lb);
  assert.deepEqual([line.end, line.worker, line.route], ["siolb/exchange", worker.address, "new"]);
  assert.ok(lb.log.some((l) => l.event === "access" && l.conn === line.conn), "the request has its access line");
  assert.ok(metrics.shed_total < CLIENTS, "not everybody has to go");
  assert.ok(lb.log.some((l) => l.event === "memory" && l.level === "warn"));
});

test("bodies that are kept in case they have to be sent again count too", async (t) => {
  const { lb } = await scene(t, async (up) => {
    const head = await up.head(Infinity);
    if (head.startsWith("GET /ordinary")) await up.send(response("fine"));
  });
  const body = "x".repeat(50_000);
  const senders = [];
  for (let n = 0; n < CLIENTS; n++) {
    const client = await rawClient(t, lb);
    client.send(`POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`).catch(() => {});
    senders.push(client);
  }
  const metrics = await lb.untilMetrics((m) => m.shed_total > 0 && m.exchanges + m.shed_total >= CLIENTS && m.buffer_memory + m.copied_bytes <= MEMORY);
  assert.ok(metrics.copied_bytes > MEMORY / 2, "what is held are copies");
  assert.ok(metrics.exchanges >= 10, "those that fit are held on");
  await assertServes(t, lb);
  assert.ok(shed(lb).length > 0);
  senders.forEach((client) => client.socket.resetAndDestroy());
  await lb.untilMetrics((m) => m.copied_bytes === 0 && m.buffer_memory === 0);
});

test("a buffer that once was large takes no more than its bytes need", async (t) => {
  const held = [];
  defer(t, () => held.forEach((up) => up.socket.destroy()));
  const { lb } = await scene(t, async (up) => {
    for (;;) {
      const head = await up.head(Infinity);
      if (head.startsWith("GET /held")) return void held.push(up);
      await up.send(response("fine"));
    }
  });
  const large = Array.from({ length: 5 }, (_, n) => get(`/${n}`, `A: ${"x".repeat(11_000)}`)).join("");
  const clients = [];
  for (let n = 0; n < 2 * CLIENTS; n++) {
    const client = await rawClient(t, lb);
    await client.send(large + get("/held") + "G");
    for (let answer = 0; answer < 5; answer++) await client.response();
    clients.push(client);
  }
  const metrics = await lb.untilMetrics((m) => m.exchanges === 2 * CLIENTS);
  assert.equal(metrics.buffered_bytes, 2 * CLIENTS, "a byte of each waits");
  assert.ok(metrics.buffer_memory <= 2 * CLIENTS * 4200, `${metrics.buffer_memory} bytes for them`);
  assert.equal(metrics.shed_total, 0);
});
