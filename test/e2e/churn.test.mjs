/* Many clients of every kind, coming and going for half a minute: nothing is lost and nobody meets a wrong worker. */
import assert from "node:assert/strict";
import test from "node:test";

import { connect, POLLING, UPGRADING, WEBSOCKET } from "./lib/clients.mjs";
import { fleet } from "./lib/fleet.mjs";
import { agent } from "./lib/http.mjs";
import { siolb } from "./lib/siolb.mjs";

const CLIENTS = 200;
const LOAD_MS = 30_000;
const ROUND_MESSAGES = 12;

test("200 clients coming and going for 30 s: every message once and in order, zero misroutes", async (t) => {
  const workers = await fleet(t, 4, { allowEIO3: true, pingInterval: 1000, pingTimeout: 30_000 });
  const lb = await siolb(t, { workers });
  const shared = agent(t, 32);
  const kinds = [
    { ...POLLING },
    { ...POLLING, agent: shared },
    { ...UPGRADING },
    { ...UPGRADING, version: 2 },
    { ...WEBSOCKET },
    { ...WEBSOCKET, version: 2 },
  ];
  const ends_at = Date.now() + LOAD_MS;
  const is_over = () => Date.now() >= ends_at;
  let lives = 0;
  let said = 0;

  /* One of the 200: lives again and again, each life a session of another length. */
  const live = async (number) => {
    for (let life = 0; !is_over(); life++) {
      const client = await connect(t, lb.url, kinds[(number + life) % kinds.length]);
      for (let round = 0; round <= (number + life) % 4 && !is_over(); round++) {
        const payload = `${number}.${life}.${round}`;
        const echoes = await client.talk(ROUND_MESSAGES, { window: 1 + (number % 4), payload, until: is_over });
        said += echoes;
        await client.listen(3, `${number}`);
      }
      client.close();
      lives++;
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, (_, number) => live(number)));

  t.diagnostic(`${lives} sessions, ${said} messages, ${await workers.total("late")} requests after the end of their session`);
  assert.ok(lives >= CLIENTS, "every client lived at least once");
  assert.equal(await workers.total("messages"), said);
  assert.equal(await workers.total("connections"), lives);
  const metrics = await lb.untilMetrics((m) => m.tunnels === 0 && m.exchanges <= shared.maxSockets);
  assert.equal(metrics.route_unknown_total, 0);
  assert.equal(metrics.closed_without_answer_total, 0);
  assert.equal(metrics.truncated_total, 0);
  assert.equal(metrics.bad_responses_total, 0);
  assert.equal(metrics.buffered_bytes, 0);
  for (const worker of workers) {
    const { connections } = await worker.counters();
    assert.ok(connections > lives / 8, `${worker.id} got its share: ${connections} of ${lives}`);
  }
});
