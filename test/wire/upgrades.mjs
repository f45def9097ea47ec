/* upgrades - when a connection becomes a tunnel, and what only looks like it. */
import { CANARY, client, exchange, get, GET, head, INTERIM, NO, OK, post, response, row, siolb, SWITCH, under, up, up2, UPGRADE } from "./words.mjs";

const TARGET = "/socket.io/?EIO=4&transport=websocket";
const asks = (...fields) => get(TARGET, ...fields);
const FRAME = "\x81\x85\0\0\0\0hello";

const asked = (request) => [client.sends(request), up.gets(request)];
const tunnel = (request) => [...asked(request), up.sends(SWITCH), client.gets(SWITCH), client.sends(FRAME), up.gets(FRAME), up.sends("\0frame"), client.gets("\0frame"), siolb.shows({ tunnels: 1 })];
const becomesTunnel = (name, request) => row(`${name}: a tunnel`, tunnel(request));

/* Both what an honest and what a confused worker makes of it. */
const isNone = (name, request) => [
  row(`${name}: plain HTTP, whose answer passes and whose connection is not used again`, [...asked(request), up.sends(OK), client.gets(OK), up.sees("fin"), siolb.shows({ tunnels: 0 })]),
  row(`${name}: a 101 to it is a 502`, [...asked(request), up.sends(`${SWITCH}frame`), client.getsReply(502), up.sees("an end"), siolb.shows({ tunnels: 0 })]),
];

const conditions = [
  ...under(
    "tunnel-needs-get",
    becomesTunnel("GET", UPGRADE),
    ...isNone("POST", UPGRADE.replace("GET", "POST")),
    row("HEAD: plain HTTP", [...asked(UPGRADE.replace("GET", "HEAD")), up.sends("HTTP/1.1 204 No\r\n\r\n"), client.gets("HTTP/1.1 204 No\r\n\r\n"), up.sees("fin")]),
    row("HEAD: a 101 to it is a 502", [...asked(UPGRADE.replace("GET", "HEAD")), up.sends(SWITCH), client.getsReply(502, { without_body: true }), up.sees("an end")]),
    ...isNone("OPTIONS", UPGRADE.replace("GET", "OPTIONS")),
    ...isNone("get in lower case", UPGRADE.replace("GET", "get")),
  ),
  ...under("tunnel-needs-1.1", row("HTTP/1.0: plain HTTP", [...asked(UPGRADE.replace("HTTP/1.1", "HTTP/1.0")), up.sends(OK), client.gets(OK), client.sees("fin"), up.sees("fin")]), isNone("HTTP/1.0", UPGRADE.replace("HTTP/1.1", "HTTP/1.0"))[1]),
  ...under(
    "tunnel-needs-no-body",
    ...isNone("a length and a body", post(TARGET, "body", "Connection: Upgrade", "Upgrade: websocket").replace("POST", "GET")),
    ...isNone("an empty chunked body", `${asks("Connection: Upgrade", "Upgrade: websocket", "Transfer-Encoding: chunked")}0\r\n\r\n`),
    ...isNone("a canary as body", post(TARGET, CANARY, "Connection: Upgrade", "Upgrade: websocket").replace("POST", "GET")),
    becomesTunnel("a length of 00", asks("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 00")),
  ),
  ...under(
    "tunnel-needs-websocket",
    becomesTunnel("any case", asks("connection: UPGRADE", "upgrade: WebSocket")),
    becomesTunnel("blanks around it", asks("Connection: Upgrade", "Upgrade: \t websocket \t")),
    ...isNone("another protocol", asks("Connection: Upgrade", "Upgrade: h2c")),
    ...isNone("h2c with its settings", asks("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")),
    ...isNone("a list", asks("Connection: Upgrade", "Upgrade: websocket, h2c")),
    ...isNone("a list, websocket last", asks("Connection: Upgrade", "Upgrade: h2c, websocket")),
    ...isNone("two lines", asks("Connection: Upgrade", "Upgrade: websocket", "Upgrade: websocket")),
    ...isNone("two lines, websocket last", asks("Connection: Upgrade", "Upgrade: h2c", "Upgrade: websocket")),
    ...isNone("a version", asks("Connection: Upgrade", "Upgrade: websocket/13")),
    ...isNone("a comma", asks("Connection: Upgrade", "Upgrade: websocket,")),
    ...isNone("quotes", asks("Connection: Upgrade", 'Upgrade: "websocket"')),
    ...isNone("an empty line", asks("Connection: Upgrade", "Upgrade:")),
  ),
  ...under(
    "tunnel-needs-connection",
    becomesTunnel("a list", asks("Connection: keep-alive, UPGRADE", "Upgrade: websocket")),
    becomesTunnel("a list without blanks, empty elements in it", asks("Connection: keep-alive,,upgrade,", "Upgrade: websocket")),
    becomesTunnel("two lines", asks("Connection: keep-alive", "Connection: Upgrade", "Upgrade: websocket")),
    ...isNone("keep-alive only", asks("Connection: keep-alive", "Upgrade: websocket")),
    ...isNone("no Connection", asks("Upgrade: websocket")),
    ...isNone("a word with upgrade in it", asks("Connection: upgrades", "Upgrade: websocket")),
    ...isNone("upgrade with a parameter", asks("Connection: upgrade;q=1", "Upgrade: websocket")),
    ...isNone("Proxy-Connection", asks("Proxy-Connection: Upgrade", "Upgrade: websocket")),
  ),
  ...under(
    "tunnel-needs-named-101",
    ...[
      ["no protocol", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n"],
      ["another protocol", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"],
      ["a protocol that begins like it", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket2\r\n\r\n"],
      ["a broken head", "HTTP/1.1 101 Switching Protocols\r\nUpgrade : websocket\r\n\r\n"],
    ].map(([what, answer]) => row(`a 101 with ${what} is a 502`, [...asked(UPGRADE), client.sends(CANARY), up.sends(`${answer}frame`), client.getsReply(502), up.sees("an end")])),
    row("a 101 in any case that names it", [
      ...asked(UPGRADE),
      up.sends("HTTP/1.1 101 \r\nupgrade:WEBSOCKET\r\n\r\n"),
      client.gets("HTTP/1.1 101 \r\nupgrade:WEBSOCKET\r\n\r\n"),
      client.sends(FRAME),
      up.gets(FRAME),
    ]),
    row("a 101 byte by byte, a frame behind it", [...asked(UPGRADE), up.sends(...`${SWITCH}${FRAME}`), client.gets(SWITCH + FRAME)]),
    row("a 101 behind 1xx", [...asked(UPGRADE), up.sends(INTERIM + SWITCH + FRAME), client.gets(INTERIM + SWITCH + FRAME), client.sends(FRAME), up.gets(FRAME)]),
  ),
  ...under(
    "other-upgrade",
    row("the request goes on as it is, the answer too", [
      ...asked(get("/tls", "Connection: Upgrade", "Upgrade: TLS/1.3, HTTP/2.0")),
      up.sends(response("no", { fields: ["Upgrade: HTTP/2.0", "Connection: Upgrade"] })),
      client.gets(response("no", { fields: ["Upgrade: HTTP/2.0", "Connection: Upgrade"] })),
      ...exchange(GET, OK, { over: up2 }),
      up.sees("fin"),
    ]),
    row("an answer that offers an upgrade nobody asked for is an ordinary one", [
      ...exchange(GET, response("ok", { status: "426 Upgrade Required", fields: ["Upgrade: websocket", "Connection: Upgrade"] })),
      ...exchange(GET, OK),
    ]),
  ),
  ...under(
    "upgrade-not-pooled",
    row("a refused websocket", [...asked(UPGRADE), up.sends(NO), client.gets(NO), up.sees("fin"), ...exchange(GET, OK, { over: up2 })]),
    row("another protocol", [...asked(get("/", "Upgrade: h2c")), up.sends(NO), client.gets(NO), up.sees("fin"), ...exchange(GET, OK, { over: up2 })]),
    row("on a connection that was pooled before", [...exchange(GET, OK), ...asked(UPGRADE), up.sends(NO), client.gets(NO), up.sees("fin")]),
  ),
];

const early = [
  ...under(
    "upgrade-waits",
    row("what comes behind an upgrade waits", [client.sends(UPGRADE + CANARY), up.gets(UPGRADE), up.idles(), up.sends(SWITCH), client.gets(SWITCH), up.gets(CANARY)]),
    row("what is no HTTP is not judged before the worker has answered", [client.sends(`${UPGRADE}\0\n\n`), up.gets(UPGRADE), client.idles(), up.sends(SWITCH), client.gets(SWITCH), up.gets("\0\n\n")]),
    row("a whole request in pieces waits", [client.sends(UPGRADE), up.gets(UPGRADE), client.sends(...CANARY), up.idles(), up.sends(SWITCH), client.gets(SWITCH), up.gets(CANARY)]),
    row("behind plain requests, in one write", [
      client.sends(get("/1") + get("/2") + UPGRADE + FRAME),
      up.gets(get("/1")),
      up.sends(response("1")),
      up.gets(get("/2")),
      up.sends(response("2")),
      client.gets(response("1") + response("2")),
      up.gets(UPGRADE),
      up.idles(),
      up.sends(SWITCH),
      client.gets(SWITCH),
      up.gets(FRAME),
    ]),
  ),
  ...under(
    "early-into-tunnel",
    row("bytes in one write with the upgrade", [client.sends(`${UPGRADE}early\0frame`), up.gets(UPGRADE), up.sends(SWITCH), up.gets("early\0frame"), client.gets(SWITCH)]),
    row("bytes in pieces, in order", [...asked(UPGRADE), client.sends("one ", "two "), up.sends(SWITCH + FRAME), client.gets(SWITCH + FRAME), client.sends("three"), up.gets("one two three")]),
    row("frames that look like HTTP", [...asked(UPGRADE), up.sends(`${SWITCH}HTTP/1.1 400 Bad\r\nContent-Length: -1\r\n\r\n`), client.gets(`${SWITCH}HTTP/1.1 400 Bad\r\nContent-Length: -1\r\n\r\n`), client.sends("GET / HTTP/1.1\nbad"), up.gets("GET / HTTP/1.1\nbad")]),
    row("a FIN behind early bytes", [client.sends(`${UPGRADE}last`), up.gets(UPGRADE), client.ends(), up.idles(), up.sends(SWITCH), client.gets(SWITCH), up.gets("last"), up.sees("fin"), up.ends(), client.sees("fin")]),
  ),
  ...under(
    "early-is-next",
    row("a request", [client.sends(UPGRADE + get("/next")), up.gets(UPGRADE), up.idles(), up.sends(NO), client.gets(NO), up2.gets(get("/next")), up2.sends(OK), client.gets(OK), up.sees("fin")]),
    row("what is no request is refused, and reaches nobody", [client.sends(UPGRADE + FRAME), up.gets(UPGRADE), up.sends(NO), client.gets(NO), client.getsReply(400), up.sees("fin")]),
    row("an upgrade again", [client.sends(UPGRADE + UPGRADE), up.gets(UPGRADE), up.sends(NO), client.gets(NO), up2.gets(UPGRADE), up2.sends(SWITCH), client.gets(SWITCH), up.sees("fin")]),
    row("not behind Connection: close of the worker: early bytes go nowhere", [
      client.sends(UPGRADE + CANARY),
      up.gets(UPGRADE),
      up.sends(response("unknown", { status: "400 Bad Request", fields: ["Connection: close"] })),
      up.ends(),
      client.gets(response("unknown", { status: "400 Bad Request", fields: ["Connection: close"] })),
      client.sees("fin"),
    ]),
    row("not behind Connection: close of the client", [
      client.sends(head("GET /ws HTTP/1.1", "Host: x", "Connection: upgrade, close", "Upgrade: websocket") + CANARY),
      up.gets(head("GET /ws HTTP/1.1", "Host: x", "Connection: upgrade, close", "Upgrade: websocket")),
      up.sends(NO),
      client.gets(NO),
      client.sees("fin"),
      up.sees("fin"),
    ]),
  ),
];

export const rows = [...conditions, ...early];
