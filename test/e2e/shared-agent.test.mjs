/*
 * Several polling clients share few keep-alive connections, as the tabs of a browser do: what is decided per connection
 * instead of per request goes to a wrong worker here.
 */
import assert from "node:assert/strict";
import test from "node:test";

import { connectAll, POLLING } from "./lib/clients.mjs";
import { fleet } from "./lib/fleet.mjs";
import { agent, request } from "./lib/http.mjs";
import { siolb } from "./lib/siolb.mjs";

const MESSAGES = 8;
/* A held poll blocks its connection until the next ping; a pong may then have to wait for its turn. */
const heartbeat = { pingInterval: 100, pingTimeout: 30_000 };

for (const [sockets, count] of [
  [1, 3],
  [2, 6],
  [4, 12],
]) {
  test(`${count} polling clients on ${sockets} keep-alive connection(s) each keep their own worker`, async (t) => {
    const workers = await fleet(t, 4, heartbeat);
    const lb = await siolb(t, { workers });
    const shared = agent(t, sockets);
    const clients = await connectAll(t, lb.url, count, { ...POLLING, agent: shared });

    const plain = Promise.all(Array.from({ length: 4 }, () => request(`${lb.url}/whoami`, { agent: shared })));
    await Promise.all(clients.map((client) => client.talk(MESSAGES, { window: 1 })));

    for (const answer of await plain) assert.equal(answer.status, 200, "plain requests pass between the polls");
    assert.ok(new Set(clients.map((client) => client.worker)).size > 1, "the clients belong to several workers");
    assert.equal(await workers.total("messages"), count * MESSAGES);
    assert.ok((await lb.metric("accepted_total")) <= sockets, "all of it went over the few connections");
  });
}
