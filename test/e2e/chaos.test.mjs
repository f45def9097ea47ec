/* Hundreds of connections whose both ends do something rude at a random moment: nothing is left behind, nobody else
 * notices. The seed is printed when it fails; CHAOS_SEED repeats it. */
import assert from "node:assert/strict";
import test from "node:test";

import { random } from "./lib/random.mjs";
import { answers, get, GET, post, rawClient, response, scriptedWorker, SWITCH, UPGRADE } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const CONNECTIONS = 600;
const AT_ONCE = 40;

const CHUNKED = "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
const REQUESTS = [GET, post("/p", "x".repeat(2000)), CHUNKED, UPGRADE, get("/a") + get("/b") + get("/c"), get("/", "Connection: close")];
const ANSWERS = [
  response("fine"),
  response("x".repeat(300_000)),
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
  "HTTP/1.1 200 OK\r\n\r\nuntil close",
  "HTTP/1.1 103 Early Hints\r\n\r\n" + response("hinted"),
  `${SWITCH}frame`,
  response("surplus") + response("surplus"),
  "no HTTP at all\r\n",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
];

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Send `bytes`, perhaps not all of them, perhaps in two pieces, and leave in one of several ways, or stay. */
async function rudely(peer, bytes, next) {
  const cut = next(3) === 0 ? next(bytes.length) : bytes.length;
  const at = next(2) ? cut : next(cut + 1);
  await peer.send(bytes.slice(0, at));
  if (at < cut) {
    await pause(next(3));
    await peer.send(bytes.slice(at, cut));
  }
  await pause(next(4));
  const end = next(5);
  if (end === 0) await peer.reset();
  else if (end === 1) await peer.fin();
  else if (end === 2) peer.socket.destroy();
  else if (end === 3) await peer.fin("more");
}

test("600 rude connections leave nothing behind, and a polite worker beside the rude one still serves", async (t) => {
  const next = random(t, "CHAOS_SEED");
  const rude = await scriptedWorker(t, {
    id: "rude",
    script: async (up) => {
      if (next(6)) await up.head(Infinity);
      await rudely(up, ANSWERS[next(ANSWERS.length)], next).catch(() => {});
      await pause(300);
      up.socket.destroy(); /* a FIN of the client is no reason to leave for one that stays */
    },
  });
  const polite = await scriptedWorker(t, { id: "polite", script: answers(({ body }) => response(`polite ${body}`)) });
  const lb = await siolb(t, { workers: [rude], timeouts: { head: "1s", response: "1s", tunnel: "1s" } });
  const other = await siolb(t, { workers: [rude, polite], proxy: { balance: "round-robin" }, timeouts: { head: "1s", response: "1s", tunnel: "1s" } });
  const descriptors = [lb.fds(), other.fds()];

  let left = CONNECTIONS;
  const one = async () => {
    while (left-- > 0) {
      const client = await rawClient(t, left % 2 ? lb : other);
      await rudely(client, REQUESTS[next(REQUESTS.length)], next).catch(() => {});
      await pause(next(5));
      client.socket.destroy();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  for (const [n, each] of [lb, other].entries()) {
    const metrics = await each.untilMetrics((m) => m.clients + m.exchanges + m.tunnels + m.buffered_bytes + m.upstreams_idle === 0);
    assert.equal(metrics.sessions, 0);
    assert.equal(each.fds(), descriptors[n], "no descriptor is lost");
  }
  /* Two workers in turn: one of two in a row meets the polite one. */
  const served = await Promise.all(
    [1, 2].map(async () => {
      const client = await rawClient(t, other);
      await client.send(post("/p", "words"));
      await client.until("an answer or an end", () => client.has_bytes || client.end_seen);
      return client.read(response("polite words").length).catch(() => "");
    }),
  );
  assert.ok(served.includes(response("polite words")));
});
