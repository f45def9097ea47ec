/* What is refused (DESIGN 8): the status, the end of the connection, and that nothing of it met a worker. */
import assert from "node:assert/strict";
import test from "node:test";

import { get, GET, rawClient, response, scriptedWorker } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const line = (text, ...fields) => [text, ...fields, "", ""].join("\r\n");
const fields = (...lines) => line("GET / HTTP/1.1", "Host: x", ...lines);
const body = (...lines) => line("POST / HTTP/1.1", "Host: x", ...lines);
const host = (...lines) => line("GET / HTTP/1.1", ...lines);
const MAX_LENGTH = 2n ** 63n - 1n;

const REFUSED = {
  400: {
    "bare LF as line end": "GET / HTTP/1.1\nHost: x\n\n",
    "bare LF after a field": "GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
    "bare LF as the empty line": "GET / HTTP/1.1\r\nHost: x\r\n\n",
    "bare CR in a value": fields("A: b\rc"),
    "bare CR before the request line": `\r${GET}`,
    "bare LF before the request line": `\n${GET}`,
    "three CRLF before the request line": `\r\n\r\n\r\n${GET}`,
    "NUL in a value": fields("A: b\0c"),
    "NUL in a name": fields("A\0: b"),
    "NUL in the target": line("GET /\0 HTTP/1.1", "Host: x"),
    "a control in a value": fields("A: b\x01c"),
    "DEL in a value": fields("A: b\x7fc"),
    "ESC in the target": line("GET /\x1b HTTP/1.1", "Host: x"),
    "tab in the target": line("GET /\t HTTP/1.1", "Host: x"),
    "a folded line": fields("A: b", " c"),
    "a line folded with a tab": fields("A: b", "\tc"),
    "white space before the first field": "GET / HTTP/1.1\r\n Host: x\r\n\r\n",
    "white space before a colon": fields("A : b"),
    "a tab before a colon": fields("Content-Length\t: 5"),
    "an empty field name": fields(": b"),
    "a field name that is no token": fields("A(b): c"),
    "a field name with a byte over 0x7f": fields("\xc3\xa4: c"),
    "a field without a colon": fields("just text"),
    "two spaces after the method": line("GET  / HTTP/1.1", "Host: x"),
    "two spaces before the version": line("GET /  HTTP/1.1", "Host: x"),
    "a space behind the version": line("GET / HTTP/1.1 ", "Host: x"),
    "a space before the method": ` ${GET}`,
    "tabs in the request line": line("GET\t/\tHTTP/1.1", "Host: x"),
    "a space in the target": line("GET /a b HTTP/1.1", "Host: x"),
    "a method that is no token": line("G(T / HTTP/1.1", "Host: x"),
    "no method": line("/ HTTP/1.1", "Host: x"),
    "HTTP/0.9": "GET /\r\n",
    "lower case http": line("GET / http/1.1", "Host: x"),
    "a version that is no number": line("GET / HTTP/x.1", "Host: x"),
    "bytes of TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an empty Transfer-Encoding": body("Transfer-Encoding: "),
    "an empty Transfer-Encoding beside a length": body("Transfer-Encoding:", "Content-Length: 4"),
    "Transfer-Encoding: identity": body("Transfer-Encoding: identity"),
    "Transfer-Encoding: gzip, chunked": body("Transfer-Encoding: gzip, chunked"),
    "Transfer-Encoding: chunked, chunked": body("Transfer-Encoding: chunked, chunked"),
    "Transfer-Encoding: xchunked": body("Transfer-Encoding: xchunked"),
    "Transfer-Encoding with a parameter": body("Transfer-Encoding: chunked;q=1"),
    "Transfer-Encoding in quotes": body('Transfer-Encoding: "chunked"'),
    "a tab behind a coding": body("Transfer-Encoding: chunked\t"),
    "two Transfer-Encoding lines": body("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "Transfer-Encoding behind a length": body("Content-Length: 4", "Transfer-Encoding: chunked"),
    "Transfer-Encoding before a length": body("Transfer-Encoding: chunked", "Content-Length: 4"),
    "Transfer-Encoding in HTTP/1.0": line("POST / HTTP/1.0", "Host: x", "Transfer-Encoding: chunked"),
    "Content-Length: +4": body("Content-Length: +4"),
    "Content-Length: -4": body("Content-Length: -4"),
    "Content-Length: 0x4": body("Content-Length: 0x4"),
    "Content-Length: 4 4": body("Content-Length: 4 4"),
    "Content-Length: 4.0": body("Content-Length: 4.0"),
    "a tab behind a length": body("Content-Length: 4\t"),
    "an empty Content-Length": body("Content-Length: "),
    "a list as Content-Length": body("Content-Length: 4, 4"),
    "Content-Length twice, the same": body("Content-Length: 4", "Content-Length: 4"),
    "Content-Length twice, not the same": body("Content-Length: 4", "content-length: 5"),
    "Content-Length 2^63": body(`Content-Length: ${MAX_LENGTH + 1n}`),
    "Content-Length 2^64 + 4": body(`Content-Length: ${2n ** 64n + 4n}`),
    "two Host lines": host("Host: a", "Host: a"),
    "a Host with a blank": host("Host: a b"),
    "a Host with a path": host("Host: a/b"),
    "a Host with user info": host("Host: me@a"),
    "a Host list": host("Host: a, b"),
    "a Host with a bad port": host("Host: a:http"),
    "a Host with a port over 65535": host("Host: a:65536"),
    "a Host that differs from the target": line("GET http://a/ HTTP/1.1", "Host: b"),
    "a relative target": line("GET index.html HTTP/1.1", "Host: x"),
    "a target of another scheme": line("GET ftp://x/ HTTP/1.1", "Host: x"),
    "GET *": line("GET * HTTP/1.1", "Host: x"),
    "an empty authority in the target": line("GET http:///a HTTP/1.1", "Host: x"),
  },
  405: { CONNECT: line("CONNECT x:443 HTTP/1.1", "Host: x:443") },
  414: { "a target over head_size": `GET /${"a".repeat(17_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, "a target without end": `GET /${"a".repeat(20_000)}` },
  431: {
    "a head over head_size": fields(`A: ${"b".repeat(17_000)}`),
    "a field without end": `GET / HTTP/1.1\r\nHost: x\r\nA: ${"b".repeat(20_000)}`,
    "257 fields": fields(...Array.from({ length: 256 }, (_, n) => `F${n}: x`)),
  },
  505: {
    "HTTP/2.0": line("GET / HTTP/2.0", "Host: x"),
    "HTTP/1.2": line("GET / HTTP/1.2", "Host: x"),
    "HTTP/1.10": line("GET / HTTP/1.10", "Host: x"),
    "the preface of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  },
};

/* Accepted because real clients do it: the worker gets every byte. */
const FINE = {
  "bytes over 0x7f in a value": fields("A: \xff\x80\xc3\xa4"),
  "bytes over 0x7f in the target": line("GET /\xc3\xa4 HTTP/1.1", "Host: x"),
  "underscores in a name": fields("my_field: x"),
  "tabs in a value": fields("A:\tb\tc\t"),
  "an empty value": fields("A:"),
  "no Host": host("A: b"),
  "an empty Host": host("Host:"),
  "a Host with a port": host("Host: a.example:8080"),
  "an IPv6 Host": host("Host: [::1]:8080"),
  "an absolute target that agrees with Host": line("GET http://x/a HTTP/1.1", "Host: x"),
  "OPTIONS *": line("OPTIONS * HTTP/1.1", "Host: x"),
  "a method that nobody knows": line("BREW /pot HTTP/1.1", "Host: x"),
  "256 fields": fields(...Array.from({ length: 255 }, (_, n) => `F${n}: x`)),
  "CHUNKED in capitals, blanks around it": `${body("transfer-ENCODING:  ChunKed  ")}0\r\n\r\n`,
  "leading zeros in a length": body("Content-Length: 0000000000000000000000004") + "body",
  "reserved characters in the target": line('GET /"<>\\^`{|}?a=[]#b HTTP/1.1', "Host: x"),
};

/** One worker and siolb for a whole table: rows must not disturb each other. */
async function table(t) {
  const got = [];
  const worker = await scriptedWorker(t, {
    script: async (up) => {
      for (;;) {
        got.push(await up.head());
        await up.send(response("met a worker"));
      }
    },
  });
  const lb = await siolb(t, { workers: [worker] });
  return { worker, lb, got };
}

async function assertRefused(client, status) {
  const { text, end } = await client.rest();
  assert.match(text, new RegExp(`^HTTP/1\\.1 ${status} `));
  assert.match(text, /\r\nConnection: close\r\n/);
  assert.match(text, /\r\nCache-Control: no-store\r\n/);
  assert.match(text, /\r\nContent-Type: application\/json\r\n/);
  const [head, json] = text.split("\r\n\r\n");
  assert.equal(json.length, Number(/Content-Length: (\d+)/.exec(head)[1]), "one reply and nothing behind it");
  assert.deepEqual(Object.keys(JSON.parse(json)), ["code", "message"]);
  assert.equal(end, "fin", "the reply is followed by a FIN");
}

for (const [status, rows] of Object.entries(REFUSED)) {
  test(`${status}: refused, the connection closes, no worker is met, nothing behind it is parsed`, async (t) => {
    const { worker, lb } = await table(t);
    for (const [what, bytes] of Object.entries(rows)) {
      await t.test(what, async (row) => {
        const client = await rawClient(row, lb);
        client.send(bytes + (/\r\n$/.test(bytes) ? get("/smuggled") : "")).catch(() => {});
        await assertRefused(client, status);
      });
    }
    assert.equal(worker.connections, 0);
    const metrics = await lb.metrics();
    assert.deepEqual([metrics.refused_requests_total, metrics.requests_total], [Object.keys(rows).length, 0]);
  });
}

test("what real clients do is served, byte for byte", async (t) => {
  for (const [what, bytes] of Object.entries(FINE)) {
    await t.test(what, async (row) => {
      const worker = await scriptedWorker(row);
      const lb = await siolb(row, { workers: [worker] });
      const client = await rawClient(row, lb);
      await client.send(bytes);
      const up = await worker.accepted();
      await up.expect(bytes);
      await up.send(response("fine"));
      await client.expect(response("fine"));
    });
  }
});

test("one or two CRLF before a request line are dropped", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await client.send(`\r\n${GET}`);
  const up = await worker.accepted();
  await up.expect(GET);
  await up.send(response("1"));
  await client.expect(response("1"));
  await client.send(`\r\n\r\n${GET}`);
  await up.expect(GET);
  await up.send(response("2"));
  await client.expect(response("2"));
});

test("a refusal is the same when the head comes byte by byte", async (t) => {
  const { worker, lb } = await table(t);
  for (const bytes of [REFUSED[400]["a folded line"], REFUSED[400]["bare LF after a field"], REFUSED[505]["the preface of HTTP/2"]]) {
    const client = await rawClient(t, lb);
    for (const byte of bytes) {
      if (client.end_seen || client.has_bytes) break;
      await client.send(byte).catch(() => {});
      await new Promise(setImmediate);
    }
    await assertRefused(client, bytes.startsWith("PRI") ? 505 : 400);
  }
  assert.equal(worker.connections, 0);
});

test("the reply arrives though the client keeps sending: no RST takes it away", async (t) => {
  const { lb } = await table(t);
  const client = await rawClient(t, lb);
  client.pause();
  await client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: bad\r\n\r\n");
  for (let n = 0; n < 10; n++) await client.send("x".repeat(50_000));
  client.resume();
  await assertRefused(client, 400);
});

test("a refused client that never stops sending is let go after a while", async (t) => {
  const { lb } = await table(t);
  const client = await rawClient(t, lb);
  const sends = async () => {
    await client.send("bad\r\n");
    for (;;) await client.send("x".repeat(100_000));
  };
  await assert.rejects(sends(), /EPIPE|ECONNRESET/);
  await lb.untilMetrics((m) => m.clients === 0);
});

test("a refused client that stays connected without a word is let go after a while", async (t) => {
  const { lb } = await table(t);
  const client = await rawClient(t, lb);
  await client.send("bad\r\n");
  await assertRefused(client, 400);
  await lb.untilMetrics((m) => m.clients === 0);
});

const CHUNKED = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
const BAD_CHUNKS = {
  "no digit": "x\r\n",
  "an empty size": "\r\n",
  "a blank behind the size": "5 \r\nhello\r\n0\r\n\r\n",
  "a sign": "+5\r\nhello\r\n",
  "0x": "0x5\r\nhello\r\n",
  "17 digits": "10000000000000005\r\n",
  "2^63": "8000000000000000\r\n",
  "bare LF behind the size": "5\nhello\r\n",
  "bare LF behind the data": "5\r\nhello\n0\r\n\r\n",
  "more data than the size says": "5\r\nhello!\r\n0\r\n\r\n",
  "less data than the size says": "5\r\nhell\r\n0\r\n\r\n",
  "a trailer that ends the connection": "5\r\nhello\r\n0\r\nConnection: close\r\n\r\n",
  "a control in an extension": "5;a=\x01\r\nhello\r\n",
  "a trailer without a colon": "0\r\ntrailer\r\n\r\n",
  "a folded trailer": "0\r\nA: b\r\n c\r\n\r\n",
  "a bare LF in a trailer": "0\r\nA: b\n\r\n",
  "extensions without end": `5;${"x".repeat(20_000)}\r\n`,
  "trailers without end": `0\r\n${"A: b\r\n".repeat(5_000)}\r\n`,
};

test("a bad chunk behind the head in one segment is a 400, and the worker's connection ends", async (t) => {
  for (const [what, chunk] of Object.entries(BAD_CHUNKS)) {
    await t.test(what, async (row) => {
      const worker = await scriptedWorker(row);
      const lb = await siolb(row, { workers: [worker] });
      const client = await rawClient(row, lb);
      client.send(CHUNKED + chunk).catch(() => {});
      await assertRefused(client, 400);
      if (worker.connections > 0) assert.match((await (await worker.accepted()).rest()).end, /fin|reset/);
      assert.equal(await lb.metric("upstreams_idle"), 0);
    });
  }
});

test("a bad chunk after good ones closes both sides, whatever the worker is doing", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await client.send(`${CHUNKED}5\r\nhello\r\n`);
  const up = await worker.accepted();
  await up.expect(`${CHUNKED}5\r\nhello\r\n`);
  await client.send("zzz\r\n" + get("/smuggled"));
  await assertRefused(client, 400);
  const { text, end } = await up.rest();
  assert.deepEqual([text, /fin|reset/.test(end)], ["", true], "nothing bad goes on");
  assert.equal(worker.connections, 1);
});

test("a bad chunk while an early answer is on its way aborts both sides", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const client = await rawClient(t, lb);
  await client.send(CHUNKED);
  const up = await worker.accepted();
  await up.expect(CHUNKED);
  const begun = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart";
  await up.send(begun);
  await client.expect(begun);
  await client.send("zzz\r\n");
  assert.match(await client.ended(), /fin|reset/);
  assert.match(await up.ended(), /fin|reset/);
});

const BAD_RESPONSES = {
  "no HTTP": "SSH-2.0-OpenSSH_9.2\r\n",
  "HTTP/2.0": "HTTP/2.0 200 OK\r\n\r\n",
  "HTTP/0.9": "<html>hello</html>",
  "a status under 100": "HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
  "a status of four digits": "HTTP/1.1 2000 X\r\nContent-Length: 0\r\n\r\n",
  "a status that is no number": "HTTP/1.1 abc X\r\nContent-Length: 0\r\n\r\n",
  "both framings": "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
  "a bad length": "HTTP/1.1 200 OK\r\nContent-Length: 3x\r\n\r\nabc",
  "a length twice": "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
  "another coding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
  "gzip before chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
  "a bare LF": "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
  "a NUL": "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
  "a folded line": "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
  "a blank before a colon": "HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc",
  "a head that is too large": `HTTP/1.1 200 OK\r\nA: ${"b".repeat(20_000)}`,
};

test("an answer that is no HTTP is a 502, and its connection is thrown away", async (t) => {
  for (const [what, answer] of Object.entries(BAD_RESPONSES)) {
    await t.test(what, async (row) => {
      const worker = await scriptedWorker(row);
      const lb = await siolb(row, { workers: [worker] });
      const client = await rawClient(row, lb);
      await client.send(GET);
      const up = await worker.accepted();
      await up.expect(GET);
      await up.send(answer);
      await assertRefused(client, 502);
      assert.match(await up.ended(), /fin|reset/);
      const metrics = await lb.metrics();
      assert.deepEqual([metrics.bad_responses_total, metrics.upstreams_idle], [1, 0]);
    });
  }
});

test("16 1xx are passed on, a 17th is no answer", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker] });
  const interim = "HTTP/1.1 102 Processing\r\n\r\n";
  const patient = await rawClient(t, lb);
  await patient.send(GET);
  const up = await worker.accepted();
  await up.expect(GET);
  await up.send(interim.repeat(16) + response("at last"));
  await patient.expect(interim.repeat(16) + response("at last"));
  await patient.send(GET);
  await up.expect(GET);
  await up.send(interim.repeat(17) + response("too late"));
  await patient.expect(interim.repeat(16));
  await assertRefused(patient, 502);
});

for (const [what, passed, bad] of [
  ["no size", "", "zzz\r\n"],
  ["a bare LF", "5", "\nhello\r\n"],
]) {
  test(`a chunk with ${what} in an answer that has begun aborts the client's connection: no final chunk, no error page`, async (t) => {
    const worker = await scriptedWorker(t, {});
    const lb = await siolb(t, { workers: [worker] });
    const client = await rawClient(t, lb);
    await client.send(GET);
    const up = await worker.accepted();
    await up.expect(GET);
    const begun = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    await up.send(begun);
    await client.expect(begun);
    await up.send(passed);
    await client.expect(passed);
    await up.send(bad);
    assert.equal(await client.ended(), "reset");
    assert.match(await up.ended(), /fin|reset/);
  });
}
