/**
 * The checker itself: does it notice a parser that is wrong, and is its peer the parser that a real http.Server and a real
 * http client run?
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import http from "node:http";
import { Duplex } from "node:stream";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { difference } from "./lib/compare.mjs";
import { Frames } from "./lib/frames.mjs";
import { CANARY, makeInput } from "./lib/generate.mjs";
import { minimise } from "./lib/minimise.mjs";
import { LAX, Peer, STRICT } from "./lib/peer.mjs";

const FRAMES = process.env.FRAMES;
const SAMPLE = 1500;
const LENIENCIES = [
  { leniency: STRICT, insecureHTTPParser: false },
  { leniency: LAX, insecureHTTPParser: true },
];

const asInput = (kind, text) => ({ kind, asked: "G", bytes: Buffer.from(text, "latin1") });

/* --- what is wrong is found --- */

async function runDiff(direction, environment) {
  const child = spawn(process.execPath, [`${import.meta.dirname}/diff.mjs`, direction], {
    env: { ...process.env, DIFF_S: "120", DIFF_SEED: "1", DIFF_FIRST: "0", DIFF_WRONG: "", ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("latin1").on("data", (more) => (text += more));
  const code = await new Promise((resolve) => child.on("close", resolve));
  return { code, text };
}

const WRONGS = [
  { wrong: "length-beside-coding", direction: "request" },
  { wrong: "length-beside-coding", direction: "response" },
  { wrong: "bare-lf", direction: "request" },
  { wrong: "bare-lf", direction: "response" },
  { wrong: "early-end", direction: "request" },
  { wrong: "early-end", direction: "response" },
];

for (const { wrong, direction } of WRONGS)
  test(`a siolb that is wrong about a ${direction} (${wrong}) is found and shown by a small input`, async () => {
    const { code, text } = await runDiff(direction, { DIFF_WRONG: wrong, DIFF_COUNT: "200000" });
    assert.equal(code, 1, text);
    const [, minimised] = /^minimised: .*\nsiolb: .*\ninput: (.*)$/m.exec(text) ?? [];
    assert.ok(minimised, text);
    assert.ok(JSON.parse(minimised).length < 200, text);
    const [, again] = /DIFF_FIRST=(\d+) DIFF_COUNT=1/.exec(text) ?? [];
    if (again) {
      const repeated = await runDiff(direction, { DIFF_WRONG: wrong, DIFF_FIRST: again, DIFF_COUNT: "1" });
      assert.match(repeated.text, new RegExp(`DIFF_FIRST=${again} `));
    }
  });

test("siolb as it is passes the same inputs", async () => {
  for (const direction of ["request", "response"]) {
    const { code, text } = await runDiff(direction, { DIFF_COUNT: "5000" });
    assert.equal(code, 0, text);
  }
});

test("Node may refuse what siolb lets through, but only for a listed reason", async () => {
  const whole = (text, extra) => ({
    messages: [{ start: 0, head: text.length, end: text.length, payload: 0, isWhole: true, isPersistent: true, ...extra }],
    end: "more",
  });
  const unknown = "FETCH / HTTP/1.1\r\nA: b\r\n\r\n";
  const refusals = [];
  const what = difference(asInput("q", unknown), whole(unknown, { fields: 1, text: 2 }), (name) => refusals.push(name));
  assert.equal(what, undefined);
  assert.ok(refusals.includes("Node: head HPE_INVALID_METHOD"));
  const nul = "GET / HTTP/1.1\r\nA: \0\r\n\r\n";
  assert.match(difference(asInput("q", nul), whole(nul, { fields: 1, text: 2 })), /refuses with HPE_INVALID_HEADER_TOKEN/);
});

test("what the harness tells of a pipeline is what lies in it", async () => {
  const frames = new Frames(FRAMES);
  const post = "\r\nPOST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n";
  const [verdict] = await frames.judge([asInput("q", `${post}GET / HTTP/1.0\r\n\r\n${CANARY.q}`)]);
  frames.end();
  const [first, second] = verdict.messages;
  assert.equal(verdict.messages.length, 2);
  assert.equal(verdict.end, "over");
  assert.deepEqual([first.start, first.end, first.payload, first.fields, first.text], [2, post.length, 5, 1, 24]);
  assert.deepEqual([second.start, second.end, second.isPersistent], [post.length, post.length + 18, false]);
});

test("the same seed makes the same inputs, another one others", () => {
  const text = (seed, number) => makeInput("q", seed, number, []).bytes.toString("latin1");
  assert.equal(text(1, 7), text(1, 7));
  assert.notEqual(text(1, 7), text(1, 8));
  assert.notEqual(text(1, 7), text(2, 7));
});

test("an input is made as small as it can be", async () => {
  const find = async (inputs) => inputs.findIndex(({ bytes }) => bytes.includes("a") && bytes.includes("z"));
  const { bytes } = await minimise(asInput("q", "..a..........bcz..."), find);
  assert.equal(bytes.toString(), "az");
});

/* --- the peer is the real one --- */

/** A connection in the same process: what is pushed into it comes to the other side at once. */
class Wire extends Duplex {
  _read() {}
  _write(_bytes, _encoding, done) {
    done();
  }
  setTimeout() {
    return this;
  }
  setNoDelay() {}
  setKeepAlive() {}
  ref() {}
  unref() {}
}

/** Nothing in here waits for anything outside: after some turns of the loop all has happened. */
async function settle() {
  for (let i = 0; i < 8; i++) await turn();
}

async function realServer(bytes, { insecureHTTPParser }, takesUpgrades) {
  const seen = { heads: [], payload: 0, wholes: 0, error: undefined };
  const onRequest = (request) => {
    seen.heads.push(`${request.method} ${request.url}`);
    request.on("data", (piece) => (seen.payload += piece.length)).on("end", () => seen.wholes++).on("error", () => {});
  };
  const server = http.createServer({ insecureHTTPParser, requireHostHeader: false });
  server.on("request", onRequest).on("checkContinue", onRequest).on("checkExpectation", onRequest);
  server.on("clientError", (error) => (seen.error ??= error.code));
  if (takesUpgrades)
    server.on("upgrade", (request) => {
      seen.heads.push(`${request.method} ${request.url}`);
      seen.wholes++;
    });
  const wire = new Wire();
  wire.on("error", () => {});
  server.emit("connection", wire);
  wire.push(bytes);
  await settle();
  wire.destroy();
  return seen;
}

async function realClient(bytes, { insecureHTTPParser }, method) {
  const seen = { heads: [], payload: 0, wholes: 0, error: undefined };
  const wire = new Wire();
  wire.on("error", () => {});
  const request = http.request({ insecureHTTPParser, method, createConnection: () => wire });
  request.on("information", ({ statusCode }) => seen.heads.push(statusCode));
  request.on("response", (answer) => {
    seen.heads.push(answer.statusCode);
    answer.on("data", (piece) => (seen.payload += piece.length)).on("error", () => {});
    answer.on("close", () => (seen.wholes += answer.complete ? 1 : 0));
  });
  request.on("error", (error) => (seen.error ??= error.code));
  request.end();
  await settle();
  wire.push(bytes);
  await settle();
  wire.push(null);
  await settle();
  wire.destroy();
  return seen;
}

for (const options of LENIENCIES)
  for (const takesUpgrades of [true, false])
    test(`a real http.Server reads as our peer does: ${JSON.stringify({ ...options, takesUpgrades })}`, async () => {
      const peer = new Peer(options.leniency, takesUpgrades);
      let heads = 0;
      for (let number = 0; number < SAMPLE; number++) {
        const { bytes } = makeInput("q", 4711, number, []);
        peer.connect("q");
        const ours = peer.feed(bytes);
        const upgrade = ours.heads.some(({ isUpgrade }) => isUpgrade);
        if (upgrade && !takesUpgrades) continue; // what lies behind it in the same piece is lost to such a server
        const real = await realServer(bytes, options, takesUpgrades);
        const text = JSON.stringify(bytes.toString("latin1"));
        assert.deepEqual(real.heads, ours.heads.map(({ method, target }) => `${method} ${target}`), text);
        assert.equal(real.error, upgrade ? undefined : ours.error, text);
        if (!ours.error) assert.deepEqual([real.wholes, real.payload], [ours.wholes, ours.payload], text);
        heads += real.heads.length;
      }
      assert.ok(heads > SAMPLE / 2, `${heads} requests were read`);
    });

for (const options of LENIENCIES)
  test(`a real http client reads as our peer does: ${JSON.stringify(options)}`, async () => {
    const peer = new Peer(options.leniency, true);
    const METHODS = { G: "GET", P: "POST", H: "HEAD", O: "OPTIONS" };
    let compared = 0;
    for (let number = 0; number < SAMPLE; number++) {
      const { bytes, asked } = makeInput("r", 4711, number, []);
      const text = bytes.toString("latin1");
      const alone = text.endsWith(CANARY.r) ? bytes.subarray(0, -CANARY.r.length) : bytes;
      peer.connect("r", asked);
      const ours = peer.feed(alone);
      const finals = ours.heads.filter(({ status }) => status >= 200);
      if (ours.error || finals.length !== 1 || ours.heads.at(-1) !== finals[0]) continue;
      const end = peer.finish();
      const real = await realClient(alone, options, METHODS[asked]);
      assert.deepEqual(real.heads, ours.heads.map(({ status }) => status), JSON.stringify(text));
      const isWhole = ours.wholes + end.wholes === ours.heads.length;
      assert.deepEqual([real.wholes, real.payload], [isWhole ? 1 : 0, ours.payload], JSON.stringify([text, asked]));
      compared++;
    }
    assert.ok(compared > SAMPLE / 10, `${compared} answers were compared`);
  });
