/* Workers that leave before, during and after a response: the client sees what it would see without siolb. */
import assert from "node:assert/strict";
import test from "node:test";

import { GET, inOneWakeUp, post, rawClient, response, scriptedWorker } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const POST = post("/posted", "twelve bytes");

async function workerAndLb(t, options) {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker], ...options });
  const client = await rawClient(t, lb);
  return { worker, lb, client };
}

/** The client has asked and the worker has the whole request. */
async function asked(t, request = GET, options) {
  const peers = await workerAndLb(t, options);
  await peers.client.send(request);
  const up = await peers.worker.accepted();
  await up.expect(request);
  return { ...peers, up };
}

/* A worker's end as an act, and as what the client has to see. */
const ENDS = [
  ["FIN", "fin", (up) => up.fin()],
  ["RST", "reset", (up) => up.reset()],
];

for (const [name, seen, act] of ENDS) {
  for (const [what, request] of [
    ["GET", GET],
    ["POST", POST],
  ]) {
    test(`${name} instead of an answer to a ${what}: the client's connection ends by ${name}, with no invented 502`, async (t) => {
      const { lb, client, up } = await asked(t, request);
      await act(up);
      assert.equal(await client.ended(), seen);
      const metrics = await lb.untilMetrics((m) => m.clients === 0);
      assert.deepEqual([metrics.closed_without_answer_total, metrics.retries_total], [1, 0]);
      const line = await lb.waitLog((l) => l.event === "closed");
      assert.deepEqual([line.end, line.reason], ["worker/exchange", "no-answer"]);
    });
  }

  test(`${name} after a 1xx and before the answer: the 1xx, then ${name}`, async (t) => {
    const { client, up } = await asked(t);
    const early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    await up.send(early);
    await client.expect(early);
    await act(up);
    assert.equal(await client.ended(), seen);
  });

  for (const [kind, head, part] of [
    ["a body with a length", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "a part of it"],
    ["a chunked body", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n"],
    ["a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "500\r\nhello"],
    ["the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n0\r\n"],
  ]) {
    test(`${name} in the middle of ${kind}: what came, then ${name}, nothing added`, async (t) => {
      const { lb, client, up } = await asked(t);
      await up.send(head + part);
      await client.expect(head + part);
      await act(up);
      assert.equal(await client.ended(), seen);
      const metrics = await lb.untilMetrics((m) => m.clients === 0);
      assert.deepEqual([metrics.truncated_total, metrics.upstreams_idle], [1, 0]);
    });

    test(`${name} in one wake-up with the beginning of ${kind}: the beginning arrives`, async (t) => {
      const { lb, client, up } = await asked(t);
      await inOneWakeUp(lb, async () => {
        await up.send(head + part);
        await act(up);
      });
      const { text, end } = await client.rest();
      assert.equal(text, head + part);
      assert.equal(end, seen);
      await lb.untilMetrics((m) => m.clients === 0 && m.truncated_total === 1);
    });
  }

  test(`${name} inside a response head: 502, since that was no HTTP`, async (t) => {
    const { lb, client, up } = await asked(t);
    await up.send("HTTP/1.1 200 OK\r\nContent-Le");
    await lb.untilMetrics((m) => m.buffered_bytes > 0);
    await act(up);
    const { text, end } = await client.rest();
    assert.match(text, /^HTTP\/1\.1 502 Bad Gateway\r\n/);
    assert.match(text, /\r\nConnection: close\r\n/);
    assert.equal(end, "fin");
    assert.equal(await lb.metric("bad_responses_total"), 1);
  });

  test(`${name} together with a complete answer: the answer is good and the client's connection stays`, async (t) => {
    const { worker, lb, client, up } = await asked(t);
    await inOneWakeUp(lb, async () => {
      await up.send(response("whole"));
      await act(up);
    });
    await client.expect(response("whole"));
    await client.send(GET);
    const fresh = await worker.accepted();
    await fresh.expect(GET);
    await fresh.send(response("second"));
    await client.expect(response("second"));
  });

  test(`${name} after a complete answer, the connection being pooled: the next request gets a fresh one`, async (t) => {
    const { worker, lb, client, up } = await asked(t);
    await up.send(response("first"));
    await client.expect(response("first"));
    assert.equal(await lb.metric("upstreams_idle"), 1);
    await act(up);
    await lb.untilMetrics((m) => m.upstreams_idle === 0);
    await client.send(POST);
    const fresh = await worker.accepted();
    await fresh.expect(POST);
    await fresh.send(response("second"));
    await client.expect(response("second"));
    assert.equal(await lb.metric("retries_total"), 0, "seen before the request was sent");
  });

  test(`${name} of a pooled connection in one wake-up with the next request, a POST: it goes to a fresh one`, async (t) => {
    const { worker, lb, client, up } = await asked(t);
    await up.send(response("first"));
    await client.expect(response("first"));
    await inOneWakeUp(lb, async () => {
      await client.send(POST);
      await act(up);
    });
    const fresh = await worker.accepted();
    await fresh.expect(POST);
    await fresh.send(response("second"));
    await client.expect(response("second"));
  });
}

test("a close-delimited body ends with the worker's FIN, and so does the client's connection", async (t) => {
  const { lb, client, up } = await asked(t);
  const head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n";
  await up.send(head);
  await client.expect(head);
  for (const part of ["one ", "two ", "three"]) {
    await up.send(part);
    await client.expect(part);
  }
  await up.fin(" end");
  assert.deepEqual(await client.rest(), { text: " end", end: "fin" });
  assert.equal(await lb.metric("truncated_total"), 0);
});

test("a close-delimited body that is cut by a RST is not made complete by a FIN", async (t) => {
  const { lb, client, up } = await asked(t);
  const head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n";
  await up.send(`${head}some of it`);
  await client.expect(`${head}some of it`);
  await up.reset();
  assert.equal(await client.ended(), "reset");
  assert.equal(await lb.metric("truncated_total"), 1);
});

test("a worker's RST behind an unfinished body that a slow client has not read yet takes none of it away", async (t) => {
  const { lb, client, up } = await asked(t);
  const head = "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n";
  client.pause();
  up.send(head + "x".repeat(64 << 20)).catch(() => {});
  await lb.untilMetrics((m) => m.buffered_bytes > 0);
  await up.reset();
  client.countOnly();
  client.resume();
  await client.until("an end", () => client.end_seen);
  const line = await lb.waitLog((l) => l.event === "closed");
  assert.equal(client.counted, Number(line.out));
  assert.equal(line.reason, "truncated");
});

test("truncated: requests that were pipelined behind it are not answered", async (t) => {
  const { client, worker, up } = await asked(t);
  await client.send(GET);
  await up.fin("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
  assert.deepEqual(await client.rest(), { text: "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart", end: "fin" });
  assert.equal(worker.connections, 1);
});

test("a worker that closes behind its answer, as it said (Connection: close): so does the client's connection", async (t) => {
  const { lb, client, up } = await asked(t);
  const last = response("bye", { fields: ["Connection: close"] });
  await up.send(last);
  assert.deepEqual(await client.rest(), { text: last, end: "fin" }, "before the worker has closed");
  assert.equal(await lb.metric("upstreams_idle"), 0);
  assert.equal(await up.ended(), "fin");
});

test("a worker that answers and closes with most of the request unread, as Node does at 413: the answer arrives", async (t) => {
  const worker = await scriptedWorker(t, { pauseOnConnect: true });
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  client.send(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n${"x".repeat(600_000)}`).catch(() => {});
  const up = await worker.accepted();
  const no = response("too large", { status: "413 Payload Too Large", fields: ["Connection: close"] });
  await lb.untilMetrics((m) => m.requests_total === 1);
  await up.send(no);
  up.socket.destroy(); /* bytes are unread: a RST */
  const { text } = await client.rest();
  assert.equal(text, no);
});

test("a dead worker is met while its connections are open: they end, others are served", async (t) => {
  const dead = await scriptedWorker(t, { id: "dead" });
  const alive = await scriptedWorker(t, { id: "alive" });
  const lb = await siolb(t, { workers: [dead, alive], proxy: { balance: "round-robin" } });
  const clients = await Promise.all([1, 2].map(() => rawClient(t, lb)));
  for (const client of clients) await client.send(GET);
  const [one, other] = [await dead.accepted(), await alive.accepted()];
  await Promise.all([one.expect(GET), other.expect(GET)]);
  dead.refuse();
  await one.reset();
  await other.send(response("alive"));
  const ends = await Promise.all(clients.map((client) => client.until("something", () => client.has_bytes || client.end_seen).then(() => client.end_seen)));
  assert.deepEqual(ends.sort(), [null, "reset"]);
});
