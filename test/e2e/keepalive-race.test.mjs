/* Workers close idle connections while requests are on their way to them: nobody may notice. */
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import test from "node:test";

import { defer } from "./lib/defer.mjs";
import { agent, request } from "./lib/http.mjs";
import { answers, GET, inOneWakeUp, post, rawClient, response, scriptedWorker } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const MANY = 200;
const POST = post("/posted", "twelve bytes");

/** Node's own server, which says `Keep-Alive: timeout=N` and closes after that. */
async function nodeWorker(t, keep_alive_ms) {
  const worker = { connections: 0, requests: 0 };
  const server = http.createServer((req, res) => {
    worker.requests++;
    req.resume().on("end", () => res.end("ok"));
  });
  server.keepAliveTimeout = keep_alive_ms;
  server.on("connection", () => worker.connections++);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(t, () => {
    server.close();
    server.closeAllConnections();
  });
  return Object.assign(worker, { server, address: `127.0.0.1:${server.address().port}` });
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** `MANY` requests at once, half of them POSTs; how many failed. */
async function volley(lb, kept) {
  const tries = Array.from({ length: MANY }, (_, n) =>
    request(`${lb.url}/${n}`, n % 2 ? { agent: kept, method: "POST", body: "twelve bytes" } : { agent: kept }),
  );
  const ends = await Promise.allSettled(tries);
  return ends.filter((end) => end.status !== "fulfilled" || end.value.status !== 200).length;
}

test("200 requests at once as Node's five seconds run out: none fails", async (t) => {
  const worker = await nodeWorker(t, 5000);
  const lb = await siolb(t, { workers: [worker] });
  const kept = agent(t);
  assert.equal(await volley(lb, kept), 0);
  assert.ok((await lb.metric("upstreams_idle")) > 10);
  /* Where a proxy that keeps connections for as long as the worker does meets the worker's FIN. */
  await pause(4950);
  assert.equal(await volley(lb, kept), 0);
  const metrics = await lb.metrics();
  assert.equal(metrics.closed_without_answer_total, 0);
  assert.equal(worker.requests, 2 * MANY, "none came twice");
});

test("the worker's own word counts: timeout=2 retires connections a second earlier", async (t) => {
  const worker = await nodeWorker(t, 2000);
  const lb = await siolb(t, { workers: [worker] });
  const kept = agent(t);
  assert.equal(await volley(lb, kept), 0);
  const closed = await lb.untilMetrics((m) => m.upstreams_idle === 0);
  assert.ok(closed.upstream_connects_total > 0);
  assert.equal(await volley(lb, kept), 0);
  for (const ms of [900, 1000, 1100, 1900, 2000, 2100]) {
    await pause(ms);
    assert.equal(await volley(lb, kept), 0, `after ${ms} ms`);
  }
  const metrics = await lb.metrics();
  assert.equal(metrics.closed_without_answer_total, 0);
  assert.equal(worker.requests, 8 * MANY, "none came twice");
});

test("200 times: the worker closes in the very moment of the next request, a POST, and it is served", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await client.send(GET);
  let up = await worker.accepted();
  await up.expect(GET);
  for (let n = 0; n < MANY; n++) {
    await up.send(response("ok"));
    await client.expect(response("ok"));
    const dying = up;
    await inOneWakeUp(lb, () => (n % 2 ? dying.fin().then(() => client.send(POST)) : client.send(POST).then(() => dying.fin())));
    up = await worker.accepted();
    await up.expect(POST);
    dying.socket.destroy();
  }
  assert.equal(await lb.metric("closed_without_answer_total"), 0);
});

test("a worker that closes every connection behind its answer, without saying so: 200 GETs at once, none fails", async (t) => {
  const worker = await scriptedWorker(t, {
    script: async (up) => {
      await up.head();
      await up.fin(response("ok"));
    },
  });
  const lb = await siolb(t, { workers: [worker] });
  const kept = agent(t, 20);
  for (let round = 0; round < 3; round++) {
    const ends = await Promise.allSettled(Array.from({ length: MANY }, () => request(lb.url, { agent: kept })));
    assert.deepEqual(ends.filter((end) => end.status !== "fulfilled"), []);
  }
  const metrics = await lb.metrics();
  assert.equal(metrics.closed_without_answer_total, 0);
});

test("a worker that resets idle connections soon after its answer: 200 GETs at once, none fails", async (t) => {
  const worker = await scriptedWorker(t, {
    script: async (up) => {
      await up.head();
      await up.send(response("ok"));
      setImmediate(() => up.socket.resetAndDestroy());
    },
  });
  const lb = await siolb(t, { workers: [worker] });
  const clients = await Promise.all(Array.from({ length: 20 }, () => rawClient(t, lb)));
  for (let round = 0; round < MANY / 20; round++) {
    await Promise.all(
      clients.map(async (client) => {
        await client.send(GET);
        await client.expect(response("ok"));
      }),
    );
  }
  assert.equal(await lb.metric("requests_total"), MANY);
});

test("what a worker says it keeps (timeout=4) is used up to a second before that, and no longer", async (t) => {
  const said = response("ok", { fields: ["Keep-Alive: timeout=4"] });
  const worker = await scriptedWorker(t, { script: answers(() => said) });
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  const ask = async () => {
    await client.send(GET);
    await client.expect(said);
    return worker.connections;
  };
  assert.equal(await ask(), 1);
  await pause(1500);
  assert.equal(await ask(), 1);
  await pause(3200);
  assert.equal(await ask(), 2);
});

test("connections that are not used are closed by siolb, four seconds after their last answer at most", async (t) => {
  const worker = await scriptedWorker(t, { script: answers(() => response("ok")) });
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await client.send(GET);
  await client.expect(response("ok"));
  const from = Date.now();
  await lb.untilMetrics((m) => m.upstreams_idle === 0);
  const took = Date.now() - from;
  assert.ok(took > 2000 && took < 6000, `${took} ms`);
});
