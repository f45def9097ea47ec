/* unchanged - bytes as they were written, when they were written, and ends as they were made. */
import {
  answerPasses,
  CANARY,
  CHUNKED,
  CHUNKED_OK,
  client,
  client2,
  exchange,
  fields,
  framed,
  get,
  GET,
  HANDSHAKE,
  head,
  INTERIM,
  OK,
  on,
  passes,
  POST,
  response,
  row,
  siolb,
  SWITCH,
  together,
  under,
  up,
  up2,
  UPGRADE,
  worker,
} from "./words.mjs";

const asked = (request) => [client.sends(request), up.gets(request)];
const lines = (...all) => all.join("\r\n");
const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";
const EXPECTS = framed("Content-Length: 4", "Expect: 100-continue");

const bytes = [
  ...under(
    "request-bytes",
    passes(
      "case, order, spacing, duplicates, odd names",
      lines(
        "GET /a%20b;c=d?X=1&&y=%zz&sid= HTTP/1.1",
        "hOsT:   x",
        "X-Order: 1",
        "aCCEPT:\t*/*  ",
        "X-Order:2",
        "Empty:",
        "cookie: a=1",
        "Cookie: b=2",
        "x_under!#$%&'*+-.^`|~: \xff\xfe",
        "Connection: keep-alive , x-order",
        "Keep-Alive: 300",
        "Proxy-Connection: keep-alive",
        "TE: trailers",
        "Range: bytes=0-1",
        "",
        "",
      ),
    ),
    passes("chunk sizes, extensions, trailers", `${framed("transfer-encoding:chunked", "Trailer: X-Sum")}5;name="va;lue";x\r\nhello\r\n000001\r\n!\r\n0A\r\n0123456789\r\n000;last\r\nX-Sum: 1 \r\nx-sum:2\r\n\r\n`),
    passes("a body of any bytes, that looks like requests", framed(`Content-Length: ${CANARY.length * 2 + 4}`) + CANARY + CANARY + "\0\r\n\xff"),
    passes("fields that hop: they are the worker's to judge", fields("Connection: close-not, x", "X: y", "Upgrade-Insecure-Requests: 1", "Via: 1.0 somebody")),
  ),
  ...under(
    "answer-bytes",
    answerPasses(
      "case, order, spacing, duplicates, odd names",
      lines(
        "HTTP/1.1 200 Very  Well, \xfcber",
        "date: never",
        "sErVeR:\tx ",
        "Set-Cookie: a=1; Path=/",
        "Set-Cookie: a=2",
        "X_Odd!: \xff",
        "Empty:",
        "Via: 1.1 me",
        "Connection: Keep-Alive, x",
        "Keep-Alive: max=100, timeout=700",
        "cOnTeNt-LeNgTh:   5",
        "",
        "hello",
      ),
    ),
    answerPasses("chunk sizes, extensions, trailers", `${lines("HTTP/1.1 200 OK", "Transfer-Encoding:  CHUNKED", "Trailer: X-Sum", "", "")}0005;a=b;c\r\nhello\r\n0a\r\nHTTP/1.1 2\r\nA;x\r\n0123456789\r\n00;last\r\nX-Sum: 1\r\nX-Sum:  2\r\n\r\n`),
    answerPasses("an error page", response("oops", { status: "500 Oops" })),
    answerPasses("an answer in a coding of its own", response("\x1f\x8b\0\xff", { fields: ["Content-Encoding: gzip"] })),
  ),
  ...under(
    "nothing-added",
    passes("a request of two lines", "GET /bare HTTP/1.1\r\nHost: x\r\n\r\n", { answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" }),
    passes("forwarded lines of the client's own", fields("X-Forwarded-For: 1.2.3.4", "Forwarded: for=1.2.3.4", "X-Real-IP: 1.2.3.4")),
    passes("a handshake", get(HANDSHAKE, "Accept-Encoding: gzip, br", "Origin: https://app.example")),
  ),
];

const pieces = (of, at, text) => [...text].flatMap((byte) => [of.sends(byte), at.gets(byte)]);
const OPEN = '0{"sid":"passes-by-0123","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}';

const timing = [
  ...under(
    "no-buffering-up",
    row("each byte of a chunked body arrives before the next is sent", [...asked(CHUNKED), ...pieces(client, up, "5;ext\r\nhello\r\n0\r\nA: b\r\n\r\n"), up.sends(OK), client.gets(OK)]),
    row("each byte of a body with a length", [...asked(framed("Content-Length: 10")), ...pieces(client, up, "0123456789"), up.sends(OK), client.gets(OK)]),
  ),
  ...under(
    "no-buffering-down",
    row("each byte of a chunked answer", [...asked(GET), up.sends(CHUNKED_OK), client.gets(CHUNKED_OK), ...pieces(up, client, "5;ext\r\nhello\r\n0\r\nA: b\r\n\r\n")]),
    row("each byte of an answer with a length", [...asked(GET), up.sends("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"), client.gets("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"), ...pieces(up, client, "0123456789")]),
    row("each byte of an answer until the close", [...asked(GET), up.sends("HTTP/1.1 200 OK\r\n\r\n"), client.gets("HTTP/1.1 200 OK\r\n\r\n"), ...pieces(up, client, "until close"), up.ends(), client.sees("fin")]),
    row("answer and request at the same time", [...asked(CHUNKED), up.sends(CHUNKED_OK), client.gets(CHUNKED_OK), ...pieces(client, up, "1\r\na\r\n"), ...pieces(up, client, "1\r\nb\r\n"), client.sends("0\r\n\r\n"), up.gets("0\r\n\r\n"), up.sends("0\r\n\r\n"), client.gets("0\r\n\r\n")]),
  ),
  ...under(
    "no-buffering-poll",
    row("each byte of a poll's answer", [
      ...asked(get(`${HANDSHAKE}&sid=nobody`)),
      up.sends("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"),
      client.gets("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"),
      ...pieces(up, client, "4hello!"),
    ]),
    row("each byte of a handshake, though it is read", [
      ...asked(get(HANDSHAKE)),
      up.sends(`HTTP/1.1 200 OK\r\nContent-Length: ${OPEN.length}\r\n\r\n`),
      client.gets(`HTTP/1.1 200 OK\r\nContent-Length: ${OPEN.length}\r\n\r\n`),
      ...pieces(up, client, OPEN),
    ], { counts: { learned_plain_total: 1 } }),
  ),
  ...under(
    "interim",
    row("100, 102 and 103, one by one", [...asked(GET), ...[CONTINUE, INTERIM, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"].flatMap((one) => [up.sends(one), client.gets(one)]), up.sends(OK), client.gets(OK), ...exchange(GET, OK)]),
    row("a 1xx with a length that means nothing", [...asked(GET), up.sends(`HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n${OK}`), client.gets(`HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n${OK}`), ...exchange(GET, OK)]),
  ),
  ...under(
    "early-answer",
    row("in the middle of the body, which still goes on", [...asked(`${framed("Content-Length: 8")}half`), up.sends(OK), client.gets(OK), client.sends(`rest${GET}`), up.gets("rest"), up2.gets(GET), up2.sends(OK), client.gets(OK), up.sees("an end")]),
    row("413 with Connection: close: the client gets it, and the end", [
      ...asked(`${framed("Content-Length: 10000000")}first part`),
      up.sends(response("too large", { status: "413 Payload Too Large", fields: ["Connection: close"] })),
      up.ends(),
      client.gets(response("too large", { status: "413 Payload Too Large", fields: ["Connection: close"] })),
      client.sees("fin"),
      up.sees("an end"),
    ]),
  ),
  ...under(
    "expect",
    row("the head goes on alone, the 100 comes back, then the body", [...asked(EXPECTS), client.idles(), up.sends(CONTINUE), client.gets(CONTINUE), client.sends("body"), up.gets("body"), up.sends(OK), client.gets(OK), ...exchange(GET, OK)]),
    row("refused: the answer comes at once; the client may still send its body; the connection is not used again", [
      ...asked(EXPECTS),
      up.sends(response("no", { status: "417 Expectation Failed" })),
      client.gets(response("no", { status: "417 Expectation Failed" })),
      client.sends("body"),
      up.gets("body"),
      up.sees("an end"),
    ]),
    row("refused: a canary where the body should be is the body", [
      ...asked(framed(`Content-Length: ${CANARY.length}`, "Expect: 100-continue")),
      up.sends(response("no", { status: "417 Expectation Failed" })),
      client.gets(response("no", { status: "417 Expectation Failed" })),
      client.sends(CANARY),
      up.gets(CANARY),
      up.sees("an end"),
    ]),
    passes("another expectation is the worker's to judge", fields("Expect: a-pony")),
    row("without a body", [...asked(get("/", "Expect: 100-continue")), up.sends(CONTINUE + OK), client.gets(CONTINUE + OK), ...exchange(GET, OK)]),
  ),
  ...under(
    "client-close",
    row("answer, FIN", [...exchange(get("/last", "Connection: close"), OK), client.sees("fin"), up.sees("an end")]),
    row("what comes behind it is not served", [client.sends(get("/last", "Connection: Close") + CANARY), up.gets(get("/last", "Connection: Close")), up.sends(OK), client.gets(OK), client.sees("fin"), up.sees("an end")], { counts: { requests_total: 1 } }),
    row("behind a body, too", [client.sends(POST.replace("Host: x", "Host: x\r\nConnection: x, CLOSE") + CANARY), up.gets(POST.replace("Host: x", "Host: x\r\nConnection: x, CLOSE")), up.sends(OK), client.gets(OK), client.sees("fin"), up.sees("an end")]),
  ),
  ...under(
    "worker-close",
    row("answer, FIN, before the worker has closed", [...exchange(GET, response("bye", { fields: ["Connection: close"] })), client.sees("fin"), up.sees("fin")]),
    row("what the client has sent behind it is not served", [client.sends(GET + CANARY), up.gets(GET), up.sends(response("bye", { fields: ["connection: Close"] })), client.gets(response("bye", { fields: ["connection: Close"] })), client.sees("fin"), up.sees("fin")]),
    row("an answer in HTTP/1.0 says it by itself", [...exchange(GET, OK.replace("1.1", "1.0")), client.sees("fin"), up.sees("fin")]),
  ),
];

const closes = [
  ...under(
    "client-fin",
    row("while the worker thinks", [...asked(GET), client.ends(), up.sees("fin"), up.sends(OK), client.gets(OK), client.sees("fin")]),
    row("in one wake-up with the request", [together(client.sends(GET), client.ends()), up.gets(GET), up.sees("fin"), up.sends(OK), client.gets(OK), client.sees("fin")]),
    row("during the answer", [...asked(GET), up.sends(`${CHUNKED_OK}5\r\nhello\r\n`), client.gets(`${CHUNKED_OK}5\r\nhello\r\n`), client.ends(), up.sees("fin"), up.sends("0\r\n\r\n"), client.gets("0\r\n\r\n"), client.sees("fin")]),
    row("behind two requests: both are answered, it goes on with the second", [client.sends(GET + get("/two")), client.ends(), up.gets(GET), up.sends(OK), up.gets(get("/two")), up.sees("fin"), up.sends(OK), client.gets(OK + OK), client.sees("fin")]),
    row("in the middle of a body", [...asked(`${framed("Content-Length: 100")}half`), client.ends(), up.sees("fin"), up.sends(response("no", { status: "400 Bad Request", fields: ["Connection: close"] })), client.gets(response("no", { status: "400 Bad Request", fields: ["Connection: close"] })), client.sees("fin")]),
    row("in the middle of a chunk, the worker hangs up", [...asked(`${CHUNKED}50\r\nhalf`), client.ends(), up.sees("fin"), up.ends(), client.sees("fin")]),
    row("in the middle of a head: nobody is asked", [client.sends("GET /canary-0000 HTTP/1.1\r\nHost: x\r\n"), client.ends(), client.sees("fin")], { reaches: "nobody" }),
    row("without a byte", [client.ends(), client.sees("fin")], { reaches: "nobody" }),
  ),
  ...under(
    "client-reset",
    row("while the worker thinks", [...asked(GET), client.resets(), up.sees("an end")], { counts: { client_aborts_total: 1 } }),
    row("in the middle of a body", [...asked(`${framed("Content-Length: 100")}half`), client.resets(), up.sees("an end")]),
    row("in the middle of the answer", [...asked(GET), up.sends(`${CHUNKED_OK}5\r\nhello\r\n`), client.gets(`${CHUNKED_OK}5\r\nhello\r\n`), client.resets(), up.sees("an end")]),
    row("behind a request that waits: it is not sent", [...asked(GET), client.sends(CANARY), client.resets(), up.sees("an end")]),
  ),
  ...under(
    "client-write-fails",
    row("the client was gone in the wake-up that brings the answer", [...asked(GET), together(client.resets(), up.sends(`${CHUNKED_OK}5\r\nhello\r\n`)), up.sees("an end")]),
    row("the answer goes on when it is gone", [...asked(GET), up.sends(CHUNKED_OK), client.gets(CHUNKED_OK), together(up.sends("5\r\nhello\r\n"), client.resets(), up.sends("5\r\nhello\r\n")), up.sees("an end")]),
  ),
  ...under(
    "worker-gone",
    row("FIN instead of an answer", [...asked(POST), up.ends(), client.sees("fin")]),
    row("RST instead of an answer", [...asked(POST), up.resets(), client.sees("reset")]),
    row("FIN behind a 1xx", [...asked(POST), up.sends(INTERIM), client.gets(INTERIM), up.ends(), client.sees("fin")]),
    row("RST behind a 1xx", [...asked(POST), up.sends(INTERIM), client.gets(INTERIM), up.resets(), client.sees("an end")]),
    row("FIN in the middle of the request", [...asked(`${framed("Content-Length: 100")}half`), up.ends(), client.sees("fin")]),
    row("a request that waits is not sent", [client.sends(POST + CANARY), up.gets(POST), up.ends(), client.sees("fin")]),
  ),
  ...under("worker-gone-unsent", row("a RST in one wake-up with a 1xx: the 1xx arrives", [...asked(POST), together(up.sends(INTERIM), up.resets()), client.gets(INTERIM), client.sees("an end")])),
  ...under("counted", row("FIN", [...asked(POST), up.ends(), client.sees("fin")], { counts: { closed_without_answer_total: 1 } }), row("RST", [...asked(POST), up.resets(), client.sees("reset")], { counts: { closed_without_answer_total: 1 } })),
  ...under(
    "no-invented-502",
    row("a close without an answer", [...asked(POST), up.ends(), client.sees("fin")], { counts: { bad_responses_total: 0 } }),
    row("an end inside of a head was no HTTP", [...asked(POST), up.sends("HTTP/1.1 200 OK\r\nContent-Le"), up.ends(), client.getsReply(502)], { counts: { bad_responses_total: 1 } }),
    row("an end behind a whole line of a head, too", [...asked(POST), up.sends("HTTP/1.1 200 OK\r\n"), up.ends(), client.getsReply(502)], { counts: { bad_responses_total: 1 } }),
  ),
  ...under(
    "tunnel-fin",
    row("of the client: the worker still speaks", [...asked(UPGRADE), up.sends(SWITCH), client.gets(SWITCH), client.sends("last"), client.ends(), up.gets("last"), up.sees("fin"), up.sends("more"), client.gets("more"), up.ends(), client.sees("fin")]),
    row("of the worker: the client still speaks", [...asked(UPGRADE), up.sends(SWITCH), client.gets(SWITCH), up.sends("last"), up.ends(), client.gets("last"), client.sees("fin"), client.sends("more"), up.gets("more"), client.ends(), up.sees("fin")]),
    row("of the worker in one wake-up with the 101", [...asked(UPGRADE), together(up.sends(`${SWITCH}last`), up.ends()), client.gets(`${SWITCH}last`), client.sees("fin"), client.ends(), up.sees("fin")]),
  ),
  ...under(
    "tunnel-reset",
    row("of the client", [...asked(UPGRADE), up.sends(SWITCH), client.gets(SWITCH), client.resets(), up.sees("reset")]),
    row("of the worker", [...asked(UPGRADE), up.sends(SWITCH), client.gets(SWITCH), up.resets(), client.sees("reset")]),
    row("of the client, behind the worker's FIN", [...asked(UPGRADE), up.sends(SWITCH), client.gets(SWITCH), up.ends(), client.sees("fin"), client.resets(), up.sees("an end")]),
  ),
];

const order = under(
  "in-order",
  row("three requests in one write, answered one at a time", [
    client.sends(get("/1") + POST + get("/3")),
    up.gets(get("/1")),
    up.idles(),
    up.sends(response("1")),
    up.gets(POST),
    up.sends(response("2")),
    up.gets(get("/3")),
    up.sends(response("3")),
    client.gets(response("1") + response("2") + response("3")),
  ]),
  row("a chunked request, its trailers, and the next one", [
    client.sends(`${CHUNKED}5;x=1\r\nGET /\r\n0\r\nTrailer: 1\r\n\r\n${get("/b")}`),
    up.gets(`${CHUNKED}5;x=1\r\nGET /\r\n0\r\nTrailer: 1\r\n\r\n`),
    up.idles(),
    up.sends(response("a")),
    up.gets(get("/b")),
    up.sends(response("b")),
    client.gets(response("a") + response("b")),
  ]),
  row("cut at every byte", [client.sends(...(POST + get("/b"))), up.gets(POST), up.sends(response("a")), up.gets(get("/b")), up.sends(response("b")), client.gets(response("a") + response("b"))]),
  row("a hundred", [
    client.sends(Array.from({ length: 100 }, (_, n) => get(`/${n}`)).join("")),
    ...Array.from({ length: 100 }, (_, n) => [up.gets(get(`/${n}`)), up.sends(response(`${n}`)), client.gets(response(`${n}`))]).flat(),
  ]),
);

/* A worker process that is gone. */
const gone = [worker.refuses(), client.sends(GET)];
const UNKNOWN = { fields: { "Retry-After": "1" } };

const replies = [
  ...under(
    "reply-shape",
    row("400", [client.sends("\n"), client.getsReply(400)]),
    row("503 to HEAD has no body", [worker.refuses(), client.sends(GET.replace("GET", "HEAD")), client.getsReply(503, { stays: true, without_body: true })]),
  ),
  ...under("no-worker", row("503, and when to come again", [...gone, client.getsReply(503, { stays: true, ...UNKNOWN })], { counts: { replies_no_worker_total: 1, closed_without_answer_total: 0 } })),
  ...under(
    "reply-stays",
    row("503, then the worker is back", [...gone, client.getsReply(503, { stays: true }), worker.listens(), ...exchange(GET, OK)]),
    row("503 to what waits behind it, too, in order", [worker.refuses(), client.sends(GET + POST), client.getsReply(503, { stays: true }), client.getsReply(503, { stays: true }), worker.listens(), ...exchange(GET, OK)]),
  ),
  ...under(
    "reply-unread-closes",
    row("503 before the body has come: it is not taken for the next request", [worker.refuses(), client.sends(framed(`Content-Length: ${CANARY.length}`)), client.getsReply(503), client.sends(CANARY)]),
    row("503 before the last chunk", [worker.refuses(), client.sends(`${CHUNKED}5\r\nhello\r\n`), client.getsReply(503), client.sends(`0\r\n\r\n${CANARY}`)]),
  ),
  ...under("reply-502-closes", row("502, then the end, and nothing behind it is served", [client.sends(GET + CANARY), up.gets(GET), up.sends("no HTTP"), client.getsReply(502), up.sees("an end")])),
  ...on("impatient", [
    ...under("silence", row("504", [...asked(GET), client.getsReply(504, { stays: true }), up.sees("an end")], { counts: { replies_response_timeout_total: 1 } })),
    ...under(
      "reply-stays",
      row("504, then the next request on the same connection", [...asked(GET), client.getsReply(504, { stays: true }), up.sees("an end"), ...exchange(POST, OK, { over: up2 })]),
      row("504, and a late answer reaches nobody", [...asked(GET), client.getsReply(504, { stays: true }), up.sends(response("poison")), up.sees("an end"), client2.sends(GET), up2.gets(GET), up2.sends(OK), client2.gets(OK), siolb.shows({ exchanges: 0 })]),
    ),
  ]),
  ...on("loss", [
    ...under(
      "reply-stays",
      row("400 code 1 to a session whose only worker is gone, then a fresh start", [
        worker.refuses(),
        client.sends(get(`${HANDSHAKE}&sid=w-0123456789`)),
        client.getsReply(400, { stays: true, code: 1 }),
        worker.listens(),
        ...exchange(get(HANDSHAKE), OK),
      ], { counts: { replies_session_gone_total: 1 } }),
    ),
  ]),
];

export const rows = [...bytes, ...timing, ...closes, ...order, ...replies];
