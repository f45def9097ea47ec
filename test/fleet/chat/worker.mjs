/*
 * worker - one worker of the demo's chat: a plain Socket.IO server on PORT, with nothing in it that knows of siolb.
 *
 * Tells demo.mjs what happens ({ listening }, { taken }, { line }, { members }), and is told { fleet } for the page.
 */
import { createAdapter } from "@socket.io/cluster-adapter";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { Server } from "socket.io";

const NAME_MAX = 24;
const TEXT_MAX = 500;
const port = Number(process.env.PORT);
const page = readFileSync(new URL("page.html", import.meta.url));

const http = createServer((request, response) => {
  const isPage = /^\/(\?|$)/.test(request.url) && request.method === "GET";
  response.writeHead(isPage ? 200 : 404, { "Content-Type": isPage ? "text/html; charset=utf-8" : "text/plain" });
  response.end(isPage ? page : "not found\n");
});
const io = new Server(http, { adapter: createAdapter() });
let fleet = [];

const tell = (message) => process.send(message, () => {});
const textOf = (value, max) => (typeof value === "string" ? value.trim().slice(0, max) : "");

io.on("connection", (socket) => {
  const { transport } = socket.conn;
  const name = textOf(socket.handshake.auth.name, NAME_MAX) || "somebody";
  tell({ line: `connect     ${name} by ${transport.name}`, members: io.sockets.sockets.size });
  socket.emit("welcome", { port, pid: process.pid, fleet });
  socket.conn.on("upgrade", ({ name: to }) => tell({ line: `upgrade     ${name} to ${to}` }));
  socket.on("say", (text) => {
    const said = textOf(text, TEXT_MAX);
    if (said) io.emit("said", { name, port, text: said });
  });
  socket.on("disconnect", (why) => tell({ line: `disconnect  ${name} (${why})`, members: io.sockets.sockets.size }));
});

process.on("message", (message) => {
  if (!message.fleet) return;
  ({ fleet } = message);
  io.local.emit("fleet", fleet);
});
/* Ctrl-C reaches every process of the terminal; it is demo.mjs that ends its workers. */
for (const signal of ["SIGINT", "SIGHUP"]) process.on(signal, () => {});

http.on("error", (error) => {
  if (error.code !== "EADDRINUSE") throw error;
  process.send({ taken: true }, () => process.exit(1));
});
http.listen({ port, host: "127.0.0.1", exclusive: true }, () => tell({ listening: true }));
