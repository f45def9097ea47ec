/* When a request is sent a second time, and when it must not be. */
import assert from "node:assert/strict";
import test from "node:test";

import { answers, get, GET, HANDSHAKE, inOneWakeUp, openAnswer, post, rawClient, response, scriptedWorker, teach } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const POST = post("/posted", "twelve bytes");

/** A worker behind siolb, and one pooled connection to it. */
async function pooled(t, { proxy, more = [], ...options } = {}) {
  const worker = await scriptedWorker(t, options);
  const lb = await siolb(t, { workers: [worker, ...more], proxy });
  const client = await rawClient(t, lb);
  await client.send(GET);
  const up = await worker.accepted();
  await up.expect(GET);
  await up.send(response("first"));
  await client.expect(response("first"));
  assert.equal(await lb.metric("upstreams_idle"), 1);
  return { worker, lb, client, up };
}

const ENDS = [
  ["FIN", "fin", (up) => up.fin()],
  ["RST", "reset", (up) => up.reset()],
];

for (const [name, seen, act] of ENDS) {
  for (const method of ["GET", "HEAD", "OPTIONS"]) {
    test(`${method} on a reused connection that died by ${name} without a byte of an answer is sent again`, async (t) => {
      const { worker, lb, client, up } = await pooled(t);
      const request = GET.replace("GET", method);
      await client.send(request);
      await up.expect(request);
      await act(up);
      const fresh = await worker.accepted();
      await fresh.expect(request);
      const answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
      await fresh.send(answer);
      await client.expect(answer);
      const metrics = await lb.metrics();
      assert.deepEqual([metrics.retries_total, metrics.closed_without_answer_total], [1, 0]);
    });
  }

  for (const [what, request] of [
    ["a POST", POST],
    ["a DELETE", GET.replace("GET", "DELETE")],
    ["a PUT with an empty body", post("/put", "").replace("POST", "PUT")],
    ["a GET with a body", POST.replace("POST", "GET")],
    ["a chunked POST", "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"],
  ]) {
    test(`${what} on a reused connection that died by ${name} after it had arrived is not sent again`, async (t) => {
      const { worker, lb, client, up } = await pooled(t);
      await client.send(request);
      await up.expect(request);
      await act(up);
      assert.equal(await client.ended(), seen);
      const metrics = await lb.metrics();
      assert.deepEqual([metrics.retries_total, metrics.closed_without_answer_total], [0, 1]);
      assert.equal(worker.connections, 1);
    });
  }

  test(`a poll on a reused connection that died by ${name} is not sent again: the worker may hold it`, async (t) => {
    let dying;
    const died = new Promise((resolve) => (dying = resolve));
    const script = answers(({ target }, up) => (target.includes("sid=") ? new Promise(() => dying(up)) : openAnswer("w0")));
    const worker = await scriptedWorker(t, { script });
    const lb = await siolb(t, { workers: [worker] });
    const [sid] = await teach(lb, [worker]);
    const before = worker.connections;
    const client = await rawClient(t, lb);
    await client.send(get(`${HANDSHAKE}&sid=${sid}`));
    await act(await died);
    assert.equal(await client.ended(), seen);
    const metrics = await lb.metrics();
    assert.deepEqual([metrics.retries_total, metrics.upstream_reused_total], [0, 1]);
    assert.equal(worker.connections, before);
  });

  test(`a GET on a reused connection that died by ${name} in its answer is not sent again`, async (t) => {
    const { worker, client, up } = await pooled(t);
    await client.send(GET);
    await up.expect(GET);
    await up.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
    await client.expect("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
    await act(up);
    assert.equal(await client.ended(), seen);
    assert.equal(worker.connections, 1);
  });

  test(`a second death, by ${name}, is final: once is enough`, async (t) => {
    const { worker, lb, client, up } = await pooled(t);
    await client.send(GET);
    await up.expect(GET);
    await act(up);
    const fresh = await worker.accepted();
    await fresh.expect(GET);
    await act(fresh);
    assert.equal(await client.ended(), seen);
    assert.equal(worker.connections, 2);
    assert.equal(await lb.metric("retries_total"), 1);
  });
}

test("a retry goes to a fresh connection, though another pooled one is there", async (t) => {
  const { worker, lb, client, up } = await pooled(t);
  const second = await rawClient(t, lb);
  await client.send(GET);
  await up.expect(GET);
  await second.send(GET);
  const other = await worker.accepted();
  await other.expect(GET);
  await up.send(response("1"));
  await client.expect(response("1"));
  await other.send(response("2"));
  await second.expect(response("2"));
  assert.equal(await lb.metric("upstreams_idle"), 2);
  await client.send(GET);
  await other.expect(GET); /* most recent first */
  await other.fin();
  const fresh = await worker.accepted();
  await fresh.expect(GET);
});

test("without a sid a retry goes to another worker", async (t) => {
  const spare = await scriptedWorker(t, { id: "spare", script: answers(() => response("spare")) });
  const { client, up, worker } = await pooled(t, { more: [spare], proxy: { balance: "round-robin" } });
  await client.send(GET); /* round-robin: the spare one */
  await client.expect(response("spare"));
  await client.send(GET);
  await up.expect(GET);
  await up.fin();
  await client.expect(response("spare"));
  assert.equal(worker.connections, 1);
});

/* FIN with nothing of the request acknowledged: the worker's kernel has no room left for it. The first request, whose
 * body nobody reads, filled it; siolb has passed all of that on and so may use the connection again. */
async function fullConnection(t, more) {
  const workers = [await scriptedWorker(t, { id: "w0", pauseOnConnect: true }), ...more];
  const lb = await siolb(t, { workers, proxy: { balance: "round-robin" } });
  const client = await rawClient(t, lb);
  const body = "x".repeat(400_000);
  await client.send(post("/fills", body));
  const up = await workers[0].accepted();
  await lb.untilMetrics((m) => m.buffered_bytes === 0 && m.requests_total === 1);
  await client.quiet();
  await up.send(response("first"));
  await client.expect(response("first"));
  assert.equal(await lb.metric("upstreams_idle"), 1);
  return { worker: workers[0], lb, client, up };
}

test("a POST of which the worker's kernel has acknowledged nothing before the FIN is sent again", async (t) => {
  const { worker, lb, client, up } = await fullConnection(t, []);
  await client.send(POST);
  await lb.untilMetrics((m) => m.upstream_reused_total === 1);
  await up.fin();
  const fresh = await worker.accepted();
  fresh.resume();
  await fresh.expect(POST);
  await fresh.send(response("second"));
  await client.expect(response("second"));
  assert.equal(await lb.metric("retries_total"), 1);
});

test("a RST proves nothing: a POST is not sent again after it, acknowledged or not", async (t) => {
  const { worker, lb, client, up } = await fullConnection(t, []);
  await client.send(POST);
  await lb.untilMetrics((m) => m.upstream_reused_total === 1);
  await up.reset();
  assert.equal(await client.ended(), "reset");
  assert.equal(worker.connections, 1);
  assert.equal(await lb.metric("retries_total"), 0);
});

test("a POST that a fresh connection ended by FIN after reading it is not sent again", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await client.send(POST);
  const up = await worker.accepted();
  await up.expect(POST);
  await up.fin();
  assert.equal(await client.ended(), "fin");
  assert.equal(worker.connections, 1);
});

test("a malformed answer is a 502 and no retry", async (t) => {
  const { worker, lb, client, up } = await pooled(t);
  await client.send(GET);
  await up.expect(GET);
  await up.send("SSH-2.0-OpenSSH\r\n");
  const { text, end } = await client.rest();
  assert.match(text, /^HTTP\/1\.1 502 /);
  assert.equal(end, "fin");
  assert.equal(worker.connections, 1);
  assert.equal(await lb.metric("retries_total"), 0);
});

test("a client that has gone, by FIN, gets no retry: nobody waits for it", async (t) => {
  const { client, up, worker } = await pooled(t);
  await client.fin(GET);
  assert.deepEqual(await up.rest(), { text: GET, end: "fin" });
  await up.fin();
  assert.equal(await client.ended(), "fin");
  assert.equal(worker.connections, 1);
});

for (const [what, act] of [
  ["surplus bytes behind a response", async (up) => up.send(`${response("first")}HTTP/1.1 200 OK\r\n`)],
  ["a whole second response", async (up) => up.send(response("first") + response("nobody asked"))],
]) {
  test(`${what}: the client gets the first, the connection is not used again`, async (t) => {
    const worker = await scriptedWorker(t);
    const lb = await siolb(t, { workers: [worker] });
    const client = await rawClient(t, lb);
    await client.send(GET);
    const up = await worker.accepted();
    await up.expect(GET);
    await act(up);
    await client.expect(response("first"));
    assert.equal(await lb.metric("upstreams_idle"), 0);
    assert.match(await up.ended(), /fin|reset/);
    await client.send(GET);
    const fresh = await worker.accepted();
    await fresh.expect(GET);
    await fresh.send(response("second"));
    await client.expect(response("second"));
  });
}

test("surplus bytes on a pooled connection close it, and never become the answer to the next request", async (t) => {
  const { worker, lb, client, up } = await pooled(t);
  await up.send(response("poison"));
  const from = Date.now();
  assert.match(await up.ended(), /fin|reset/);
  assert.ok(Date.now() - from < 1500, "at once, not when its time has come");
  await client.send(GET);
  const fresh = await worker.accepted();
  await fresh.expect(GET);
  await fresh.send(response("clean"));
  await client.expect(response("clean"));
});

test("surplus bytes in one wake-up with the next request never become its answer", async (t) => {
  const { worker, lb, client, up } = await pooled(t);
  await inOneWakeUp(lb, async () => {
    await client.send(POST);
    await up.send(response("poison"));
  });
  const fresh = await worker.accepted();
  await fresh.expect(POST);
  await fresh.send(response("clean"));
  await client.expect(response("clean"));
  assert.match(await up.ended(), /fin|reset/);
});

for (const [what, request, answer] of [
  ["the worker's Connection: close", GET, response("x", { fields: ["Connection: close"] })],
  ["an HTTP/1.0 answer", GET, response("x").replace("HTTP/1.1", "HTTP/1.0")],
  ["an HTTP/1.0 request", GET.replace("HTTP/1.1", "HTTP/1.0"), response("x")],
  ["the client's Connection: close", get("/", "Connection: close"), response("x")],
]) {
  test(`${what} keeps a connection out of the pool`, async (t) => {
    const worker = await scriptedWorker(t);
    const lb = await siolb(t, { workers: [worker] });
    const client = await rawClient(t, lb);
    await client.send(request);
    const up = await worker.accepted();
    await up.expect(request);
    await up.send(answer);
    await client.expect(answer);
    assert.equal(await lb.metric("upstreams_idle"), 0);
    assert.match(await up.ended(), /fin|reset/);
  });
}

test("pooled connections serve other clients, most recent first, one request at a time", async (t) => {
  const worker = await scriptedWorker(t, { script: answers((_, up) => response(up.what)) });
  const lb = await siolb(t, { workers: [worker] });
  for (let n = 0; n < 10; n++) {
    const client = await rawClient(t, lb);
    await client.send(GET);
    await client.expect(response("worker w0, connection 0"));
  }
  const clients = await Promise.all(Array.from({ length: 10 }, () => rawClient(t, lb)));
  await inOneWakeUp(lb, () => Promise.all(clients.map((client) => client.send(GET))));
  for (const client of clients) assert.equal((await client.response()).status, 200);
  assert.ok(worker.connections <= 10);
});
