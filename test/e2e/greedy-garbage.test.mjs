/* What knocks at an open port: TLS, HTTP/2, other protocols, noise. It is answered or closed, and no worker hears of it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import http2 from "node:http2";
import test from "node:test";
import tls from "node:tls";

import { defer, within } from "./lib/defer.mjs";
import { ordinaryClients, ordinaryWorker } from "./lib/ordinary.mjs";
import { random } from "./lib/random.mjs";
import { rawClient } from "./lib/scripted.mjs";
import { siolb } from "./lib/siolb.mjs";

const NOISY = 400;
const AT_ONCE = 100;
const KNOCKS = 20;
const WAIT_MS = 60_000;

async function start(t) {
  const worker = await ordinaryWorker(t);
  const lb = await siolb(t, { workers: [worker], timeouts: { head: "2s" } });
  return { worker, lb, ordinary: await ordinaryClients(t, lb) };
}

/** Everybody is gone, the worker heard of nobody, and the ordinary clients never noticed. */
async function nobodyNoticed({ worker, lb, ordinary }) {
  await ordinary.served(10);
  await lb.untilMetrics((m) => m.clients <= ordinary.connections && m.buffered_bytes === 0);
  assert.deepEqual([worker.strangers, worker.noise], [[], 0], "no worker was met");
}

const BANNERS = {
  "an SSH banner": "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
  "the preface of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
  "SMTP": "EHLO example.com\r\nMAIL FROM:<a@example.com>\r\n",
  "Redis": "*1\r\n$4\r\nPING\r\n",
  "SIP": "OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm;branch=foo\r\n\r\n",
  "RTSP": "OPTIONS / RTSP/1.0\r\n\r\n",
  "SOCKS 5": "\x05\x01\0",
  "a PROXY line": "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
  "the signature of PROXY v2": "\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x50\0\x50",
  "a frame of a websocket": "\x81\x85\x01\x02\x03\x04abcde",
  "an MQTT CONNECT": "\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0",
  "a Remote Desktop hello": "\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0",
};

/** What a stranger may get: a refusal that closes (408: too little came to be judged), or an end. */
async function assertTurnedAway(client, what) {
  await client.until("an end", () => client.end_seen, WAIT_MS);
  const { text } = await client.rest();
  assert.match(text, /^$|^HTTP\/1\.1 (400|408|414|431|505) [^]*\r\nConnection: close\r\n/, what);
}

test("other protocols are refused or closed, whether they go on, wait or leave", async (t) => {
  const all = await start(t);
  for (const [what, bytes] of Object.entries(BANNERS)) {
    await t.test(what, async (row) => {
      const [goes_on, waits, leaves] = await Promise.all([1, 2, 3].map(() => rawClient(row, all.lb)));
      await Promise.all([goes_on, waits].map((client) => client.send(bytes)));
      goes_on.send(bytes.repeat(1000)).catch(() => {});
      await leaves.fin(bytes);
      await Promise.all([goes_on, waits, leaves].map((client) => assertTurnedAway(client, what)));
    });
  }
  await nobodyNoticed(all);
});

test("a real TLS client and a real HTTP/2 client are told at once that this is neither", async (t) => {
  const all = await start(t);
  const refused = async () => {
    const secure = tls.connect({ port: all.lb.port, host: "127.0.0.1", servername: "example.com", ALPNProtocols: ["h2", "http/1.1"] });
    defer(t, () => secure.destroy());
    const [error] = await within(WAIT_MS, "the end of a TLS handshake", once(secure, "error"));
    assert.match(error.code, /^(EPROTO|ERR_SSL_|ECONNRESET)/);
    const session = http2.connect(all.lb.url);
    defer(t, () => session.destroy());
    session.request({ ":path": "/h2" }).on("error", () => {});
    await within(WAIT_MS, "the end of an HTTP/2 session", once(session, "error"));
  };
  await Promise.all(Array.from({ length: KNOCKS }, refused));
  assert.equal((await all.lb.metrics()).refused_requests_total, 2 * KNOCKS);
  await nobodyNoticed(all);
});

/** Up to 3 KiB of nothing in particular; a part of them with line ends and words of HTTP in between. */
function noise(next) {
  const words = ["\r\n", "\n", "\r\n\r\n", " ", ":", "HTTP/1.1", "Host: x", "Content-Length: 5", "POST", "\0"];
  const some = () => (next(2) ? words[next(words.length)] : String.fromCharCode(...Array.from({ length: next(300) }, () => next(256))));
  return next(2) ? Array.from({ length: 1 + next(10) }, some).join("") : String.fromCharCode(0x80 + next(0x80)) + some();
}

test("400 connections of noise are refused or closed", async (t) => {
  const all = await start(t);
  const next = random(t, "GARBAGE_SEED");
  let left = NOISY;
  const knocks = async () => {
    while (left-- > 0) {
      const bytes = noise(next);
      const stays = next(2);
      const client = await rawClient(t, all.lb);
      if (stays) await client.send(bytes).catch(() => {});
      else await client.fin(bytes);
      await assertTurnedAway(client, JSON.stringify(bytes));
      if (next(4)) client.socket.destroy();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, knocks));
  await nobodyNoticed(all);
});
