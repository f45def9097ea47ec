/*
 * browser - headless Chromium and pages of other origins; one browser process for a test file.
 *
 *   const tabs = await browserContext(t);             cookies and connections of its own
 *   const origin = await pageServer(t);               http://127.0.0.1:PORT, another one each time; has socket.io.js
 *   const page = await openPage(tabs, origin);        page.faults: what Chromium put on its console as errors
 *
 * There is no test without a browser: scripts/setup installs Debian's. Environment: CHROMIUM names another binary.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import { after } from "node:test";

import { chromium } from "playwright-core";

import { defer } from "./defer.mjs";

const BINARY = process.env.CHROMIUM || "/usr/bin/chromium";
const START_MS = 60_000; /* safety nets for a busy machine */
const WAIT_MS = 45_000;
const FLAGS = ["--disable-gpu", "--disable-quic", "--disable-sync"]; /* beside those of playwright-core */

const client_script = readFileSync(createRequire(import.meta.url).resolve("socket.io-client/dist/socket.io.js"));

let launched; /* the promise of the browser */

/* Its profile is a new directory, which goes with it. */
function browser() {
  launched ??= chromium.launch({ executablePath: BINARY, args: FLAGS, chromiumSandbox: false, timeout: START_MS });
  return launched;
}

after(async () => {
  const started = await launched?.catch(() => null); /* the test that needed it has told why there is none */
  await started?.close();
});

/** Pages of one context are tabs of one window: they share cookies and connections. */
export async function browserContext(t) {
  const context = await (await browser()).newContext();
  context.setDefaultTimeout(WAIT_MS);
  defer(t, () => context.close());
  return context;
}

/** A server of empty pages and of the Socket.IO client's script: its origin. */
export async function pageServer(t) {
  const server = http.createServer((req, res) => {
    const is_script = req.url === "/socket.io.js";
    res.writeHead(200, { "Content-Type": is_script ? "text/javascript" : "text/html" });
    res.end(is_script ? client_script : "<!doctype html><title>page</title><script src=/socket.io.js></script>");
  });
  defer(t, async () => {
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${server.address().port}`;
}

export async function openPage(context, url) {
  const page = await context.newPage();
  page.faults = [];
  page.on("console", (message) => message.type() === "error" && page.faults.push(message.text()));
  page.on("pageerror", (error) => page.faults.push(String(error)));
  await page.goto(url);
  return page;
}
