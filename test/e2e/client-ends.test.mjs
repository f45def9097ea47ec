/* Clients that leave: a FIN goes on as a FIN and the answer is still delivered, a RST ends the worker's side at once. */
import assert from "node:assert/strict";
import test from "node:test";

import { answers, get, GET, HANDSHAKE, inOneWakeUp, openAnswer, post, rawClient, response, scriptedWorker, teach } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

async function asked(t, request = GET, first = request) {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await client.send(first);
  const up = await worker.accepted();
  await up.expect(first);
  return { worker, lb, client, up };
}

test("a client's FIN during a request goes on as FIN, the answer is delivered, nothing is pooled", async (t) => {
  const { lb, client, up } = await asked(t);
  await client.fin();
  assert.equal(await up.ended(), "fin");
  await up.send(response("still delivered"));
  assert.deepEqual(await client.rest(), { text: response("still delivered"), end: "fin" });
  const metrics = await lb.untilMetrics((m) => m.clients === 0);
  assert.equal(metrics.upstreams_idle, 0);
  up.socket.destroy();
});

test("a client's FIN in one segment with its request does, too", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await inOneWakeUp(lb, () => client.fin(GET));
  const up = await worker.accepted();
  assert.deepEqual(await up.rest(), { text: GET, end: "fin" });
  await up.send(response("still delivered"));
  assert.deepEqual(await client.rest(), { text: response("still delivered"), end: "fin" });
});

test("a client's FIN during the answer goes on as FIN, and the rest of the answer is delivered", async (t) => {
  const { client, up } = await asked(t);
  const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
  await up.send(head);
  await client.expect(head);
  await client.fin();
  assert.equal(await up.ended(), "fin");
  await up.send("0\r\n\r\n");
  assert.deepEqual(await client.rest(), { text: "0\r\n\r\n", end: "fin" });
});

test("a held poll: the worker learns of the client's FIN at once", async (t) => {
  const poll = [];
  const worker = await scriptedWorker(t, {
    script: answers(({ target }, up) => (target.includes("sid=") ? new Promise(() => poll.push(up)) : openAnswer("w0"))),
  });
  const lb = await siolb(t, { workers: [worker] });
  const [sid] = await teach(lb, [worker]);
  const client = await rawClient(t, lb);
  await client.send(get(`${HANDSHAKE}&sid=${sid}`));
  await lb.untilMetrics((m) => m.route_known_total === 1 && m.exchanges === 1);
  await client.fin();
  while (poll.length === 0) await new Promise(setImmediate);
  assert.equal(await poll[0].ended(), "fin");
  poll[0].socket.destroy(); /* as Node does */
  assert.equal(await client.ended(), "fin");
});

test("a client's FIN behind two pipelined requests: both are answered, the FIN goes on with the second", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await client.fin(get("/one") + get("/two"));
  const up = await worker.accepted();
  await up.expect(get("/one"));
  await up.send(response("1"));
  await up.expect(get("/two"));
  assert.equal(await up.ended(), "fin");
  await up.send(response("2"));
  assert.deepEqual(await client.rest(), { text: response("1") + response("2"), end: "fin" });
});

test("a client's FIN in the middle of its request body ends the worker's request, too", async (t) => {
  const half = "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf";
  const { lb, client, up } = await asked(t, half);
  await client.fin();
  assert.equal(await up.ended(), "fin");
  await up.send(response("no", { status: "400 Bad Request", fields: ["Connection: close"] }));
  const { text, end } = await client.rest();
  assert.match(text, /^HTTP\/1\.1 400 /);
  assert.equal(end, "fin");
  await lb.untilMetrics((m) => m.clients === 0 && m.upstreams_idle === 0);
});

for (const [when, prepare] of [
  ["while the worker thinks", async () => {}],
  [
    "in the middle of the answer",
    async ({ client, up }) => {
      await up.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
      await client.until("the part", () => client.has_bytes);
    },
  ],
]) {
  test(`a client's RST ${when} closes the worker's connection at once`, async (t) => {
    const peers = await asked(t);
    await prepare(peers);
    await peers.client.reset();
    assert.match((await peers.up.rest()).end, /fin|reset/);
    const metrics = await peers.lb.untilMetrics((m) => m.clients === 0);
    assert.deepEqual([metrics.client_aborts_total, metrics.upstreams_idle], [1, 0]);
    const line = await peers.lb.waitLog((l) => l.event === "closed");
    assert.deepEqual([line.end, line.reason], ["client/exchange", "reset"]);
  });
}

test("a client's RST in the middle of its request body closes the worker's connection at once", async (t) => {
  const { client, up } = await asked(t, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
  await client.reset();
  assert.match(await up.ended(), /fin|reset/);
});

test("a client's RST in one wake-up with its request reaches the worker within two sweeps", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await inOneWakeUp(lb, async () => {
    await client.send(GET);
    await client.reset();
  });
  const up = await worker.accepted();
  const from = Date.now();
  await up.expect(GET);
  assert.match(await up.ended(), /fin|reset/);
  assert.ok(Date.now() - from < 4000);
  await lb.untilMetrics((m) => m.clients === 0 && m.exchanges === 0);
});

test("a client's RST in one wake-up with the worker's answer leaves nothing behind", async (t) => {
  const { lb, client, up } = await asked(t);
  await inOneWakeUp(lb, async () => {
    await up.send(response("nobody reads it"));
    await client.reset();
  });
  await lb.untilMetrics((m) => m.clients === 0 && m.exchanges === 0);
});

test("Connection: close of the client is honoured on its side: answer, FIN", async (t) => {
  const request = get("/last", "Connection: close");
  const { client, up } = await asked(t, request);
  await up.send(response("bye"));
  assert.deepEqual(await client.rest(), { text: response("bye"), end: "fin" });
});

test("what a client pipelines behind Connection: close is not served", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await client.send(get("/last", "Connection: close") + get("/never"));
  const up = await worker.accepted();
  await up.expect(get("/last", "Connection: close"));
  await up.send(response("bye"));
  assert.deepEqual(await client.rest(), { text: response("bye"), end: "fin" });
  assert.equal(await lb.metric("requests_total"), 1);
});

test("a client that leaves between two requests costs nothing: the worker's connection stays pooled", async (t) => {
  const { lb, client, up, worker } = await asked(t);
  await up.send(response("1"));
  await client.expect(response("1"));
  await client.fin();
  assert.equal(await client.ended(), "fin");
  assert.equal(await lb.metric("upstreams_idle"), 1);
  const next = await rawClient(t, lb);
  await next.send(GET);
  await up.expect(GET);
  await up.send(response("2"));
  await next.expect(response("2"));
  assert.equal(worker.connections, 1);
});

test("a POST whose client resets before the body is complete does not reach another connection", async (t) => {
  const { client, up, worker, lb } = await asked(t, post("/p", "whole"));
  await client.reset();
  assert.match(await up.ended(), /fin|reset/);
  await lb.untilMetrics((m) => m.clients === 0);
  assert.equal(worker.connections, 1);
});
