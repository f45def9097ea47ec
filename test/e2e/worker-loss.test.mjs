/* A worker dies under real clients: its own start anew elsewhere, nobody else notices. */
import assert from "node:assert/strict";
import test from "node:test";

import { connect, POLLING, UPGRADING, WEBSOCKET } from "./lib/clients.mjs";
import { within } from "./lib/defer.mjs";
import { fleet } from "./lib/fleet.mjs";
import { request } from "./lib/http.mjs";
import { siolb } from "./lib/siolb.mjs";

const RECONNECT_MS = 20_000;
const reconnecting = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 };

for (const [name, options] of Object.entries({ POLLING, UPGRADING, WEBSOCKET })) {
  test(`a worker killed: its clients reconnect to the others, whose clients lose nothing (${name.toLowerCase()})`, async (t) => {
    /* The first request of a lost session goes to a worker that never knew it, which is what sends the client anew. */
    const workers = await fleet(t, 4, { checked: false });
    const lb = await siolb(t, { workers });
    const clients = await Promise.all(Array.from({ length: 12 }, () => connect(t, lb.url, { ...options, ...reconnecting })));
    if (options === UPGRADING) await Promise.all(clients.map((client) => client.upgraded()));
    const victim = workers[2];
    const lost = clients.filter((client) => client.worker === victim.id);
    const kept = clients.filter((client) => client.worker !== victim.id);
    assert.equal(lost.length, 3);

    const reborn = lost.map((client) => new Promise((resolve) => client.socket.once("worker", resolve)));
    const talks = kept.map((client) => client.talk(200, { window: 2 }));
    await victim.kill();
    const homes = await within(RECONNECT_MS, "the lost clients to come back", Promise.all(reborn));
    await Promise.all(talks);

    assert.ok(homes.every((id) => id !== victim.id && workers.byId(id)));
    for (const client of kept) assert.ok(client.socket.connected, "never reconnected");
    assert.equal(await workers.total("disorder"), 0);
    assert.equal(await workers.total("connections"), clients.length, "nine from before and the three that came anew");
  });
}

test("all workers gone: 503 with Retry-After; one that comes back under its port is used again", async (t) => {
  const [worker] = await fleet(t, 1);
  const lb = await siolb(t, { workers: [worker] });
  await worker.kill();
  const refused = await request(`${lb.url}/socket.io/?EIO=4&transport=polling`, { agent: false });
  assert.equal(refused.status, 503);
  assert.ok(Number(refused.headers["retry-after"]) >= 1);
  assert.equal(refused.headers["cache-control"], "no-store");
  assert.equal(typeof JSON.parse(refused.text).code, "number");

  const [again] = await fleet(t, 1, { port: worker.port });
  const client = await connect(t, lb.url, { ...POLLING, ...reconnecting });
  await client.talk(5);
  assert.equal(client.worker, again.id);
});
