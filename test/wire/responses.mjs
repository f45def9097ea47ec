/* responses - what is no answer, what is a part of one, and where an answer without a body ends. */
import {
  answerPasses,
  badAnswer,
  CHUNKED_OK,
  client,
  client2,
  exchange,
  get,
  GET,
  INTERIM,
  OK,
  POST,
  response,
  row,
  SWITCH,
  together,
  under,
  up,
  up2,
  UPGRADE,
} from "./words.mjs";

const status = (line, ...fields) => [`${line}`, ...fields, "Content-Length: 0", "", ""].join("\r\n");
const answer = (...fields) => ["HTTP/1.1 200 OK", ...fields, "", ""].join("\r\n");
const BEGUN = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun";
const HEAD = GET.replace("GET", "HEAD");

const heads = [
  ...under(
    "status-line",
    badAnswer("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n"),
    badAnswer("HTTP/0.9", "<html>hello</html>"),
    badAnswer("HTTP/2.0", status("HTTP/2.0 200 OK")),
    badAnswer("HTTP/1.2", status("HTTP/1.2 200 OK")),
    badAnswer("lower case http", status("http/1.1 200 OK")),
    badAnswer("ICY", status("ICY 200 OK")),
    badAnswer("bytes of TLS", "\x15\x03\x01\0\x02\x02\x46"),
    badAnswer("two spaces before the status", status("HTTP/1.1  200 OK")),
    badAnswer("a tab before the status", status("HTTP/1.1\t200 OK")),
    badAnswer("a tab behind the status", status("HTTP/1.1 200\tOK")),
    badAnswer("no status", status("HTTP/1.1 OK")),
    badAnswer("a status that is no number", status("HTTP/1.1 abc X")),
    badAnswer("a status with a sign", status("HTTP/1.1 +20 X")),
    badAnswer("a status of two digits", status("HTTP/1.1 20 X")),
    badAnswer("an empty line first", `\r\n${OK}`),
    badAnswer("a request", GET),
    answerPasses("no reason", status("HTTP/1.1 200")),
    answerPasses("an empty reason", status("HTTP/1.1 200 ")),
    answerPasses("any reason", status("HTTP/1.1 200 Very  Well, \xfcber\t")),
  ),
  ...under(
    "status-range",
    badAnswer("000", status("HTTP/1.1 000 X")),
    badAnswer("099", status("HTTP/1.1 099 X")),
    badAnswer("1000", status("HTTP/1.1 1000 X")),
    badAnswer("2000", status("HTTP/1.1 2000 X")),
    answerPasses("999", response("odd", { status: "999 What" })),
    answerPasses("600", response("odd", { status: "600 What" })),
  ),
  ...under(
    "answer-syntax",
    badAnswer("bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    badAnswer("bare LF behind a field", "HTTP/1.1 200 OK\r\nA: b\nContent-Length: 0\r\n\r\n"),
    badAnswer("bare CR in a value", answer("A: b\rContent-Length: 0", "Content-Length: 3")),
    badAnswer("NUL in a value", answer("A: \0", "Content-Length: 0")),
    badAnswer("a control in the reason", status("HTTP/1.1 200 O\x01K")),
    badAnswer("a folded line", answer("A: b", " c", "Content-Length: 0")),
    badAnswer("a folded length", answer("A: b", " Content-Length: 3", "Content-Length: 0")),
    badAnswer("white space before the first field", answer(" A: b", "Content-Length: 0")),
    badAnswer("a blank before a colon", `${answer("Content-Length : 3")}abc`),
    badAnswer("an empty name", answer(": b", "Content-Length: 0")),
    badAnswer("a name that is no token", answer("A b: c", "Content-Length: 0")),
    badAnswer("a field without a colon", answer("just text", "Content-Length: 0")),
    answerPasses("high bytes and tabs in values", answer("A:\t\xff\tb", "x_y: z", "Content-Length: 0")),
  ),
  ...under(
    "answer-two-framings",
    badAnswer("a length, then a coding", `${answer("Content-Length: 3", "Transfer-Encoding: chunked")}3\r\nabc\r\n0\r\n\r\n`),
    badAnswer("a coding, then a length", `${answer("Transfer-Encoding: chunked", "Content-Length: 3")}3\r\nabc\r\n0\r\n\r\n`),
    badAnswer("a coding beside the length 0", `${answer("Content-Length: 0", "Transfer-Encoding: chunked")}0\r\n\r\n`),
    badAnswer("both in an answer to HEAD", answer("Content-Length: 3", "Transfer-Encoding: chunked"), { to: HEAD, without_body: true }),
    badAnswer("both in a 304", ["HTTP/1.1 304 Not Modified", "Content-Length: 3", "Transfer-Encoding: chunked", "", ""].join("\r\n")),
  ),
  ...under(
    "answer-length",
    ...["3x", "+3", "-3", "0x3", "3 3", "3, 3", "3,4", "", "3.0", `${2n ** 63n}`, `${2n ** 64n + 3n}`].map((value) =>
      badAnswer(`Content-Length: ${JSON.stringify(value)}`, `${answer(`Content-Length: ${value}`)}abc`),
    ),
    answerPasses("leading zeros and blanks", `${answer("content-LENGTH: \t 003 ")}abc`),
  ),
  ...under(
    "answer-length-repeated",
    badAnswer("the same", `${answer("Content-Length: 3", "Content-Length: 3")}abc`),
    badAnswer("another", `${answer("Content-Length: 3", "content-length: 0")}abc`),
  ),
  ...under(
    "answer-coding",
    ...["gzip", "identity", "gzip, chunked", "chunked, gzip", "chunked, chunked", "chunked,", "", "chunked;q=1", "xchunked", "\x0bchunked"].map((value) =>
      badAnswer(`Transfer-Encoding: ${JSON.stringify(value)}`, `${answer(`Transfer-Encoding: ${value}`)}0\r\n\r\n`),
    ),
    badAnswer("twice", `${answer("Transfer-Encoding: chunked", "Transfer-Encoding: chunked")}0\r\n\r\n`),
    badAnswer("identity beside a length", `${answer("Transfer-Encoding: identity", "Content-Length: 3")}abc`),
    badAnswer("chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    answerPasses("CHUNKED in capitals", `${answer("transfer-encoding: \tCHUNKED ")}3\r\nabc\r\n0\r\n\r\n`),
  ),
  ...under(
    "answer-head-too-large",
    badAnswer("a field without end", `HTTP/1.1 200 OK\r\nA: ${"b".repeat(20_000)}`),
    badAnswer("a reason without end", `HTTP/1.1 200 ${"b".repeat(20_000)}`),
    badAnswer("300 fields", answer(...Array.from({ length: 300 }, (_, n) => `F${n}: x`), "Content-Length: 0")),
  ),
  ...under(
    "interim-flood",
    badAnswer("a 17th", INTERIM.repeat(17) + OK, { passed: INTERIM.repeat(16) }),
    badAnswer("a flood without end", INTERIM.repeat(2_000), { passed: INTERIM.repeat(16) }),
    answerPasses("16", INTERIM.repeat(16) + OK),
  ),
  ...under(
    "uninvited-101",
    badAnswer("to a GET", SWITCH),
    badAnswer("to a GET, a frame behind it", `${SWITCH}\x81\x05hello`),
    badAnswer("to a POST", SWITCH, { to: POST }),
    badAnswer("that names nothing, to a GET", "HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    badAnswer("behind a 1xx", INTERIM + SWITCH, { passed: INTERIM }),
    badAnswer("to Connection: Upgrade without Upgrade", SWITCH, { to: get("/", "Connection: Upgrade") }),
    row("what the client has sent meanwhile reaches nobody", [
      client.sends(GET),
      up.gets(GET),
      client.sends(get("/canary-0000")),
      up.sends(`${SWITCH}frame`),
      client.getsReply(502),
      up.sees("an end"),
    ]),
  ),
];

const spoiled = [
  ...under(
    "bad-answer-thrown-away",
    row("the next client gets another connection, whatever still comes on the old one", [
      client.sends(GET),
      up.gets(GET),
      up.sends(`HTTP/1.1 200 OK\nbad\n\n${response("poison")}`),
      client.getsReply(502),
      up.sees("an end"),
      ...exchange(get("/next"), response("clean"), { by: client2, over: up2 }),
    ]),
    row("behind a good one: the good one is delivered, the connection goes", [
      client.sends(GET),
      up.gets(GET),
      up.sends(`${OK}garbage`),
      client.gets(OK),
      up.sees("an end"),
      ...exchange(get("/next"), response("clean"), { over: up2 }),
    ]),
  ),
  ...under(
    "bad-answer-begun",
    ...[
      /* what is good, and the first bad byte with more behind it */
      ["no size", "", "zzz\r\n"],
      ["a bare LF behind a size", "5", "\nhello\r\n"],
      ["a size that overflows", "f00000000000000", "05\r\n"],
      ["too much data", "5\r\nhello", "!\r\n"],
      ["a trailer without a colon", "0\r\ntrailer", "\r\n\r\n"],
      ["a bare LF at the end", "0\r\n", "\n"],
      ["an answer instead of a chunk", "", OK],
    ].map(([what, good, bad]) =>
      row(what, [
        client.sends(GET),
        up.gets(GET),
        up.sends(`${CHUNKED_OK}5\r\nhello\r\n${good}`),
        client.gets(`${CHUNKED_OK}5\r\nhello\r\n${good}`),
        up.sends(bad),
        client.sees("reset"),
        up.sees("an end"),
      ]),
    ),
    row("the head and a bad chunk at once", [client.sends(GET), up.gets(GET), up.sends(`${CHUNKED_OK}zzz\r\n`), client.gets(CHUNKED_OK), client.sees("an end"), up.sees("an end")]),
  ),
  ...under(
    "truncated",
    ...[
      ["a length", BEGUN],
      ["the chunks", `${CHUNKED_OK}5\r\nhello\r\n`],
      ["a chunk", `${CHUNKED_OK}500\r\nhello`],
      ["a chunk size", `${CHUNKED_OK}50`],
      ["the last chunk", `${CHUNKED_OK}5\r\nhello\r\n0\r\n`],
      ["the trailers", `${CHUNKED_OK}5\r\nhello\r\n0\r\nA: b\r\n`],
    ].flatMap(([where, begun]) => [
      row(`FIN inside of ${where}: what came, then FIN`, [client.sends(GET), up.gets(GET), up.sends(begun), client.gets(begun), up.ends(), client.sees("fin")], { counts: { truncated_total: 1, retries_total: 0 } }),
      row(`RST inside of ${where}: what came, then RST`, [client.sends(GET), up.gets(GET), up.sends(begun), client.gets(begun), up.resets(), client.sees("reset")], { counts: { truncated_total: 1, retries_total: 0 } }),
      row(`FIN right behind a part of ${where}`, [client.sends(GET), up.gets(GET), together(up.sends(begun), up.ends()), client.gets(begun), client.sees("fin")], { counts: { truncated_total: 1 } }),
    ]),
    row("a body until the close that a RST cuts is not made whole by a FIN", [client.sends(GET), up.gets(GET), up.sends("HTTP/1.1 200 OK\r\n\r\nsome"), client.gets("HTTP/1.1 200 OK\r\n\r\nsome"), up.resets(), client.sees("reset")]),
  ),
  ...under(
    "truncated-is-last",
    row("a request that waits behind it is not sent", [client.sends(GET), up.gets(GET), client.sends(get("/canary-0000")), up.sends(BEGUN), client.gets(BEGUN), up.ends(), client.sees("fin")]),
  ),
];

const NO_BODY = [
  ["a length", "Content-Length: 1000"],
  ["chunked", "Transfer-Encoding: chunked"],
  ["the length 0", "Content-Length: 0"],
  ["no framing", "A: b"],
];

const bodiless = under(
  "no-body-answers",
  ...NO_BODY.flatMap(([what, field]) => [
    answerPasses(`HEAD with ${what}`, answer(field), { to: HEAD }),
    answerPasses(`304 with ${what}`, `HTTP/1.1 304 Not Modified\r\n${field}\r\n\r\n`),
    answerPasses(`204 with ${what}`, `HTTP/1.1 204 No Content\r\n${field}\r\n\r\n`),
  ]),
  answerPasses("HEAD and an error", "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n", { to: HEAD }),
  row("a body behind a 204 is not part of it, and its connection is not used again", [
    client.sends(GET),
    up.gets(GET),
    up.sends("HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\npoison"),
    client.gets("HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\n"),
    up.sees("an end"),
    ...exchange(get("/next"), response("clean"), { over: up2 }),
  ]),
  row("a body behind an answer to HEAD neither", [
    client.sends(HEAD),
    up.gets(HEAD),
    up.sends(response("poison")),
    client.gets(response("poison").slice(0, -"poison".length)),
    up.sees("an end"),
    ...exchange(get("/next"), response("clean"), { over: up2 }),
  ]),
  row("a 101 to an upgrade is no answer without a body: what follows is the tunnel's", [
    client.sends(UPGRADE),
    up.gets(UPGRADE),
    up.sends(`${SWITCH}\x81\x05hello`),
    client.gets(`${SWITCH}\x81\x05hello`),
  ]),
);

export const rows = [...heads, ...spoiled, ...bodiless];
