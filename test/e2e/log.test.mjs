/* What the log tells, and what it must not: session ids are credentials. */
import assert from "node:assert/strict";
import test from "node:test";

import { connect, POLLING, UPGRADING, WEBSOCKET } from "./lib/clients.mjs";
import { fleet } from "./lib/fleet.mjs";
import { agent, openPacket, request, webWorkers } from "./lib/http.mjs";
import { siolb } from "./lib/siolb.mjs";

const HANDSHAKE = "/socket.io/?EIO=4&transport=polling";

/** Does any line show a run of more than `most` characters of the sid? */
function showsMore(log, sid, most) {
  const runs = Array.from({ length: sid.length - most }, (_, at) => sid.slice(at, at + most + 1));
  return log.filter((line) => runs.some((run) => line.text.includes(run))).map((line) => line.text);
}

for (const access of ["off", "on", "json"]) {
  test(`no log line shows more than six characters of a sid: access = ${access}, level = debug`, async (t) => {
    const workers = await fleet(t, 2, { cookie: true });
    const lb = await siolb(t, { workers, sticky: { cookie: "io" }, log: { level: "debug", access } });
    const clients = [await connect(t, lb.url, POLLING), await connect(t, lb.url, UPGRADING), await connect(t, lb.url, WEBSOCKET)];
    await Promise.all(clients.map((client) => client.talk(3)));
    await clients[1].upgraded();
    const { sid } = clients[0];
    await request(`${lb.url}/whoami`, { headers: { Cookie: `io=${sid}`, Referer: `http://x/?sid=${sid}` }, agent: false });
    await request(`${lb.url}/whoami?sid=${sid}`, { agent: false });
    await request(`${lb.url}${HANDSHAKE}&sid=bad&sid=${encodeURIComponent(sid)}`, { agent: false, method: "OPTIONS" });
    await request(`${lb.url}${HANDSHAKE}&%73id=${[...sid].map((c) => `%${c.charCodeAt(0).toString(16)}`).join("")}`, {
      agent: false,
      method: "OPTIONS",
    });
    const sids = clients.map((client) => client.sid);
    clients.forEach((client) => client.close());
    await lb.untilMetrics((m) => m.tunnels === 0 && m.exchanges === 0);
    await lb.stop();
    const escaped = [...sid].map((c) => `%${c.charCodeAt(0).toString(16)}`).join("");
    for (const each of sids) assert.deepEqual(showsMore(lb.log, each, 6), []);
    assert.deepEqual(showsMore(lb.log, escaped, 18), [], "not percent-encoded either");
  });
}

test("of a short sid at most a third is shown", async (t) => {
  const sid = "Kq7-Zp3_x";
  const workers = await webWorkers(t, 1, (req, res) => res.end(req.url.includes("sid=") ? "ok" : openPacket(sid)));
  const lb = await siolb(t, { workers, log: { level: "debug", access: "on" } });
  const kept = agent(t, 1);
  await request(`${lb.url}${HANDSHAKE}`, { agent: kept });
  await request(`${lb.url}${HANDSHAKE}&sid=${sid}`, { agent: kept });
  kept.destroy();
  await lb.stop();
  assert.deepEqual(showsMore(lb.log, sid, 3), []);
});

/** Two plain requests and a handshake on one connection, which is closed then; the access lines. */
async function accessLines(t, access) {
  const workers = await webWorkers(t, 1);
  const lb = await siolb(t, { workers, log: { access } });
  const kept = agent(t, 1);
  await request(`${lb.url}/plain?x=1`, { agent: kept });
  await request(`${lb.url}/posted`, { agent: kept, method: "POST", body: "twelve bytes" });
  await request(`${lb.url}${HANDSHAKE}`, { agent: kept });
  kept.destroy();
  await lb.stop();
  return { lines: lb.log.filter((line) => /\/plain|\/posted|\/socket\.io\//.test(line.text)), worker: workers[0] };
}

test("access = off writes no line for a request", async (t) => {
  const { lines } = await accessLines(t, "off");
  assert.deepEqual(lines, []);
});

test("access = on writes one key=value line for each request", async (t) => {
  const { lines, worker } = await accessLines(t, "on");
  assert.equal(lines.length, 3);
  assert.match(lines[0].text, /GET/);
  assert.match(lines[1].text, /POST/);
  for (const line of lines) {
    assert.match(line.text, /status=200\b/);
    assert.ok(line.text.includes(`worker=${worker.address}`), line.text);
    assert.match(line.text, /route=new\b/);
  }
});

test("access = json writes one JSON object for each request", async (t) => {
  const { lines, worker } = await accessLines(t, "json");
  assert.equal(lines.length, 3);
  for (const line of lines) {
    const object = JSON.parse(line.text);
    assert.equal(object.status, 200);
    assert.equal(object.worker, worker.address);
    assert.equal(object.route, "new");
  }
  assert.equal(JSON.parse(lines[1].text).method, "POST");
});

test("what a client sends cannot forge a log line", async (t) => {
  const workers = await webWorkers(t, 1);
  for (const access of ["on", "json"]) {
    const lb = await siolb(t, { workers, log: { level: "debug", access } });
    const { status } = await request(lb.url, { path: '/"quoted"\\\u00ff=x\\', agent: false });
    await lb.stop();
    const lines = lb.log.filter((line) => line.text.includes("quoted"));
    assert.equal(lines.length, 1);
    if (access === "json") assert.equal(JSON.parse(lines[0].text).status, status);
    else assert.equal(lines[0].status, String(status));
  }
});

test("the closing line of a tunnel tells who ended it, why, its age, bytes, route and worker", async (t) => {
  const workers = await fleet(t, 1);
  const lb = await siolb(t, { workers });
  const client = await connect(t, lb.url, WEBSOCKET);
  await client.talk(3, { payload: "x".repeat(1000) });
  client.close();
  const line = await lb.waitLog((l) => l.event === "closed" && /tunnel/.test(l.end));
  assert.equal(line.level, "info");
  assert.match(line.client, /^127\.0\.0\.1:\d+$/);
  assert.equal(line.worker, workers[0].address);
  assert.equal(line.route, "new");
  assert.match(line.end, /^(client|worker)\/tunnel$/);
  assert.ok(line.reason);
  assert.ok(Number(line.age_ms) >= 0);
  assert.ok(Number(line.in) > 3000, line.text);
  assert.ok(Number(line.out) > 3000, line.text);
});

test("a tunnel that lived a moment is a moment old, wherever the second turned", async (t) => {
  const workers = await fleet(t, 1);
  const lb = await siolb(t, { workers });
  const begun = Date.now();
  let tunnels = 0;
  for (; Date.now() - begun < 1500; tunnels++) (await connect(t, lb.url, WEBSOCKET)).close();
  await lb.untilMetrics((m) => m.tunnels === 0 && m.tunnels_opened_total === tunnels);
  const ages = lb.log.filter((line) => line.event === "closed" && /tunnel/.test(line.end)).map((line) => Number(line.age_ms));
  assert.equal(ages.length, tunnels);
  assert.deepEqual(ages.filter((age) => age > Date.now() - begun + 1000), []);
});

test("the closing line of an upgraded session says that its sid was known", async (t) => {
  const workers = await fleet(t, 2);
  const lb = await siolb(t, { workers });
  const client = await connect(t, lb.url, UPGRADING);
  await client.upgraded();
  client.close();
  const line = await lb.waitLog((l) => l.event === "closed" && /tunnel/.test(l.end));
  assert.equal(line.route, "known");
  assert.equal(line.worker, workers.byId(client.worker).address);
});

test("a worker killed under a websocket: the closing line blames the worker", async (t) => {
  const workers = await fleet(t, 1);
  const lb = await siolb(t, { workers });
  const client = await connect(t, lb.url, WEBSOCKET);
  const gone = client.disconnected();
  await workers[0].kill();
  await gone;
  const line = await lb.waitLog((l) => l.event === "closed" && /tunnel/.test(l.end));
  assert.equal(line.end, "worker/tunnel");
});
