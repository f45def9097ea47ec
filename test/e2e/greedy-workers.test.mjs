/* Workers that take their time with a head or never come to its end, and clients that close one half and stay. */
import assert from "node:assert/strict";
import test, { describe } from "node:test";

import { ordinaryClients, ordinaryWorker } from "./lib/ordinary.mjs";
import { get, rawClient, SWITCH } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const MANY = 100;
const WAIT_MS = 60_000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function start(t, worker, timeouts = {}) {
  const lb = await siolb(t, { workers: [worker], timeouts });
  return { lb, ordinary: await ordinaryClients(t, lb) };
}

/** Many clients that have sent `head`. */
async function crowd(t, lb, head) {
  const clients = await Promise.all(Array.from({ length: MANY }, () => rawClient(t, lb)));
  await Promise.all(clients.map((client) => client.send(head)));
  return clients;
}

/** Write `piece(n)` every `ms`, for ever or until there is none, and as long as siolb is there. */
async function trickle(socket, ms, piece) {
  for (let n = 0; !socket.destroyed && piece(n); n++) {
    socket.write(piece(n));
    await pause(ms);
  }
}

const ANSWER = "HTTP/1.1 200 OK\r\nConnection: close\r\nX-Slow: yes\r\nContent-Length: 5\r\n\r\nhello";

test("100 workers' heads that come byte by byte are passed on whole", async (t) => {
  const worker = await ordinaryWorker(t, { answer: ({ socket }) => trickle(socket, 10, (n) => ANSWER[n]).then(() => socket.end()) });
  const { lb, ordinary } = await start(t, worker);
  const clients = await crowd(t, lb, get("/trickles"));
  await ordinary.served(10);
  for (const client of clients) await client.expect(ANSWER);
  await ordinary.served(10);
  await lb.untilMetrics((m) => m.buffered_bytes === 0 && m.clients <= MANY + ordinary.connections);
});

/* Most of their time is waiting. */
describe("side by side", { concurrency: 2 }, () => {
  test("a head that never ends has timeouts.response, and no byte of it restarts that: 504, and the worker is let go", async (t) => {
    let let_go = 0;
    const worker = await ordinaryWorker(t, {
      answer: ({ socket }) => {
        socket.on("close", () => let_go++);
        return trickle(socket, 100, (n) => "HTTP/1.1 200 OK\r\nX: "[n] ?? "y");
      },
    });
    const { lb, ordinary } = await start(t, worker, { response: "6s" }); /* also those of ordinary clients */
    const clients = await crowd(t, lb, get("/endless"));
    await ordinary.served(30);
    for (const client of clients) assert.match(await client.head(WAIT_MS), /^HTTP\/1\.1 504 Gateway Timeout\r\n/);
    const metrics = await lb.untilMetrics((m) => let_go === MANY && m.exchanges <= ordinary.connections);
    assert.equal(metrics.replies_response_timeout_total, MANY);
    await ordinary.served(10);
  });

  test("100 websockets of which one half is closed end when they are idle, not before", async (t) => {
    const ups = new Map();
    const worker = await ordinaryWorker(t, { upgrade: (up, req) => ups.set(req.url, up) && up.send(SWITCH) });
    const { lb, ordinary } = await start(t, worker, { tunnel: "8s" });
    const open = async (_, n) => {
      const client = await rawClient(t, lb);
      await client.send(get(`/half/${n}`, "Connection: Upgrade", "Upgrade: websocket"));
      await client.expect(SWITCH);
      const ends = [client, ups.get(`/half/${n}`)];
      const [silent, speaker] = n % 2 ? ends : ends.reverse();
      await silent.fin();
      await speaker.send(".");
      await silent.expect(".");
      return { silent, speaker };
    };
    const all = await Promise.all(Array.from({ length: MANY }, open));
    const [idle, busy] = [all.slice(0, MANY / 2), all.slice(MANY / 2)];

    /* The idle ones are the clock: when they have all ended, as long has passed for the others. */
    const over = Promise.all(idle.map(({ silent }) => silent.until("the end of an idle one", () => silent.end_seen, WAIT_MS)));
    let is_over = false;
    over.then(() => (is_over = true), () => (is_over = true));
    while (!is_over) {
      await Promise.all(busy.map(({ speaker }) => speaker.send(".")));
      await pause(200);
    }
    await over;
    await ordinary.served(5);
    assert.equal(await lb.metric("tunnels"), MANY / 2 + 1, "bytes one way keep them");
    await Promise.all(busy.map(({ speaker }) => speaker.fin()));
    await lb.untilMetrics((m) => m.tunnels === 1);
    await ordinary.served(5);
  });
});

test("1xx without end, each in good time: 16 are passed on, then it is a 502", async (t) => {
  const hint = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
  const worker = await ordinaryWorker(t, { answer: ({ socket }) => trickle(socket, 50, () => hint) });
  const { lb, ordinary } = await start(t, worker, { response: "30s" });
  const clients = await crowd(t, lb, get("/hints"));
  await ordinary.served(10);
  for (const client of clients) {
    await client.expect(hint.repeat(16));
    assert.match(await client.head(), /^HTTP\/1\.1 502 Bad Gateway\r\n[^]*\r\nConnection: close\r\n/);
  }
  await ordinary.served(10);
  assert.equal((await lb.metrics()).bad_responses_total, MANY);
});

test("100 clients that have closed their half get what their worker still sends them, slow as it may be", async (t) => {
  const parts = Array.from({ length: 20 }, (_, n) => `part ${n} `);
  const head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
  const worker = await ordinaryWorker(t, {
    upgrade: async (up) => {
      await up.until("the client's FIN", () => up.end_seen, WAIT_MS);
      await up.send(head);
      await trickle(up.socket, 30, (n) => parts[n]);
      await up.fin();
    },
  });
  const { lb, ordinary } = await start(t, worker);
  /* with Upgrade: Node's server gives the bare connection, which may stay half open */
  const clients = await crowd(t, lb, get("/half", "Connection: Upgrade", "Upgrade: websocket"));
  await Promise.all(clients.map((client) => client.fin()));
  await ordinary.served(10);
  for (const client of clients) await client.expect(head + parts.join(""));
  for (const client of clients) assert.equal(await client.ended(), "fin");
  await lb.untilMetrics((m) => m.clients <= ordinary.connections);
});
