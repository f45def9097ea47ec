/*
 * The demo chat as people open it: three tabs of one browser, which share its keep-alive connections, on three workers.
 * Everybody reads everybody, each tab stays with its worker, and a worker that dies moves its own tab only.
 *
 * Not under ASan: nearly all of its time goes into Chromium and the demo's own processes, and what siolb does here other
 * tests have it do under ASan too.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import test from "node:test";
import { fileURLToPath } from "node:url";

import { browserContext, openPage } from "./lib/browser.mjs";
import { defer, within } from "./lib/defer.mjs";
import { Log } from "./lib/log.mjs";

const program = fileURLToPath(new URL("../fleet/chat/demo.mjs", import.meta.url));
const WAIT_MS = 45_000;
const WORKERS = 4;
const TABS = 3;
const TRIES = 10;

/** A server on that port, or null where it is taken. */
async function take(port) {
  const server = net.createServer();
  server.listen(port, "0.0.0.0");
  try {
    await once(server, "listening");
    return server;
  } catch {
    return null;
  }
}

/** The first of `count` ports in a row that are free, as far as anybody can say. */
async function freePorts(count) {
  for (;;) {
    const taken = [await take(0)];
    const { port } = taken[0].address();
    while (taken.length < count && port + taken.length < 65536 && taken.at(-1)) taken.push(await take(port + taken.length));
    const is_enough = taken.length === count && taken.at(-1) !== null;
    for (const server of taken.filter(Boolean)) {
      server.close();
      await once(server, "close");
    }
    if (is_enough) return port;
  }
}

class Demo {
  constructor(t, first) {
    const args = [program, "--port", String(first), "--worker-ports", `${first + 1}-${first + WORKERS}`];
    this.url = `http://localhost:${first}/`;
    const dies_with_us = ["--pdeathsig", "KILL", process.execPath, ...args];
    this.child = spawn("setpriv", dies_with_us, { stdio: ["ignore", "pipe", "pipe"] });
    this.exit = once(this.child, "close").then(([status]) => status);
    this.out = new Log(this.child.stdout);
    this.err = new Log(this.child.stderr);
    defer(t, () => this.stop(t));
  }

  /** False: a port was taken by somebody else in between. */
  async ready() {
    const says = this.out.wait((line) => line.text.includes("Workers:")).then((line) => line.text, () => "");
    const text = await within(WAIT_MS, "the demo to be ready", says);
    if (!text) {
      assert.ok(this.err.lines.some((line) => /is taken/.test(line.text)), this.all());
      return false;
    }
    this.pids = new Map([...text.matchAll(/(\d+) \(pid (\d+)\)/g)].map(([, port, pid]) => [port, Number(pid)]));
    assert.equal(this.pids.size, WORKERS);
    return true;
  }

  all() {
    return [...this.out.lines, ...this.err.lines].map((line) => line.text).join("\n");
  }

  /** What it told so far of one kind: connect, upgrade, disconnect. */
  told(what) {
    return this.out.lines.filter((line) => new RegExp(`worker \\d+ +${what} `).test(line.text));
  }

  /** Exactly so many of a kind, as soon as they are told. */
  async assertTold(what, count) {
    await within(WAIT_MS, `${count} times ${what}`, this.out.wait(() => this.told(what).length >= count));
    assert.equal(this.told(what).length, count, what);
  }

  async stop(t) {
    const was_running = this.child.exitCode === null;
    this.child.kill("SIGINT");
    const status = await within(WAIT_MS, "the demo to end", this.exit);
    if (!t.passed) console.error(`--- the demo\n${this.all()}\n---`);
    if (was_running) assert.equal(status, 0, "Ctrl-C ends it well");
  }
}

async function demo(t) {
  for (let tries = 0; tries < TRIES; tries++) {
    const started = new Demo(t, await freePorts(WORKERS + 1));
    if (await started.ready()) return started;
  }
  return assert.fail("no ports for the demo");
}

/** Which connections of the browser (by their numbers) carried this tab's requests. */
async function watchConnections(page) {
  const used = new Set();
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  session.on("Network.responseReceived", ({ response }) => used.add(response.connectionId));
  return used;
}

const noteOf = (page, text) => page.locator("#said .note", { hasText: text });

/** A tab that is in the chat: `worker` as the page shows it, `name` of its user. */
async function openTab(context, url, transport) {
  const page = await openPage(context, "about:blank");
  const connections = await watchConnections(page);
  await page.goto(url);
  const where = page.locator("#where", { hasText: `by ${transport}` });
  await where.waitFor();
  const [, name, worker] = /^you are (\w+ \d+), on worker (\d+) by \w+$/.exec(await where.textContent());
  return { page, connections, name, worker };
}

const whereOf = ({ page }) => page.locator("#where").textContent();

/** Each tab says something that all of them see once, as said by its user on its worker. */
async function everybodyHearsEverybody(tabs, round) {
  for (const { page, name } of tabs) {
    await page.fill("#text", `${name} says ${round}`);
    await page.press("#text", "Enter"); /* a click in a tab that is not in front waits for frames that nobody paints */
  }
  for (const { page } of tabs) {
    for (const { name, worker } of tabs) {
      const item = page.locator("#said li", { hasText: `${name} says ${round}` });
      await item.waitFor();
      assert.equal(await item.textContent(), `${name}worker ${worker}${name} says ${round}`);
    }
  }
}

for (const [title, query, transport] of [
  ["polling only", "?transport=polling", "polling"],
  ["with the upgrade", "", "websocket"],
]) {
  test(`the demo chat in three tabs, ${title}: each stays with its worker until that is killed`, async (t) => {
    const chat = await demo(t);
    const context = await browserContext(t);
    const tabs = [];
    for (let n = 0; n < TABS; n++) tabs.push(await openTab(context, chat.url + query, transport));
    assert.equal(new Set(tabs.map(({ worker }) => worker)).size, TABS, "newcomers go where fewest are");

    for (let round = 0; round < 3; round++) await everybodyHearsEverybody(tabs, `round ${round}`);
    for (const tab of tabs) assert.equal(await whereOf(tab), `you are ${tab.name}, on worker ${tab.worker} by ${transport}`);
    await chat.assertTold("connect", TABS);
    await chat.assertTold("upgrade", transport === "websocket" ? TABS : 0);
    if (transport === "polling") {
      const [first, ...others] = tabs.map(({ connections }) => connections);
      assert.ok(others.some((other) => [...other].some((id) => first.has(id))), "tabs share connections");
    }

    const [lost, ...kept] = tabs;
    process.kill(chat.pids.get(lost.worker), "SIGKILL");
    await noteOf(lost.page, `worker ${lost.worker} is gone`).waitFor();
    await lost.page.locator("#where", { hasText: `by ${transport}` }).waitFor();
    lost.worker = /on worker (\d+)/.exec(await whereOf(lost))[1];
    await everybodyHearsEverybody(tabs, "still here");
    for (const { page } of kept) assert.equal(await noteOf(page, "is gone").count(), 0, "the others never reconnected");
    assert.equal(await noteOf(lost.page, "is gone").count(), 1);
    await chat.assertTold("connect", TABS + 1);
    assert.deepEqual(tabs.flatMap(({ page }) => page.faults.filter((text) => !/Failed to load|WebSocket/.test(text))), []);
  });
}
