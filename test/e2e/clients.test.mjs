/* Real clients of every kind in front of four real workers: each finds its worker again, with every request. */
import assert from "node:assert/strict";
import test from "node:test";

import { connectAll, POLLING, UPGRADING, WEBSOCKET } from "./lib/clients.mjs";
import { fleet } from "./lib/fleet.mjs";
import { siolb } from "./lib/siolb.mjs";

const CLIENTS = 8;
const transports = { "polling only": POLLING, "polling, then websocket": UPGRADING, "websocket only": WEBSOCKET };

const pairs = [
  { name: "socket.io-client 4 at a 4.x server", client: 4, server: {}, learned: "learned_plain_total" },
  { name: "socket.io-client 2 at a 2.x server", client: 2, server: { version: 2 }, learned: "learned_text_total" },
  {
    name: "socket.io-client 2 at a 4.x server with allowEIO3",
    client: 2,
    server: { allowEIO3: true },
    learned: "learned_text_total",
  },
];

async function eachFindsItsWorker(t, pair, options, workers) {
  const messages_before = await workers.total("messages");
  const lb = await siolb(t, { workers });
  const clients = await connectAll(t, lb.url, CLIENTS, { version: pair.client, ...options });

  await Promise.all(clients.map((client) => client.talk(30)));
  if (options === UPGRADING) await Promise.all(clients.map((client) => client.upgraded()));
  await Promise.all(clients.map((client) => client.listen(20, "from the worker")));
  await Promise.all(clients.map((client) => client.talk(30, { payload: { text: "grüße \u{1f600}" } })));

  const [last_transport] = options.transports.slice(-1);
  for (const client of clients) assert.equal(client.transport, last_transport);
  for (const worker of workers) {
    const here = clients.filter((client) => client.worker === worker.id).length;
    assert.equal(here, CLIENTS / 4, `the newcomers spread evenly; ${worker.id} has ${here}`);
  }
  assert.equal((await workers.total("messages")) - messages_before, CLIENTS * 60);
  await workers.assertClean();
  const metrics = await lb.metrics();
  const starts_polling = options !== WEBSOCKET;
  assert.equal(metrics[pair.learned], starts_polling ? CLIENTS : 0, "sids are learned from polling handshakes only");
  assert.equal(metrics.route_new_total, CLIENTS);
  assert.equal(metrics.route_unknown_total, 0);
  assert.equal(metrics.tunnels, last_transport === "websocket" ? CLIENTS : 0);
  assert.equal(metrics.sessions, CLIENTS);
}

for (const pair of pairs) {
  test(`${pair.name}: every message once and in order, at its own worker`, async (t) => {
    const workers = await fleet(t, 4, pair.server);
    for (const [transport, options] of Object.entries(transports)) {
      await t.test(transport, (each) => eachFindsItsWorker(each, pair, options, workers));
    }
  });
}

test("clients that come back after their end are newcomers again", async (t) => {
  const workers = await fleet(t, 2);
  const lb = await siolb(t, { workers });
  for (let round = 0; round < 3; round++) {
    const clients = await connectAll(t, lb.url, 4, UPGRADING);
    await Promise.all(clients.map((client) => client.upgraded()));
    await Promise.all(clients.map((client) => client.talk(5)));
    clients.forEach((client) => client.close());
    const metrics = await lb.untilMetrics((m) => m.tunnels === 0 && m.exchanges === 0);
    assert.equal(metrics.sessions, 0, "a session ends with its websocket");
    assert.equal(metrics.route_new_total, 4 * (round + 1));
  }
});
