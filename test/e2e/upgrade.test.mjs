/* From HTTP to a tunnel, and what only looks like it. */
import assert from "node:assert/strict";
import test from "node:test";

import { get, GET, HANDSHAKE, inOneWakeUp, openAnswer, post, rawClient, response, scriptedWorker, SWITCH, teach, answers, UPGRADE } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const OPEN = '\x81\x6b0{"sid":"aB3dE5gH7jK9mN1pAAAB","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}';

async function workerAndLb(t, options) {
  const worker = await scriptedWorker(t);
  const lb = await siolb(t, { workers: [worker], ...options });
  return { worker, lb, client: await rawClient(t, lb) };
}

/** The client has asked for `request` and the worker has it. */
async function asked(t, request = UPGRADE, options = {}) {
  const peers = await workerAndLb(t, options);
  await peers.client.send(request);
  const up = await peers.worker.accepted();
  await up.expect(request);
  return { ...peers, up };
}

/** A request with these lines in place of the upgrade lines of a browser. */
const upgrade = (...fields) => get("/socket.io/?EIO=4&transport=websocket", ...fields);

test("101 and the first frame in one read, as bytes: both reach the client, then both directions flow", async (t) => {
  const { lb, client, up } = await asked(t);
  await up.send(SWITCH + OPEN);
  await client.expect(SWITCH + OPEN);
  await client.send("\x81\x82\x00\x00\x00\x0040");
  await up.expect("\x81\x82\x00\x00\x00\x0040");
  assert.equal(await lb.metric("tunnels"), 1);
});

test("a first frame that looks like HTTP is not read as HTTP", async (t) => {
  const { client, up } = await asked(t);
  const frame = "HTTP/1.1 400 Bad\r\nContent-Length: -1\r\n\r\n";
  await up.send(SWITCH + frame);
  await client.expect(SWITCH + frame);
  await client.send("GET / HTTP/1.1\nbad");
  await up.expect("GET / HTTP/1.1\nbad");
});

test("a 101 that arrives byte by byte, with a frame behind it", async (t) => {
  const { client, up } = await asked(t);
  for (const byte of SWITCH + OPEN) {
    await up.send(byte);
    await new Promise(setImmediate);
  }
  await client.expect(SWITCH + OPEN);
});

test("bytes that the client sends early, in one segment with its upgrade, follow into the tunnel after the 101 only", async (t) => {
  const { worker, client } = await workerAndLb(t);
  await client.send(`${UPGRADE}early\x00frame`);
  const up = await worker.accepted();
  await up.expect(UPGRADE);
  await up.quiet();
  await up.send(SWITCH);
  await up.expect("early\x00frame");
  await client.expect(SWITCH);
});

test("early bytes that come in pieces while the worker thinks follow in order", async (t) => {
  const { client, up } = await asked(t);
  await client.send("one ");
  await client.send("two ");
  await up.quiet();
  await up.send(SWITCH + OPEN);
  await client.expect(SWITCH + OPEN);
  await client.send("three");
  await up.expect("one two three");
});

test("early bytes and the 101 in one wake-up", async (t) => {
  const { lb, client, up } = await asked(t);
  await inOneWakeUp(lb, async () => {
    await client.send("early");
    await up.send(SWITCH + OPEN);
  });
  await client.expect(SWITCH + OPEN);
  await up.expect("early");
});

test("after an answer that is no 101 early bytes are the next request", async (t) => {
  const { worker, client } = await workerAndLb(t);
  await client.send(UPGRADE + get("/next"));
  const up = await worker.accepted();
  await up.expect(UPGRADE);
  await up.quiet();
  await up.send(response("no such session", { status: "400 Bad Request" }));
  await client.expect(response("no such session", { status: "400 Bad Request" }));
  const fresh = await worker.accepted();
  await fresh.expect(get("/next"));
  await fresh.send(response("next"));
  await client.expect(response("next"));
});

test("after an answer that is no 101 early bytes that are no request are refused, and reach no worker", async (t) => {
  const { worker, client } = await workerAndLb(t);
  await client.send(`${UPGRADE}\x81\x82\x00\x00`);
  const up = await worker.accepted();
  await up.expect(UPGRADE);
  await up.send(response("no", { status: "400 Bad Request" }));
  await client.expect(response("no", { status: "400 Bad Request" }));
  const { text, end } = await client.rest();
  assert.match(text, /^HTTP\/1\.1 400 Bad Request\r\n/);
  assert.equal(end, "fin");
  assert.equal(worker.connections, 1);
});

test("Node's refusal of an upgrade (Connection: close): the answer, FIN, and early bytes go nowhere", async (t) => {
  const { worker, client, lb } = await workerAndLb(t);
  await client.send(`${UPGRADE}\x81\x82\x00\x00`);
  const up = await worker.accepted();
  await up.expect(UPGRADE);
  const no = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-type: text/html\r\nContent-Length: 18\r\n\r\nSession ID unknown";
  await up.fin(no);
  assert.deepEqual(await client.rest(), { text: no, end: "fin" });
  assert.equal(await lb.metric("requests_total"), 1);
});

test("a connection that carried an upgrade request is never pooled", async (t) => {
  const { lb, client, up } = await asked(t);
  await up.send(response("no"));
  await client.expect(response("no"));
  assert.equal(await lb.metric("upstreams_idle"), 0);
  assert.equal(await up.ended(), "fin");
});

test("1xx before the 101 pass", async (t) => {
  const { client, up } = await asked(t);
  const hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
  await up.send(hint + SWITCH + OPEN);
  await client.expect(hint + SWITCH + OPEN);
  await client.send("frame");
  await up.expect("frame");
});

test("an upgrade pipelined behind plain requests, with early bytes behind it", async (t) => {
  const { worker, client } = await workerAndLb(t);
  await client.send(get("/one") + get("/two") + UPGRADE + "early");
  const plain = await worker.accepted();
  for (const target of ["/one", "/two"]) {
    await plain.expect(get(target));
    await plain.send(response(target));
    await client.expect(response(target));
  }
  await plain.expect(UPGRADE); /* the pooled connection, which becomes the tunnel */
  await plain.quiet();
  await plain.send(SWITCH + OPEN);
  await plain.expect("early");
  await client.expect(SWITCH + OPEN);
});

test("the websocket of a known session goes to its worker", async (t) => {
  const script = (id) => answers(({ target }) => (target.includes("sid=") ? `${SWITCH}${id}` : openAnswer(id)));
  const workers = [];
  for (const id of ["w0", "w1", "w2"]) workers.push(await scriptedWorker(t, { id, script: script(id) }));
  const lb = await siolb(t, { workers, proxy: { balance: "round-robin" } });
  const sids = await teach(lb, workers);
  for (const n of [2, 0, 1, 1]) {
    const client = await rawClient(t, lb);
    await client.send(get(`/socket.io/?EIO=4&transport=websocket&sid=${sids[n]}`, "Connection: Upgrade", "Upgrade: websocket"));
    await client.expect(`${SWITCH}w${n}`);
  }
  assert.equal(await lb.metric("route_known_total"), 4);
});

for (const [what, request] of [
  ["any case", upgrade("connection: keep-alive, UPGRADE", "upgrade: WebSocket")],
  ["Content-Length: 0", upgrade("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 0")],
  ["a path of its own", get("/other", "Connection: Upgrade", "Upgrade: websocket")],
  ["Connection in two lines", upgrade("Connection: keep-alive", "Connection: Upgrade", "Upgrade: websocket")],
]) {
  test(`a websocket upgrade with ${what} becomes a tunnel`, async (t) => {
    const { lb, client, up } = await asked(t, request);
    await up.send(SWITCH);
    await client.expect(SWITCH);
    await client.send("frame");
    await up.expect("frame");
    assert.equal(await lb.metric("tunnels"), 1);
  });
}

const NO_UPGRADES = [
  ["another protocol", upgrade("Connection: Upgrade", "Upgrade: h2c")],
  ["a list of protocols", upgrade("Connection: Upgrade", "Upgrade: websocket, h2c")],
  ["two Upgrade lines", upgrade("Connection: Upgrade", "Upgrade: websocket", "Upgrade: websocket")],
  ["websocket with a version", upgrade("Connection: Upgrade", "Upgrade: websocket/13")],
  ["no upgrade in Connection", upgrade("Connection: keep-alive", "Upgrade: websocket")],
  ["no Connection line", upgrade("Upgrade: websocket")],
  ["HTTP/1.0", UPGRADE.replace("HTTP/1.1", "HTTP/1.0")],
  ["another method", UPGRADE.replace("GET", "POST")],
  ["a body", post("/socket.io/?EIO=4&transport=websocket", "body", "Connection: Upgrade", "Upgrade: websocket").replace("POST", "GET")],
];

for (const [what, request] of NO_UPGRADES) {
  test(`Upgrade with ${what}: plain HTTP, passed as it is, answered, never pooled`, async (t) => {
    const { lb, client, up } = await asked(t, request);
    await up.send(response("plain"));
    await client.expect(response("plain"));
    const metrics = await lb.metrics();
    assert.deepEqual([metrics.upstreams_idle, metrics.tunnels], [0, 0]);
    assert.equal(await up.ended(), "fin");
  });

  test(`Upgrade with ${what}: a 101 to it is a 502`, async (t) => {
    const { lb, client, up } = await asked(t, request);
    await up.send(SWITCH);
    const { text, end } = await client.rest();
    assert.match(text, /^HTTP\/1\.1 502 Bad Gateway\r\n/);
    assert.equal(end, "fin");
    assert.match((await up.rest()).end, /fin|reset/);
    assert.equal(await lb.metric("bad_responses_total"), 1);
  });
}

for (const [what, request, answer] of [
  ["a 101 that nobody asked for", GET, SWITCH],
  ["a 101 that names no protocol", UPGRADE, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n"],
  ["a 101 that names another protocol", UPGRADE, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"],
]) {
  test(`${what} is a 502, and its bytes reach nobody`, async (t) => {
    const { client, up, worker } = await asked(t, request);
    await client.send("early bytes");
    await up.send(`${answer}frame`);
    const { text, end } = await client.rest();
    assert.match(text, /^HTTP\/1\.1 502 Bad Gateway\r\n/);
    assert.ok(!text.includes("101") && !text.includes("frame"));
    assert.equal(end, "fin");
    assert.equal((await up.rest()).text, "");
    assert.equal(worker.connections, 1);
  });
}

test("polling goes on beside the websocket of its session", async (t) => {
  const script = answers(({ target, head }) => {
    if (/upgrade: websocket/i.test(head)) return SWITCH;
    return target.includes("sid=") ? response("2") : openAnswer("w0");
  });
  const worker = await scriptedWorker(t, { script });
  const lb = await siolb(t, { workers: [worker] });
  const [sid] = await teach(lb, [worker]);
  const socket = await rawClient(t, lb);
  await socket.send(get(`/socket.io/?EIO=4&transport=websocket&sid=${sid}`, "Connection: Upgrade", "Upgrade: websocket"));
  await socket.expect(SWITCH);
  const poll = await rawClient(t, lb);
  await poll.send(get(`${HANDSHAKE}&sid=${sid}`));
  await poll.expect(response("2"));
  assert.deepEqual([await lb.metric("tunnels"), await lb.metric("sessions")], [1, 1]);
});
