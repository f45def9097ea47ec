/* JSONP polling, as old browsers do it, over real workers. */
import assert from "node:assert/strict";
import test from "node:test";

import { fleet } from "./lib/fleet.mjs";
import { poll } from "./lib/polling.mjs";
import { siolb } from "./lib/siolb.mjs";

const pairs = [
  { name: "Engine.IO 4 at a 4.x server", eio: 4, server: {} },
  { name: "Engine.IO 3 at a 4.x server with allowEIO3", eio: 3, server: { allowEIO3: true } },
  { name: "Engine.IO 3 at a 2.x server", eio: 3, server: { version: 2 } },
];

for (const pair of pairs) {
  test(`JSONP, ${pair.name}: the sid is learned out of the script`, async (t) => {
    const workers = await fleet(t, 4, pair.server);
    const lb = await siolb(t, { workers });
    const clients = await Promise.all(Array.from({ length: 8 }, () => poll(t, lb.url, { eio: pair.eio, jsonp: true })));

    await Promise.all(clients.map((client) => client.talk(20, 'quotes " and \\ too')));

    const metrics = await lb.metrics();
    assert.equal(metrics.learned_jsonp_total, 8);
    assert.equal(metrics.route_unknown_total, 0);
    assert.equal(new Set(clients.map((client) => client.worker)).size, 4, "all workers have clients");
  });
}
