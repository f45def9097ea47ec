/* Unchanged: every byte as it was written, and when it was written. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import test from "node:test";

import { get, GET, HANDSHAKE, openAnswer, rawClient, response, scriptedWorker } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

async function workerAndLb(t, options) {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker], ...options });
  return { worker, lb, client: await rawClient(t, lb) };
}

async function asked(t, request = GET, options) {
  const peers = await workerAndLb(t, options);
  await peers.client.send(request);
  const up = await peers.worker.accepted();
  await up.expect(request);
  return { ...peers, up };
}

const lines = (...all) => all.join("\r\n");

const REQUESTS = {
  "case, order, spacing, duplicates, odd names": lines(
    "GET /a%20b;c=d?X=1&&y=%zz&sid= HTTP/1.1",
    "hOsT:   x",
    "X-Order: 1",
    "aCCEPT:\t*/*  ",
    "X-Order:2",
    "Empty:",
    "cookie: a=1",
    "Cookie: b=2",
    "x_under!#$%&'*+-.^`|~: \xff\xfe",
    "X-Forwarded-For: 1.2.3.4",
    "Via: 1.0 somebody",
    "Connection: keep-alive , x-order",
    "Keep-Alive: 300",
    "Proxy-Connection: close",
    "TE: trailers",
    "",
    "",
  ),
  "a length, and a body of any bytes": lines("PUT /a HTTP/1.1", "Host: x", "content-length:  7", "Expect:", "", "\0\r\n\r\n\xff\x80"),
  "chunks with extensions, odd digits, and trailers": lines(
    "POST /a HTTP/1.1",
    "Host: x",
    "transfer-encoding:chunked",
    "Trailer: X-Sum",
    "",
    '5;name="va;lue";x',
    "hello",
    "000001",
    "!",
    "0A",
    "0123456789",
    "a",
    "GET / HTTP",
    "000;last",
    "X-Sum: 1 ",
    "x-sum:2",
    "",
    "",
  ),
  "an absolute target": lines("GET HTTP://x/a?b HTTP/1.1", "Host: x", "", ""),
  "OPTIONS *": lines("OPTIONS * HTTP/1.1", "Host: x", "", ""),
  "a method of its own": lines("BREW-2! /pot HTTP/1.1", "Host: x", "Content-Length: 0", "", ""),
};

for (const [what, request] of Object.entries(REQUESTS)) {
  test(`request: ${what}: byte for byte`, async (t) => {
    const { client, up } = await asked(t, request);
    await up.quiet(50);
    await up.send(response("ok"));
    await client.expect(response("ok"));
  });

  test(`request: ${what}: the same when it comes byte by byte`, async (t) => {
    const { worker, client } = await workerAndLb(t);
    for (const byte of request) {
      await client.send(byte);
      await new Promise(setImmediate);
    }
    const up = await worker.accepted();
    await up.expect(request);
    await up.send(response("ok"));
    await client.expect(response("ok"));
  });
}

const RESPONSES = {
  "case, order, spacing, duplicates, odd names": lines(
    "HTTP/1.1 200 Very  Well, \xfcber",
    "date: never",
    "sErVeR:\tx ",
    "Set-Cookie: a=1; Path=/",
    "Set-Cookie: a=2",
    "X_Odd!: \xff",
    "Empty:",
    "Via: 1.1 me",
    "Connection: Keep-Alive, x",
    "Keep-Alive: timeout=5, max=100",
    "cOnTeNt-LeNgTh:   5",
    "",
    "hello",
  ),
  "no reason phrase": "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
  "an empty reason phrase": "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
  "an odd status": "HTTP/1.1 999 What\r\nContent-Length: 2\r\n\r\nok",
  "chunks with extensions, odd digits, and trailers": lines(
    "HTTP/1.1 200 OK",
    "Transfer-Encoding:  CHUNKED",
    "Trailer: X-Sum",
    "",
    "0005;a=b;c",
    "hello",
    "0a",
    "HTTP/1.1 2",
    "A;x",
    "0123456789",
    "00;last",
    "X-Sum: 1",
    "X-Sum:  2",
    "",
    "",
  ),
  "an empty chunked body": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  "204, no body": "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
  "304 with a length and no body": "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: x\r\n\r\n",
  "304 with chunked and no body": "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
  "an error page": "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops",
  "several 1xx before it": "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
};

for (const [what, answer] of Object.entries(RESPONSES)) {
  test(`response: ${what}: byte for byte, and the connection is used again on both sides`, async (t) => {
    const { lb, client, up } = await asked(t);
    await up.send(answer);
    await client.expect(answer);
    await client.send(GET);
    await up.expect(GET);
    for (const byte of answer) {
      await up.send(byte);
      await new Promise(setImmediate);
    }
    await client.expect(answer);
    assert.equal(await lb.metric("upstreams_idle"), 1);
  });
}

for (const head of ["Content-Length: 1000", "Transfer-Encoding: chunked", "Content-Length: 0", "X: no framing"]) {
  test(`the answer to HEAD has no body, whatever it says (${head})`, async (t) => {
    const { lb, client, up } = await asked(t, GET.replace("GET", "HEAD"));
    const answer = `HTTP/1.1 200 OK\r\n${head}\r\n\r\n`;
    await up.send(answer);
    await client.expect(answer);
    assert.equal(await lb.metric("upstreams_idle"), 1);
    await client.send(GET);
    await up.expect(GET);
    await up.send(response("body"));
    await client.expect(response("body"));
  });
}

test("each chunk of an answer arrives before the next is sent: nothing is buffered", async (t) => {
  const { client, up } = await asked(t);
  const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  await up.send(head);
  await client.expect(head);
  for (let n = 0; n < 50; n++) {
    const chunk = `5\r\n${String(n).padStart(5, "0")}\r\n`;
    await up.send(chunk);
    await client.expect(chunk);
  }
  await up.send("0\r\n\r\n");
  await client.expect("0\r\n\r\n");
});

test("single bytes of an answer arrive before the next is sent, chunk framing included", async (t) => {
  const { client, up } = await asked(t);
  const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  await up.send(head);
  await client.expect(head);
  for (const byte of "5;ext\r\nhello\r\n0\r\nA: b\r\n\r\n") {
    await up.send(byte);
    await client.expect(byte);
  }
});

test("each piece of a request body arrives before the next is sent: nothing is buffered", async (t) => {
  const request = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  const { client, up } = await asked(t, request);
  for (const byte of "5;ext\r\nhello\r\n0\r\nA: b\r\n\r\n") {
    await client.send(byte);
    await up.expect(byte);
  }
  await up.send(response("ok"));
  await client.expect(response("ok"));
});

test("the body of a handshake passes byte for byte and piece by piece, though it is read", async (t) => {
  const { lb, client, up } = await asked(t, get(HANDSHAKE, "Accept-Encoding: gzip, br", "Origin: https://app.example"));
  const answer = openAnswer("w0");
  const head = answer.slice(0, answer.indexOf("\r\n\r\n") + 4);
  await up.send(head);
  await client.expect(head);
  for (const byte of answer.slice(head.length)) {
    await up.send(byte);
    await client.expect(byte);
  }
  assert.equal(await lb.metric("learned_plain_total"), 1);
});

test("Expect: 100-continue: the head goes on alone, the 100 comes back, then the body", async (t) => {
  const head = lines("POST /a HTTP/1.1", "Host: x", "Content-Length: 4", "Expect: 100-continue", "", "");
  const { lb, client, up } = await asked(t, head);
  await client.quiet();
  await up.send("HTTP/1.1 100 Continue\r\n\r\n");
  await client.expect("HTTP/1.1 100 Continue\r\n\r\n");
  await client.send("body");
  await up.expect("body");
  await up.send(response("ok"));
  await client.expect(response("ok"));
  assert.equal(await lb.metric("upstreams_idle"), 1);
});

test("Expect: 100-continue refused: the final answer comes at once, and the client may still send its body", async (t) => {
  const head = lines("POST /a HTTP/1.1", "Host: x", "Content-Length: 4", "Expect: 100-continue", "", "");
  const { lb, client, up } = await asked(t, head);
  const no = response("no", { status: "417 Expectation Failed" });
  await up.send(no);
  await client.expect(no);
  await client.send("body");
  await up.expect("body");
  await lb.untilMetrics((m) => m.exchanges === 0);
  assert.equal(await lb.metric("upstreams_idle"), 0, "after an early answer a connection is not used again");
});

test("an early final answer with Connection: close (413): the client gets it in the middle of its body", async (t) => {
  const head = lines("POST /a HTTP/1.1", "Host: x", "Content-Length: 10000000", "", "first part");
  const { client, up } = await asked(t, head);
  const no = response("too large", { status: "413 Payload Too Large", fields: ["Connection: close"] });
  await up.fin(no);
  client.send("x".repeat(1_000_000)).catch(() => {});
  assert.deepEqual(await client.rest(), { text: no, end: "fin" });
  assert.match((await up.rest()).end, /fin|reset/);
});

test("an early answer whose worker keeps reading: the rest of the request goes on, then the next request", async (t) => {
  const head = lines("POST /a HTTP/1.1", "Host: x", "Content-Length: 8", "", "half");
  const { worker, client, up } = await asked(t, head);
  await up.send(response("early"));
  await client.expect(response("early"));
  await client.send("rest" + GET);
  await up.expect("rest");
  const fresh = await worker.accepted();
  await fresh.expect(GET);
  await fresh.send(response("next"));
  await client.expect(response("next"));
});

test("HTTP/1.0: a close-delimited answer, then FIN", async (t) => {
  const { client, up } = await asked(t, "GET / HTTP/1.0\r\n\r\n");
  await up.fin("HTTP/1.0 200 OK\r\nServer: x\r\n\r\nold and gold");
  assert.deepEqual(await client.rest(), { text: "HTTP/1.0 200 OK\r\nServer: x\r\n\r\nold and gold", end: "fin" });
});

test("HTTP/1.0 without keep-alive: the connection ends after an answer with a length", async (t) => {
  const { client, up } = await asked(t, "GET / HTTP/1.0\r\nHost: x\r\n\r\n");
  await up.send(response("ok"));
  assert.deepEqual(await client.rest(), { text: response("ok"), end: "fin" });
});

test("HTTP/1.0 with keep-alive, granted by the worker: the client's connection stays", async (t) => {
  const request = "GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n";
  const { worker, client, up } = await asked(t, request);
  const answer = response("ok", { fields: ["Connection: keep-alive"] });
  await up.send(answer);
  await client.expect(answer);
  await client.send(request);
  const next = await Promise.race([worker.accepted(), up.until("a request", () => up.has_bytes).then(() => up)]);
  await next.expect(request);
});

test("an answer until close to an HTTP/1.1 client ends its connection, though it asked to keep it", async (t) => {
  const { client, up } = await asked(t, get("/", "Connection: keep-alive"));
  await up.fin("HTTP/1.1 200 OK\r\n\r\nuntil close");
  assert.deepEqual(await client.rest(), { text: "HTTP/1.1 200 OK\r\n\r\nuntil close", end: "fin" });
});

test("10 MB of random bytes up and down in one exchange are the same bytes", async (t) => {
  const { client, up } = await asked(t, lines("POST / HTTP/1.1", "Host: x", "Content-Length: 10000000", "", ""));
  const hash = (text) => createHash("sha256").update(text, "latin1").digest("hex");
  const sent = randomBytes(10_000_000);
  const [got] = await Promise.all([up.read(sent.length), client.send(sent)]);
  assert.equal(hash(got), hash(sent.toString("latin1")));
  const head = "HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n";
  const [back] = await Promise.all([client.expect(head).then(() => client.read(sent.length)), up.send(head).then(() => up.send(sent))]);
  assert.equal(hash(back), hash(sent.toString("latin1")));
});

test("heads up to head_size pass both ways", async (t) => {
  const padded = (head) => `${head}X-Pad: ${"p".repeat(16_384 - head.length - "X-Pad: \r\n\r\n".length)}\r\n\r\n`;
  const request = padded("GET / HTTP/1.1\r\nHost: x\r\n");
  assert.equal(request.length, 16_384);
  const { client, up } = await asked(t, request);
  const answer = padded("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n");
  await up.send(answer);
  await client.expect(answer);
});
