/* Large and binary messages, both ways, over both transports. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import test from "node:test";

import { connect, POLLING, UPGRADING, WEBSOCKET } from "./lib/clients.mjs";
import { fleet } from "./lib/fleet.mjs";
import { is_sanitized, siolb } from "./lib/siolb.mjs";

const BULK = 5 * 1024 * 1024;
const BUFFERS_MAX = 8 * 1024 * 1024; /* what siolb may grow by while it passes several times as much */
const transports = { polling: POLLING, websocket: WEBSOCKET };
const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

for (const [name, options] of Object.entries(transports)) {
  test(`5 MB up and 5 MB down over ${name}, text and binary, without being buffered whole`, async (t) => {
    const workers = await fleet(t, 2, { maxHttpBufferSize: 4 * BULK });
    const lb = await siolb(t, { workers });
    const client = await connect(t, lb.url, options);
    const before = lb.rss();

    for (const payload of ["z".repeat(BULK), randomBytes(BULK)]) {
      const [bytes, sum] = await client.ask("take", payload);
      assert.equal(bytes, BULK);
      assert.equal(sum, digest(payload));
    }
    const [binary] = await client.ask("give", BULK);
    assert.ok(binary.equals(Buffer.alloc(BULK, client.worker)), "binary comes down unchanged");
    const [text] = await client.ask("give text", BULK);
    assert.ok(text === "x".repeat(BULK), "text comes down unchanged");

    if (!is_sanitized) assert.ok(lb.rss() - before < BUFFERS_MAX, `grew by ${lb.rss() - before} bytes`);
    client.close();
    const metrics = await lb.untilMetrics((m) => m.tunnels === 0 && m.clients === 0); /* bytes are counted at the close */
    assert.equal(metrics.buffered_bytes, 0, "nothing is kept once it has passed");
    assert.ok(metrics.bytes_up_total > 2 * BULK);
    assert.ok(metrics.bytes_down_total > 2 * BULK);
  });
}

for (const version of [4, 2]) {
  for (const [name, options] of Object.entries({ ...transports, "polling, then websocket": UPGRADING })) {
    test(`binary attachments in nested objects, client ${version}.x over ${name}`, async (t) => {
      const workers = await fleet(t, 4, { allowEIO3: true });
      const lb = await siolb(t, { workers });
      const clients = await Promise.all(Array.from({ length: 4 }, () => connect(t, lb.url, { version, ...options })));
      const payload = { small: Buffer.from([0, 13, 10, 255]), list: [randomBytes(300), "text", { deep: randomBytes(70_000) }] };
      await Promise.all(clients.map((client) => client.talk(10, { payload })));
      await Promise.all(clients.map((client) => client.listen(10, payload)));
    });
  }
}
