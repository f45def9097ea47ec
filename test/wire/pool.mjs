/* pool - which worker connections are used again, and which requests are sent a second time. */
import {
  CHUNKED,
  CHUNKED_OK,
  client,
  client2,
  exchange,
  framed,
  get,
  GET,
  HANDSHAKE,
  NO,
  OK,
  on,
  POST,
  post,
  response,
  row,
  siolb,
  together,
  under,
  up,
  up2,
  up3,
  worker,
} from "./words.mjs";
import { SIDS } from "./sids.mjs";

const CLOSE = response("bye", { fields: ["Connection: close"] });
const next = get("/next");
const usesAgain = exchange(next, response("next"), { by: client2 });
const usesAnother = [up.sees("an end"), ...exchange(next, response("next"), { by: client2, over: up2 })];
const asked = (request) => [client.sends(request), up.gets(request)];

const pooled = (name, request, answer) => row(`${name}: used again`, [...exchange(request, answer), ...usesAgain]);

const pool = [
  ...under(
    "pool-sent",
    pooled("a request with its body", POST, OK),
    row("an answer before the request was whole, the client gone: not used again", [
      ...asked(framed("Content-Length: 100") + "half"),
      up.sends(OK),
      client.gets(OK),
      client.resets(),
      ...usesAnother,
    ]),
  ),
  ...under(
    "pool-length",
    pooled("a length", GET, OK),
    pooled("the length 0", GET, response("")),
    pooled("a length, behind a 1xx", GET, `HTTP/1.1 103 Early Hints\r\n\r\n${OK}`),
  ),
  ...under(
    "pool-chunks",
    pooled("chunks", GET, `${CHUNKED_OK}5\r\nhello\r\n0\r\n\r\n`),
    pooled("chunks and trailers", GET, `${CHUNKED_OK}5\r\nhello\r\n0\r\nA: b\r\n\r\n`),
    row("chunks without the very last byte: not yet", [
      ...asked(GET),
      up.sends(`${CHUNKED_OK}0\r\n\r`),
      client.gets(`${CHUNKED_OK}0\r\n\r`),
      ...exchange(next, response("next"), { by: client2, over: up2 }),
      up.sends("\n"),
      client.gets("\n"),
    ]),
  ),
  ...under(
    "pool-no-body",
    pooled("HEAD", GET.replace("GET", "HEAD"), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
    pooled("204", GET, "HTTP/1.1 204 No\r\n\r\n"),
    pooled("304", GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"),
  ),
  ...under(
    "pool-until-close",
    row("an answer until the close: it ends with it, and so does the client's connection", [
      ...asked(GET),
      up.sends("HTTP/1.1 200 OK\r\n\r\nuntil"),
      client.gets("HTTP/1.1 200 OK\r\n\r\nuntil"),
      up.sends(OK),
      client.gets(OK),
      up.ends(),
      client.sees("fin"),
      ...exchange(next, response("next"), { by: client2, over: up2 }),
    ]),
  ),
  ...under(
    "pool-surplus",
    row("a byte behind the answer", [...asked(GET), up.sends(`${OK}x`), client.gets(OK), ...usesAnother]),
    row("a whole answer behind the answer", [...asked(GET), up.sends(OK + response("poison")), client.gets(OK), ...usesAnother]),
    row("a CRLF behind the answer", [...asked(GET), up.sends(`${OK}\r\n`), client.gets(OK), ...usesAnother]),
    row("an answer behind the last chunk", [
      ...asked(GET),
      up.sends(`${CHUNKED_OK}0\r\n\r\n${response("poison")}`),
      client.gets(`${CHUNKED_OK}0\r\n\r\n`),
      ...usesAnother,
    ]),
    row("an answer behind one, for a client that has pipelined: it gets its own", [
      client.sends(GET + next),
      up.gets(GET),
      up.sends(OK + response("poison")),
      client.gets(OK),
      up.sees("an end"),
      up2.gets(next),
      up2.sends(response("next")),
      client.gets(response("next")),
    ]),
  ),
  ...under(
    "pool-1.1",
    row("a request in HTTP/1.0 with keep-alive", [
      ...exchange("GET /1.0 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", response("ok", { fields: ["Connection: keep-alive"] })),
      ...usesAnother,
    ]),
    row("an answer in HTTP/1.0", [...exchange(GET, OK.replace("HTTP/1.1", "HTTP/1.0")), client.sees("fin"), ...usesAnother]),
    row("an answer in HTTP/1.0 with keep-alive", [
      ...exchange(GET, response("ok", { fields: ["Connection: keep-alive"] }).replace("HTTP/1.1", "HTTP/1.0")),
      ...usesAnother,
    ]),
  ),
  ...under(
    "pool-close",
    row("the worker's close", [...exchange(GET, CLOSE), client.sees("fin"), ...usesAnother]),
    row("the worker's close in a list, in capitals", [
      ...exchange(GET, response("bye", { fields: ["Connection: a, CLOSE"] })),
      client.sees("fin"),
      ...usesAnother,
    ]),
    row("the worker's close beside keep-alive", [
      ...exchange(GET, response("bye", { fields: ["Connection: keep-alive", "Connection: close"] })),
      client.sees("fin"),
      ...usesAnother,
    ]),
    row("the client's close", [...exchange(get("/", "Connection: close"), OK), client.sees("fin"), ...usesAnother]),
    pooled("a word with close in it", GET, response("ok", { fields: ["Connection: closed, not-close"] })),
  ),
  ...under(
    "pool-early-answer",
    row("an answer in the middle of the request, whose rest still goes on", [
      ...asked(framed("Content-Length: 8") + "half"),
      up.sends(OK),
      client.gets(OK),
      client.sends("rest"),
      up.gets("rest"),
      ...usesAnother,
    ]),
    row("an answer before the last chunk", [
      ...asked(`${CHUNKED}5\r\nhello\r\n`),
      up.sends(OK),
      client.gets(OK),
      client.sends("0\r\n\r\n"),
      up.gets("0\r\n\r\n"),
      ...usesAnother,
    ]),
  ),
  ...under(
    "pool-client-gone",
    row("a FIN of the client during the request", [
      ...asked(GET),
      client.ends(),
      up.sees("fin"),
      up.sends(OK),
      client.gets(OK),
      client.sees("fin"),
      ...exchange(next, response("next"), { by: client2, over: up2 }),
    ], { counts: { retries_total: 0 } }),
    row("a RST of the client during the request", [...asked(GET), client.resets(), ...usesAnother]),
    row("a RST of the client during the answer", [
      ...asked(GET),
      up.sends(`${CHUNKED_OK}5\r\nhello\r\n`),
      client.gets(`${CHUNKED_OK}5\r\nhello\r\n`),
      client.resets(),
      ...usesAnother,
    ]),
    row("a client that leaves behind its answer costs nothing", [...exchange(GET, OK), client.ends(), client.sees("fin"), ...usesAgain]),
  ),
  ...under(
    "pool-one-request",
    row("a second client does not share a connection that is busy", [
      ...asked(GET),
      ...exchange(next, response("next"), { by: client2, over: up2 }),
      up.sends(OK),
      client.gets(OK),
    ]),
    row("a pipelining client's second request waits for the answer to its first", [
      client.sends(GET + next),
      up.gets(GET),
      up.idles(),
      up.sends(OK),
      up.gets(next),
      up.sends(response("next")),
      client.gets(OK + response("next")),
    ]),
  ),
  ...under(
    "pool-idle-byte",
    row("a byte", [...exchange(GET, OK), up.sends("x"), ...usesAnother]),
    row("an answer that nobody asked for", [...exchange(GET, OK), up.sends(response("poison")), ...usesAnother]),
    row("a 408, as some servers say good-bye", [
      ...exchange(GET, OK),
      up.sends(response("", { status: "408 Request Timeout", fields: ["Connection: close"] })),
      ...usesAnother,
    ]),
  ),
  ...under(
    "pool-idle-fin",
    row("a FIN", [...exchange(GET, OK), up.ends(), ...usesAnother]),
    row("a RST", [...exchange(GET, OK), up.resets(), ...exchange(next, response("next"), { by: client2, over: up2 })]),
  ),
  ...under(
    "pool-look-first",
    row("an answer nobody asked for in one wake-up with the next request", [
      ...exchange(GET, OK),
      together(client.sends(POST), up.sends(response("poison"))),
      up.sees("an end"),
      up2.gets(POST),
      up2.sends(response("own")),
      client.gets(response("own")),
    ]),
    row("a FIN in one wake-up with the next request, a POST", [
      ...exchange(GET, OK),
      together(client.sends(POST), up.ends()),
      up.sees("an end"),
      up2.gets(POST),
      up2.sends(OK),
      client.gets(OK),
    ], { counts: { retries_total: 0 } }),
    row("a RST in one wake-up with the next request, a POST", [
      ...exchange(GET, OK),
      together(client.sends(POST), up.resets()),
      up2.gets(POST),
      up2.sends(OK),
      client.gets(OK),
    ], { counts: { retries_total: 0 } }),
  ),
  ...under(
    "pool-most-recent",
    row("the one that was given back last serves the next", [
      ...asked(GET),
      client2.sends(next),
      up2.gets(next),
      up.sends(OK),
      client.gets(OK),
      up2.sends(OK),
      client2.gets(OK),
      ...exchange(get("/third"), response("third"), { over: up2 }),
      ...exchange(get("/fourth"), response("fourth"), { over: up2 }),
    ]),
  ),
];

/* A connection that has served before, and a request on it. */
const reused = (request) => [...exchange(GET, OK), ...asked(request)];
const ENDS = [
  ["FIN", "fin", up.ends()],
  ["RST", "reset", up.resets()],
];
const twice = (request, dies, answer = OK) => [
  ...reused(request),
  dies,
  up2.gets(request, { fresh: true }),
  up2.sends(answer),
  client.gets(answer),
];
const isSentAgain = (name, request, dies, answer) =>
  row(`${name}: sent again`, twice(request, dies, answer), { counts: { retries_total: 1, closed_without_answer_total: 0 } });
const isNotSentAgain = (name, request, dies, seen) =>
  row(`${name}: not sent again`, [...reused(request), dies, client.sees(seen)], {
    counts: { retries_total: 0, closed_without_answer_total: 1 },
  });

/* The worker's kernel has no room for the next request: the body of the first, which nobody reads, has filled it. */
const FILLS = post("/fills", "x".repeat(400_000));
const deaf = [
  worker.isDeaf(),
  client.sends(FILLS),
  up.connects(),
  siolb.shows({ buffered_bytes: 0, requests_total: 1 }),
  client.idles(),
  up.sends(OK),
  client.gets(OK),
  siolb.shows({ exchanges: 0 }),
  worker.hears(),
  client.sends(POST),
  siolb.shows({ upstream_reused_total: 1 }),
];

const retries = [
  ...under(
    "retry-safe",
    ...ENDS.flatMap(([end, , dies]) => [
      ...["GET", "HEAD", "OPTIONS"].map((method) => isSentAgain(`${method}, ${end}`, GET.replace("GET", method), dies, response(""))),
      isSentAgain(`GET with the length 0, ${end}`, get("/", "Content-Length: 0"), dies),
    ]),
    ...ENDS.map(([end, seen, dies]) =>
      row(`GET on a fresh connection that died by ${end}: not sent again`, [
        ...asked(GET),
        ...exchange(next, response("next"), { by: client2, over: up2 }),
        client2.sends(next),
        up2.gets(next),
        up.sends(OK),
        client.gets(OK),
        client.sends(GET),
        up.gets(GET),
        dies,
        up3.gets(GET, { fresh: true }),
        up3[seen === "fin" ? "ends" : "resets"](),
        client.sees(seen),
        up2.sends(OK),
        client2.gets(OK),
      ], {
        counts: { retries_total: 1 },
      }),
    ),
    ...ENDS.map(([end, seen, dies]) => isNotSentAgain(`GET with a body, ${end}`, POST.replace("POST", "GET"), dies, seen)),
    ...ENDS.map(([end, seen, dies]) =>
      row(`a byte of an answer, then ${end}: not sent again`, [
        ...reused(GET),
        up.sends("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"),
        client.gets("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"),
        dies,
        client.sees(seen),
      ], { counts: { retries_total: 0 } }),
    ),
    ...ENDS.map(([end, , dies]) => row(`a 1xx, then ${end}: not sent again`, [
      ...reused(GET),
      up.sends("HTTP/1.1 103 Early Hints\r\n\r\n"),
      client.gets("HTTP/1.1 103 Early Hints\r\n\r\n"),
      dies,
      client.sees("an end"),
    ], { counts: { retries_total: 0 } })),
    row("GET of a client that has ended: nobody waits for it", [
      ...exchange(GET, OK),
      client.sends(GET),
      client.ends(),
      up.gets(GET),
      up.sees("fin"),
      up.ends(),
      client.sees("fin"),
    ], { counts: { retries_total: 0 } }),
  ),
  ...under(
    "retry-never-post",
    ...ENDS.flatMap(([end, seen, dies]) => [
      isNotSentAgain(`POST, ${end}`, POST, dies, seen),
      isNotSentAgain(`an empty POST, ${end}`, post("/", ""), dies, seen),
      isNotSentAgain(`a chunked POST, ${end}`, `${CHUNKED}3\r\nabc\r\n0\r\n\r\n`, dies, seen),
      isNotSentAgain(`DELETE, ${end}`, GET.replace("GET", "DELETE"), dies, seen),
      isNotSentAgain(`get in lower case, ${end}`, GET.replace("GET", "get"), dies, seen),
    ]),
    row("a POST of which a half has arrived", [
      ...exchange(GET, OK),
      ...asked(framed("Content-Length: 8") + "half"),
      up.ends(),
      client.sees("fin"),
    ], { counts: { retries_total: 0 } }),
  ),
  ...under(
    "retry-once",
    ...ENDS.map(([end, seen, dies]) => row(`a second ${end} is final`, [
      ...reused(GET),
      dies,
      up2.gets(GET, { fresh: true }),
      up2[seen === "fin" ? "ends" : "resets"](),
      client.sees(seen),
    ], { counts: { retries_total: 1, closed_without_answer_total: 1 } })),
  ),
  ...under(
    "retry-fresh",
    row("though another one is in the pool", [
      ...asked(GET),
      client2.sends(next),
      up2.gets(next),
      up2.sends(OK),
      client2.gets(OK),
      up.sends(OK),
      client.gets(OK),
      ...asked(GET),
      up.ends(),
      up3.gets(GET, { fresh: true }),
      up3.sends(OK),
      client.gets(OK),
    ]),
  ),
  ...under(
    "retry-unseen",
    row("a POST of which nothing was acknowledged when the FIN came", [
      ...deaf,
      up.ends(),
      up2.gets(POST, { fresh: true }),
      up2.sends(OK),
      client.gets(OK),
    ], { counts: { retries_total: 1 } }),
  ),
  ...under(
    "retry-reset-proves-nothing",
    row("a POST of which nothing was acknowledged when the RST came", [...deaf, up.resets(), client.sees("reset")], {
      counts: { retries_total: 0, closed_without_answer_total: 1 },
    }),
  ),
  ...under(
    "retry-never-malformed",
    row("GET, garbage", [
      ...reused(GET),
      up.sends("SSH-2.0-OpenSSH\r\n"),
      client.getsReply(502),
      up.sees("an end"),
    ], { counts: { retries_total: 0 } }),
    row("GET, half a head, FIN", [
      ...reused(GET),
      up.sends("HTTP/1.1 200 OK\r\nContent-Le"),
      up.ends(),
      client.getsReply(502),
    ], { counts: { retries_total: 0 } }),
    row("GET, half a head, RST", [
      ...reused(GET),
      up.sends("HTTP/1.1 200 OK\r\nContent-Le"),
      siolb.shows({ buffered_bytes: "HTTP/1.1 200 OK\r\nContent-Le".length }),
      up.resets(),
      client.getsReply(502),
    ], { counts: { retries_total: 0 } }),
  ),
  ...on("pair", [
    ...under(
      "retry-connect",
      ...[
        ["GET", GET],
        ["POST", POST],
        ["DELETE", GET.replace("GET", "DELETE")],
      ].map(([method, request]) =>
        row(`${method} goes to a worker that listens`, [
          worker.refuses("a"),
          ...exchange(request, OK),
          ...exchange(request, OK),
        ], { counts: { upstream_refused_total: 1 } }),
      ),
    ),
    ...under(
      "retry-other-worker",
      row("GET, sent to one, is sent again to the other", [
        ...exchange(GET, OK),
        ...exchange(GET, OK, { over: up2 }),
        ...asked(GET),
        up.ends(),
        up3.gets(GET, { fresh: true, beside: "up2" }),
        up3.sends(OK),
        client.gets(OK),
      ]),
    ),
  ]),
  ...on("fleet", [
    ...under(
      "retry-same-worker",
      row("a POST with a sid of which nothing was acknowledged goes to its own worker", [
        worker.isDeaf("b"),
        client.sends(post(`${HANDSHAKE}&sid=${SIDS.b[0]}`, "x".repeat(400_000))),
        up.connects({ at: "b" }),
        siolb.shows({ buffered_bytes: 0, requests_total: 1 }),
        client.idles(),
        up.sends(OK),
        client.gets(OK),
        worker.hears("b"),
        client.sends(post(`${HANDSHAKE}&sid=${SIDS.b[0]}`, "4again")),
        siolb.shows({ upstream_reused_total: 1 }),
        up.ends(),
        up2.gets(post(`${HANDSHAKE}&sid=${SIDS.b[0]}`, "4again"), { fresh: true, at: "b" }),
        up2.sends(OK),
        client.gets(OK),
      ], { counts: { retries_total: 1 } }),
    ),
    ...under(
      "retry-never-poll",
      ...ENDS.map(([end, seen, dies]) =>
        row(`a poll on a reused connection, ${end}`, [
          ...exchange(get(`${HANDSHAKE}&sid=${SIDS.c[0]}`), OK),
          ...asked(get(`${HANDSHAKE}&sid=${SIDS.c[0]}`)),
          dies,
          client.sees(seen),
        ], { counts: { retries_total: 0, closed_without_answer_total: 1, route_known_total: 2 } }),
      ),
      row("a poll with a sid that nobody knows", [
        ...exchange(get(`${HANDSHAKE}&sid=nobody`), NO),
        ...asked(get(`${HANDSHAKE}&sid=nobody`)),
        up.ends(),
        client.sees("fin"),
      ], { counts: { retries_total: 0, route_unknown_total: 2 } }),
    ),
  ]),
];

export const rows = [...pool, ...retries];
