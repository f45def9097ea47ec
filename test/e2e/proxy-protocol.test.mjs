/* The PROXY protocol: read on listeners with the flag `proxy` from trusted peers, written to workers. */
import assert from "node:assert/strict";
import test from "node:test";

import { answers, get, GET, rawClient, response, scriptedWorker, SWITCH, UPGRADE } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const SIGNATURE = "\r\n\r\n\0\r\nQUIT\n";
const V1 = "PROXY TCP4 9.9.9.9 10.0.0.1 51312 443\r\n";

/** A header of version 2; `addresses` are the bytes behind its length. */
function v2(command, family, addresses) {
  const head = Buffer.from([command, family, addresses.length >> 8, addresses.length & 0xff]);
  return SIGNATURE + head.toString("latin1") + Buffer.from(addresses).toString("latin1");
}

const V2_TCP4 = v2(0x21, 0x11, [9, 9, 9, 9, 10, 0, 0, 1, 200, 112, 1, 187]);
const V6 = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

/** What a worker is told of the client: its address, and the scheme where it is not http. */
function toldBy(head) {
  const [, address = "nobody"] = /^X-Forwarded-For: (.*)\r$/m.exec(head) ?? [];
  return address + (/^X-Forwarded-Proto: https\r$/m.test(head) ? " https" : "");
}

/** siolb that believes 127.0.0.1 and tells workers whom it believes. */
async function scene(t, options = {}) {
  const worker = await scriptedWorker(t, { script: answers(({ head }) => response(toldBy(head))) });
  const lb = await siolb(t, {
    workers: [worker],
    listen: "127.0.0.1:0 proxy",
    forward: { trust: "127.0.0.1", forwarded_for: "replace" },
    ...options,
  });
  return { worker, lb };
}

const GOOD = [
  ["version 1, IPv4", V1, "9.9.9.9"],
  ["version 1, IPv6", "PROXY TCP6 2001:db8::7 ::1 1 2\r\n", "2001:db8::7"],
  ["version 1, a client of whom nothing is known", "PROXY UNKNOWN some thing\r\n", "nobody"],
  ["version 2, IPv4", V2_TCP4, "9.9.9.9"],
  ["version 2, IPv6", v2(0x21, 0x21, [...V6, ...V6, 0, 1, 0, 2]), "2001:db8::7"],
  ["version 2 with notes behind the addresses", v2(0x21, 0x11, [9, 9, 9, 9, 10, 0, 0, 1, 200, 112, 1, 187, 4, 0, 3, 1, 2, 3]), "9.9.9.9"],
  ["version 2, a health check's own connection", v2(0x20, 0, []), "127.0.0.1"],
  ["version 2, a client of whom nothing is known", v2(0x21, 0, []), "nobody"],
  ["version 2, a client on a unix socket", v2(0x21, 0x31, Array(216).fill(0)), "nobody"],
  ["version 2, a client that spoke TLS", v2(0x21, 0x11, [9, 9, 9, 9, 10, 0, 0, 1, 200, 112, 1, 187, 0x20, 0, 5, 1, 0, 0, 0, 0]), "9.9.9.9 https"],
];

const BAD = [
  ["no header", GET],
  ["a header in lower case", `proxy TCP4 9.9.9.9 10.0.0.1 1 2\r\n${GET}`],
  ["two blanks", `PROXY TCP4  9.9.9.9 10.0.0.1 1 2\r\n${GET}`],
  ["a port too large", `PROXY TCP4 9.9.9.9 10.0.0.1 65536 2\r\n${GET}`],
  ["the wrong family", `PROXY TCP6 9.9.9.9 10.0.0.1 1 2\r\n${GET}`],
  ["a bare LF", `PROXY TCP4 9.9.9.9 10.0.0.1 1 2\n${GET}`],
  ["a line without end", `PROXY TCP4 ${"9".repeat(200)}`],
  ["another version", v2(0x31, 0x11, [9, 9, 9, 9, 10, 0, 0, 1, 0, 1, 0, 2]) + GET],
  ["addresses cut short", v2(0x21, 0x11, [9, 9, 9, 9]) + GET],
  ["more notes than anybody sends", SIGNATURE + "\x21\x11\xff\xff"],
];

test("a trusted peer's header tells the client, whole, in pieces, and with the request right behind it", async (t) => {
  const { lb } = await scene(t);
  for (const [what, header, address] of GOOD) {
    await t.test(what, async (row) => {
      const expected = response(address);
      const whole = await rawClient(row, lb);
      await whole.send(header + GET);
      await whole.expect(expected);
      await whole.send(GET);
      await whole.expect(expected);
      const slow = await rawClient(row, lb);
      for (const byte of header) await slow.send(byte);
      await slow.send(GET);
      await slow.expect(expected);
      if (address === "127.0.0.1") return; /* the balancer itself, which is believed */
      await slow.send(get("/", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "X-Real-IP: 7.7.7.7"));
      await slow.expect(expected);
    });
  }
});

test("a trusted peer without a good header gets 400, and no worker hears of it", async (t) => {
  const { lb, worker } = await scene(t);
  for (const [what, bytes] of BAD) {
    await t.test(what, async (row) => {
      const client = await rawClient(row, lb);
      client.send(bytes).catch(() => {});
      const { text, end } = await client.rest();
      assert.match(text, /^HTTP\/1\.1 400 .*"Bad PROXY header"\}$/s);
      assert.equal(end, "fin");
    });
  }
  assert.equal(worker.connections, 0);
});

test("who is not trusted is an ordinary client: served without a header, refused with one", async (t) => {
  const { lb } = await scene(t);
  const plain = await rawClient(t, lb, { localAddress: "127.0.0.2" });
  await plain.send(GET);
  await plain.expect(response("127.0.0.2"));
  for (const header of [V1, V2_TCP4]) {
    const liar = await rawClient(t, lb, { localAddress: "127.0.0.2" });
    await liar.send(header + GET);
    assert.match((await liar.rest()).text, /^HTTP\/1\.1 400 /);
  }
});

test("on a listener without the flag nobody's header is taken", async (t) => {
  const { lb } = await scene(t, { listen: "127.0.0.1:0" });
  const client = await rawClient(t, lb);
  await client.send(V1 + GET);
  assert.match((await client.rest()).text, /^HTTP\/1\.1 400 /);
});

test("the client of a header may be a trusted peer itself: then its lines count", async (t) => {
  const { lb } = await scene(t, { forward: { trust: "127.0.0.1, 10.0.0.0/8", forwarded_for: "replace" } });
  const client = await rawClient(t, lb);
  await client.send("PROXY TCP4 10.0.0.9 10.0.0.1 1 2\r\n" + get("/", "X-Forwarded-For: 6.6.6.6, 8.8.8.8"));
  await client.expect(response("8.8.8.8"));
});

test("connecting and saying nothing, or half a header, ends at the head's time; connecting and leaving is no event", async (t) => {
  const { lb } = await scene(t, { timeouts: { head: "2s" } });
  const silent = await rawClient(t, lb);
  const half = await rawClient(t, lb);
  await half.send(V1.slice(0, 10));
  assert.deepEqual(await silent.rest(), { text: "", end: "fin" });
  assert.match((await half.rest()).text, /^HTTP\/1\.1 408 /);
  const leaving = await rawClient(t, lb);
  await leaving.send(V2_TCP4.slice(0, 14));
  await leaving.fin();
  await lb.untilMetrics((m) => m.clients === 0);
  const good = await rawClient(t, lb);
  await good.send(V1 + GET);
  await good.expect(response("9.9.9.9"));
});

test("one time is for the header and the first head together, whatever trickles in", async (t) => {
  const { lb } = await scene(t, { timeouts: { head: "3s" } });
  const trickles = async (client, bytes) => {
    for (const byte of bytes) {
      if (client.end_seen || client.has_bytes) return;
      await client.send(byte).catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const ended = [];
  const times_out = async (name, client) => {
    assert.match((await client.rest()).text, /^HTTP\/1\.1 408 /);
    ended.push(name);
  };
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms)); /* time has to pass for a restart to show */
  const [first, dripping] = [await rawClient(t, lb), await rawClient(t, lb)];
  const all = [times_out("first", first), times_out("dripping", dripping), trickles(dripping, "PROXY TCP4 " + "9".repeat(95))];
  await first.send("PROXY ");
  await wait(1500);
  const later = await rawClient(t, lb);
  await later.send(V1 + "GET /");
  all.push(times_out("later", later));
  await wait(750);
  await first.send("TCP4 9.9.9.9 10.0.0.1 1 2\r\n");
  all.push(trickles(first, "GET /" + "x".repeat(200)), trickles(later, "x".repeat(200)));
  await Promise.all(all);
  assert.equal(ended.at(-1), "later", "neither bytes nor the end of a header began the time of the others anew");
});

test("header, request and FIN in one piece are served", async (t) => {
  const { lb } = await scene(t);
  const client = await rawClient(t, lb);
  await client.fin(V1 + GET);
  await client.expect(response("9.9.9.9"));
  assert.equal(await client.ended(), "fin");
});

test("a drain ends who has not told yet whose client it is", async (t) => {
  const { lb } = await scene(t, { timeouts: { drain: "1s" } });
  const silent = await rawClient(t, lb);
  const half = await rawClient(t, lb);
  await half.send("PROXY TCP4");
  await lb.untilMetrics((m) => m.clients === 2);
  lb.signal("SIGTERM");
  assert.equal(await silent.ended(), "fin");
  assert.match((await half.rest()).end, /fin|reset/);
  assert.deepEqual(await lb.exit, { status: 0, signal: null });
});

test("the log says what is wrong with headers that nobody takes, or nobody sends", async (t) => {
  const { lb } = await scene(t);
  const stranger = await rawClient(t, lb, { localAddress: "127.0.0.2" });
  await stranger.send(V2_TCP4 + GET);
  const line = await lb.waitLog((l) => l.event === "proxy header refused");
  assert.deepEqual([line.level, /^127\.0\.0\.2:/.test(line.client), /forward\.trust/.test(line.hint)], ["warn", true, true]);
  const { lb: other } = await scene(t);
  const plain = await rawClient(t, other);
  await plain.send(GET);
  assert.match((await other.waitLog((l) => l.event === "bad proxy header")).hint, /sends none/);
});

/** The header of either version that tells of `from`, which connected to siolb. */
function written(version, from, lb) {
  if (version === "v1") return `PROXY TCP4 127.0.0.1 127.0.0.1 ${from} ${lb.port}\r\n`;
  const ports = [from >> 8, from & 0xff, lb.port >> 8, lb.port & 0xff];
  return v2(0x21, 0x11, [127, 0, 0, 1, 127, 0, 0, 1, ...ports]);
}

for (const version of ["v1", "v2"]) {
  test(`${version} to workers: each request comes on a connection of its own that begins with its client`, async (t) => {
    const worker = await scriptedWorker(t);
    const lb = await siolb(t, { workers: [worker], forward: { proxy_protocol: version } });
    const clients = [await rawClient(t, lb), await rawClient(t, lb)];
    for (const client of [...clients, ...clients]) {
      await client.send(GET);
      const up = await worker.accepted();
      await up.expect(written(version, client.socket.localPort, lb) + GET);
      await up.send(response("fine"));
      await client.expect(response("fine"));
      assert.match(await up.ended(), /fin|reset/);
    }
    await clients[0].send(UPGRADE);
    const up = await worker.accepted();
    await up.expect(written(version, clients[0].socket.localPort, lb) + UPGRADE);
    await up.send(SWITCH);
    await clients[0].expect(SWITCH);
    await clients[0].send("frame");
    await up.expect("frame");
    assert.equal(await lb.metric("upstreams_idle"), 0);
  });
}

test("a header that came in goes on to the worker with its addresses", async (t) => {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, {
    workers: [worker],
    listen: "127.0.0.1:0 proxy",
    forward: { trust: "127.0.0.1", proxy_protocol: "v1" },
  });
  const client = await rawClient(t, lb);
  await client.send(V2_TCP4 + GET);
  await (await worker.accepted()).expect(V1 + GET);
  const checker = await rawClient(t, lb);
  await checker.send(v2(0x20, 0, []) + get("/", "X-Forwarded-For: 2001:db8::7"));
  await (await worker.accepted()).expect("PROXY TCP6 2001:db8::7 :: 0 0\r\n" + get("/", "X-Forwarded-For: 2001:db8::7"));
});
