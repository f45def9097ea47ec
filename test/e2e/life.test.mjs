/* How siolb ends: a drain at the first signal, now at the second. */
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import test from "node:test";

import { connect, connectAll, POLLING, WEBSOCKET } from "./lib/clients.mjs";
import { within } from "./lib/defer.mjs";
import { fleet } from "./lib/fleet.mjs";
import { agent, request, webWorkers } from "./lib/http.mjs";
import { run, siolb } from "./lib/siolb.mjs";

const SOON_MS = 5_000;

/** Workers that hold every answer until `release(text)`; `asked` ends with the first request. */
async function holdingWorkers(t) {
  const held = [];
  let noted;
  const asked = new Promise((resolve) => (noted = resolve));
  const workers = await webWorkers(t, 1, (req, res) => {
    held.push(res);
    noted();
  });
  return { workers, asked, release: (text) => held.forEach((res) => res.end(text)) };
}

/** Ends once siolb refuses connections. */
async function refuses(lb) {
  const tries = async () => {
    for (;;) {
      const socket = net.connect(lb.port, "127.0.0.1");
      const refused = await new Promise((resolve) => {
        socket.once("connect", () => resolve(false));
        socket.once("error", (error) => resolve(error.code === "ECONNREFUSED"));
      });
      socket.destroy();
      if (refused) return;
    }
  };
  return within(SOON_MS, "connections to be refused", tries());
}

for (const signal of ["SIGTERM", "SIGINT"]) {
  test(`${signal}: no new connections, the request under way is answered, exit status 0`, async (t) => {
    const { workers, asked, release } = await holdingWorkers(t);
    const lb = await siolb(t, { workers, timeouts: { drain: "20s" } });
    const answer = request(lb.url, { agent: agent(t, 1) });
    await asked;
    lb.signal(signal);
    await refuses(lb);
    assert.ok(!lb.has_exited, "it waits for the request under way");
    release("late but whole");
    assert.equal((await answer).text, "late but whole");
    assert.deepEqual(await within(SOON_MS, "the end, long before the drain is over", lb.exit), { status: 0, signal: null });
  });
}

test("SIGTERM with nothing under way ends at once, idle keep-alive connections or not", async (t) => {
  const workers = await webWorkers(t, 1);
  const lb = await siolb(t, { workers, timeouts: { drain: "60s" } });
  await request(lb.url, { agent: agent(t, 1) });
  lb.signal("SIGTERM");
  assert.deepEqual(await within(SOON_MS, "the end", lb.exit), { status: 0, signal: null });
});

test("SIGTERM closes websockets and held polls within the drain time, by FIN", async (t) => {
  const workers = await fleet(t, 2);
  const lb = await siolb(t, { workers, timeouts: { drain: "2s" } });
  const clients = [...(await connectAll(t, lb.url, 6, WEBSOCKET)), await connect(t, lb.url, POLLING)];
  const raw = net.connect(lb.port, "127.0.0.1");
  t.after(() => raw.destroy());
  raw.write("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n");
  raw.write("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  await once(raw, "data");
  await lb.untilMetrics((m) => m.tunnels === 7);

  const ends = clients.map((client) => client.disconnected());
  const fin = once(raw.resume(), "end");
  lb.signal("SIGTERM");
  await within(SOON_MS, "every client to lose its connection", Promise.all(ends));
  await within(SOON_MS, "a FIN and no RST", fin);
  assert.deepEqual(await within(SOON_MS, "the end", lb.exit), { status: 0, signal: null });
  const cut = lb.log.filter((line) => line.event === "closed" && /tunnel/.test(line.end));
  assert.equal(cut.length, 7, "one closing line for each tunnel");
  for (const line of cut) assert.match(line.text, /reason=drained/);
});

for (const second of ["SIGTERM", "SIGINT"]) {
  test(`a second signal (${second}) ends it now, in the middle of tunnels and requests`, async (t) => {
    const { workers, asked } = await holdingWorkers(t);
    const real = await fleet(t, 1);
    const lb = await siolb(t, { workers: [...workers, ...real], timeouts: { drain: "60s" }, proxy: { balance: "round-robin" } });
    const lost = assert.rejects(request(lb.url, { agent: false }));
    await asked;
    const client = await connect(t, lb.url, WEBSOCKET);
    const gone = client.disconnected();
    lb.signal("SIGTERM");
    await refuses(lb);
    assert.ok(!lb.has_exited);
    lb.signal(second);
    assert.deepEqual(await within(SOON_MS, "the end", lb.exit), { status: 0, signal: null });
    await Promise.all([lost, gone]);
  });
}

test("all counters are written as one log line on SIGUSR1 and at the end", async (t) => {
  const workers = await webWorkers(t, 1);
  const lb = await siolb(t, { workers });
  await request(lb.url, { agent: false });
  const asked = await lb.metrics();
  assert.equal(asked.requests_total, 1);
  await lb.stop();
  const last = lb.log.filter((line) => line.event === "metrics").at(-1);
  assert.equal(lb.log.filter((line) => line.event === "metrics").length, 2);
  assert.equal(last.requests_total, "1");
  assert.equal(last.clients, "0", "nobody is left at the end");
});

test("a port that is taken is an error that names the address, with exit status 1", async (t) => {
  const workers = await webWorkers(t, 1);
  const lb = await siolb(t, { workers });
  const second = await run(t, ["-l", `127.0.0.1:${lb.port}`, "-w", workers[0].address]);
  assert.equal(second.status, 1);
  assert.ok(second.stderr.includes(`127.0.0.1:${lb.port}`), second.stderr);
  assert.match(second.stderr, /error /);
  assert.equal((await request(lb.url, { agent: false })).status, 200, "the first one serves on");
});
