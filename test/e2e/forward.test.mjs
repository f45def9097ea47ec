/* [forward] forwarded_for and trust: what workers are told of the client, and who is believed about it. */
import assert from "node:assert/strict";
import { join } from "node:path";
import test from "node:test";

import { connect, POLLING, UPGRADING, WEBSOCKET } from "./lib/clients.mjs";
import { fleet } from "./lib/fleet.mjs";
import { webWorkers } from "./lib/http.mjs";
import { get, GET, post, rawClient, response, scriptedWorker, SWITCH, UPGRADE } from "./lib/scripted.mjs";
import { scratch, siolb } from "./lib/siolb.mjs";

const LINES = ["X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: x"];
const SPOOFED = [
  "X-Forwarded-For: 6.6.6.6",
  "x-forwarded-for: 6.6.6.7, 6.6.6.8",
  "X_Forwarded_For: 6.6.6.6",
  "X-FORWARDED-PROTO: https",
  "X-Forwarded-Host: bank.example",
  "X-Forwarded-Port: 443",
  "Forwarded: for=6.6.6.6;proto=https",
  "X-Real-IP: 6.6.6.6",
  "x_real_ip: 6.6.6.6",
];

/** `bytes` with these lines at the end of its head. */
const withLines = (bytes, lines) => bytes.replace("\r\n\r\n", "\r\n" + lines.map((line) => `${line}\r\n`).join("") + "\r\n");

/** Send `bytes` from `from`; what the worker gets must be `expected`, and the answer must come back. */
async function assertForwarded(t, { lb, worker }, bytes, expected, from = "127.0.0.1") {
  const client = await rawClient(t, lb, { localAddress: from });
  await client.send(bytes);
  const up = await worker.accepted();
  await up.expect(expected);
  await up.send(response("fine"));
  await client.expect(response("fine"));
  client.socket.destroy();
}

async function pair(t, options) {
  const worker = await scriptedWorker(t);
  return { worker, lb: await siolb(t, { workers: [worker], ...options }) };
}

/* Each exchange here leaves a pooled connection behind, on which the next one would go. */
const closing = (bytes) => withLines(bytes, ["Connection: close"]);

test("off: not a byte is added, whoever is trusted", async (t) => {
  const both = await pair(t, { forward: { trust: "127.0.0.0/8" } });
  const bytes = closing(get("/", ...SPOOFED));
  await assertForwarded(t, both, bytes, bytes);
});

test("append: our lines come behind those of the request, which keep their bytes and their order", async (t) => {
  const both = await pair(t, { forward: { forwarded_for: "append" } });
  const odd = closing("GET /a?b=c HTTP/1.1\r\nHOST:x\r\nA:  b \t\r\na: c\r\n\r\n");
  await assertForwarded(t, both, odd, withLines(odd, LINES));
  const chained = closing(get("/", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-Proto: https"));
  await assertForwarded(t, both, chained, withLines(chained, [LINES[0], LINES[2]]));
  const body = closing(post("/", "words"));
  await assertForwarded(t, both, body, withLines(body, LINES));
});

test("replace: no spelling of a forwarded line from an untrusted client reaches a worker", async (t) => {
  const both = await pair(t, { forward: { forwarded_for: "replace", trust: "10.0.0.0/8" } });
  const bytes = closing(get("/", "A: 1", ...SPOOFED, "B: 2"));
  await assertForwarded(t, both, bytes, withLines(closing(get("/", "A: 1", "B: 2")), LINES));
  const only = closing(["GET / HTTP/1.1", ...SPOOFED, "Host: x", "", ""].join("\r\n"));
  await assertForwarded(t, both, only, withLines(closing(GET.replace("/plain", "/")), LINES));
});

test("replace: a trailer that tells of a client is refused like a line, unless a trusted peer sends it", async (t) => {
  const chunked = (trailer) => `POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${trailer}\r\n\r\n`;
  const trailer = "x_forwarded_for: 6.6.6.6";
  for (const [forward, is_refused] of [
    [{ forwarded_for: "replace" }, true],
    [{ forwarded_for: "append" }, false],
    [{ forwarded_for: "replace", trust: "127.0.0.1" }, false],
  ]) {
    const both = await pair(t, { forward });
    if (!is_refused) {
      await assertForwarded(t, both, chunked(trailer), withLines(chunked(trailer), LINES));
      continue;
    }
    const client = await rawClient(t, both.lb);
    await client.send(chunked(trailer));
    assert.match((await client.rest()).text, /^HTTP\/1\.1 400 /);
    assert.equal(both.worker.connections, 0);
  }
});

test("replace: of a trusted peer's lines the nearest untrusted address is believed, and -Proto and -Host are kept", async (t) => {
  const both = await pair(t, { forward: { forwarded_for: "replace", trust: "127.0.0.0/8, 10.0.0.0/8" } });
  const rows = [
    [["X-Forwarded-For: 9.9.9.9"], "9.9.9.9"],
    [["X-Forwarded-For: 6.6.6.6, 9.9.9.9, 10.0.0.1"], "9.9.9.9"],
    [["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 9.9.9.9:4711, 10.1.2.3"], "9.9.9.9"],
    [["X-Forwarded-For: 2001:db8::7, 10.1.2.3"], "2001:db8::7"],
    [["X-Forwarded-For: 6.6.6.6, unknown"], "127.0.0.1"],
    [["X-Forwarded-For: 6.6.6.6, what, 10.0.0.2"], "10.0.0.2"],
    [["X-Forwarded-For: 10.0.0.3, 10.0.0.2"], "10.0.0.3"],
    [[], "127.0.0.1"],
  ];
  for (const [lines, believed] of rows) {
    const kept = ["X-Forwarded-Proto: https", "X-Forwarded-Host: chat.example"];
    const made_up = ["Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6"]; /* plain balancers pass these on */
    const sent = closing(get("/", ...lines, ...kept, ...made_up));
    await assertForwarded(t, both, sent, withLines(closing(get("/", ...kept)), [`X-Forwarded-For: ${believed}`]));
  }
});

test("lines are on every request of a connection and on upgrades, and the tunnel behind them is untouched", async (t) => {
  const { lb, worker } = await pair(t, { forward: { forwarded_for: "replace" } });
  const client = await rawClient(t, lb);
  await client.send(get("/1", ...SPOOFED) + get("/2", ...SPOOFED));
  const up = await worker.accepted();
  for (const target of ["/1", "/2"]) {
    await up.expect(withLines(get(target), LINES));
    await up.send(response(target));
    await client.expect(response(target));
  }
  const upgrade = withLines(UPGRADE, SPOOFED);
  await client.send(upgrade);
  await up.expect(withLines(UPGRADE, LINES));
  await up.send(`${SWITCH}frame`);
  await client.expect(`${SWITCH}frame`);
  await client.send(get("/3", ...SPOOFED));
  await up.expect(get("/3", ...SPOOFED));
});

test("a request that is sent again has its lines, once", async (t) => {
  const { lb, worker } = await pair(t, { forward: { forwarded_for: "append" } });
  const client = await rawClient(t, lb);
  await client.send(GET);
  const first = await worker.accepted();
  await first.expect(withLines(GET, LINES));
  await first.send(response("1"));
  await client.expect(response("1"));
  await client.send(GET);
  await first.head();
  await first.reset();
  const second = await worker.accepted();
  await second.expect(withLines(GET, LINES));
  await second.send(response("2"));
  await client.expect(response("2"));
});

test("clients of a unix socket get no -For line; unix in trust believes them", async (t) => {
  const path = join(scratch(t), "http.sock");
  const worker = await scriptedWorker(t);
  const rows = [
    ["10.0.0.0/8", LINES.slice(1)],
    ["unix", ["X-Forwarded-For: 9.9.9.9", ...LINES.slice(1)]],
  ];
  for (const [trust, lines] of rows) {
    const lb = await siolb(t, { workers: [worker], listen: `unix:${path}`, forward: { forwarded_for: "replace", trust } });
    const client = await rawClient(t, lb, { path });
    await client.send(closing(get("/", "X-Forwarded-For: 9.9.9.9")));
    await (await worker.accepted()).expect(withLines(closing(get("/")), lines));
    await lb.stop();
  }
});

test("balance = source and the access log go by the believed address", async (t) => {
  const workers = await webWorkers(t, 4);
  const lb = await siolb(t, {
    workers,
    proxy: { balance: "source" },
    forward: { trust: "127.0.0.1" },
    log: { access: "json" },
  });
  const of = async (from, address) => {
    const client = await rawClient(t, lb, { localAddress: from });
    await client.send(get("/", `X-Forwarded-For: ${address}`));
    return (await client.response()).body;
  };
  const addresses = Array.from({ length: 40 }, (_, n) => `9.9.9.${n}`);
  const first = [];
  for (const address of addresses) first.push(await of("127.0.0.1", address));
  assert.equal(new Set(first).size, 4, "40 believed addresses reach all workers");
  for (const [n, address] of addresses.entries()) assert.equal(await of("127.0.0.1", `6.6.6.6, ${address}`), first[n]);
  const spoofed = [];
  for (const address of addresses) spoofed.push(await of("127.0.0.2", address));
  assert.equal(new Set(spoofed).size, 1, "who is not trusted has one address, whatever it says");
  const line = await lb.waitLog((l) => l.client === "9.9.9.0");
  assert.equal(line.status, 200);
});

for (const [what, options] of [["polling", POLLING], ["upgrading", UPGRADING], ["websocket only", WEBSOCKET]]) {
  test(`real workers are told of real clients: ${what}`, async (t) => {
    const workers = await fleet(t, 2);
    const lb = await siolb(t, { workers, forward: { forwarded_for: "replace" } });
    const client = await connect(t, lb.url, { ...options, extraHeaders: { "X-Forwarded-For": "6.6.6.6" } });
    assert.deepEqual(await client.ask("forwarded"), ["127.0.0.1", "http", `127.0.0.1:${lb.port}`]);
    await client.talk(20);
  });
}
