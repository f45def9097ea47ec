/* More clients than descriptors: accepting pauses, costs nothing meanwhile, and goes on. */
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import test from "node:test";

import { defer, within } from "./lib/defer.mjs";
import { webWorkers } from "./lib/http.mjs";
import { is_sanitized, siolb } from "./lib/siolb.mjs";

const WAIT_MS = 10_000;
const HOLD_MS = 1_500;
const GET = "GET /quick HTTP/1.1\r\nHost: x\r\n\r\n";

/** A connection that can say a request and wait for its answer. */
class Raw {
  constructor(t, port) {
    this.socket = net.connect(port, "127.0.0.1");
    this.socket.on("error", () => {});
    this.connects = once(this.socket, "connect");
    defer(t, () => this.socket.destroy());
  }

  connected() {
    return within(WAIT_MS, "a connection", this.connects);
  }

  async ask(text = GET) {
    const answer = once(this.socket, "data");
    this.socket.write(text);
    const [data] = await within(WAIT_MS, "an answer", answer);
    assert.match(data.toString(), /^HTTP\/1\.1 200 /);
  }
}

/* A worker whose answer to /slow takes a while: the window over which processor time is measured ends with an event. */
function slowWorkers(t) {
  return webWorkers(t, 1, (req, res) => {
    if (req.url === "/slow") setTimeout(() => res.end("slow"), HOLD_MS);
    else res.end("quick");
  });
}

for (const [name, options] of Object.entries({
  "the descriptor limit": { prefix: ["prlimit", "--nofile=64:64"] },
  "limits.connections": { limits: { connections: 20 } },
})) {
  test(`over ${name} accepting pauses without spinning and continues when clients leave`, async (t) => {
    const workers = await slowWorkers(t);
    const lb = await siolb(t, { workers, timeouts: { keepalive: "60s", head: "60s" }, ...options });
    const ceiling = Number(lb.ready_line.clients_max);
    assert.ok(ceiling >= 8 && ceiling < 64, `says how many clients fit: ${lb.ready_line.text}`);

    const clients = Array.from({ length: ceiling }, () => new Raw(t, lb.port));
    for (const client of clients) {
      await client.connected();
      await client.ask();
    }
    const waiting = Array.from({ length: 10 }, () => new Raw(t, lb.port));
    await Promise.all(waiting.map((client) => client.connected())); /* by the kernel, into the backlog */
    const answers = waiting.map((client) => client.ask());
    let answered = 0;
    answers.forEach((answer) => answer.then(() => answered++));
    await lb.untilMetrics((m) => m.accept_pauses_total >= 1);

    const ticks = lb.cpuTicks();
    await clients[0].ask("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
    const used = lb.cpuTicks() - ticks;
    assert.ok(used <= 5, `${used} ticks of processor time in ${HOLD_MS} ms of waiting`);
    assert.equal(answered, 0, "nobody over the ceiling is served");
    await clients[1].ask(); /* those inside are */

    clients.slice(0, 10).forEach((client) => client.socket.destroy());
    await Promise.all(answers);
    assert.equal(answered, 10, "those who waited are served once there is room");
    assert.equal(await lb.metric("accepted_total"), ceiling + 10);
  });
}

test("the soft descriptor limit is raised to the hard one", async (t) => {
  const workers = await slowWorkers(t);
  const small = await siolb(t, { workers, prefix: ["prlimit", "--nofile=64:64"] });
  const raised = await siolb(t, { workers, prefix: ["prlimit", "--nofile=64:1024"] });
  assert.ok(Number(small.ready_line.clients_max) < 64, small.ready_line.text);
  assert.ok(Number(raised.ready_line.clients_max) > 64, raised.ready_line.text);
});

test("under 8 MiB resident at start, whatever the descriptor limit", { skip: is_sanitized }, async (t) => {
  const lb = await siolb(t, { workers: await slowWorkers(t) });
  assert.ok(lb.rss() < 8 * 1024 * 1024, `${lb.rss()} bytes`);
});
