/*
 * sids - whose session a request belongs to. The setup "fleet" has three workers, a, b and c, and siolb has learned from
 * each of them the sids below; its session cookie is called io. What siolb goes by is what it counts: a request without
 * a sid of its own may reach any worker.
 */
import { CANARY, client, exchange, get, head, HANDSHAKE, OK, on, post, response, routed, row, SWITCH, under, up, up2 } from "./words.mjs";

const LONGEST = 256;

/* Of each worker: an ordinary one, the longest one that can be learned, one that is not ASCII. */
export const SIDS = Object.fromEntries(["a", "b", "c"].map((id) => [
  id,
  [`${id}-0123456789-AbCdEf`, `${id}-${"x".repeat(LONGEST - 2)}`, `${id}-\u00e4\u20ac`],
]));

const A = SIDS.a[0];
const B = SIDS.b[0];
const poll = (query, ...lines) => get(`${HANDSHAKE}${query}`, ...lines);
const hex = (text) => [...new TextEncoder().encode(text)].map((byte) => `%${byte.toString(16)}`).join("");
const raw = (text) => String.fromCharCode(...new TextEncoder().encode(text));
const asMethod = (method) => head(`${method} ${HANDSHAKE}&sid=${A} HTTP/1.1`, "Host: x");
const upgrade = (query, ...lines) =>
  get(`/socket.io/?EIO=4&transport=websocket${query}`, "Connection: Upgrade", "Upgrade: websocket", ...lines);

const inQuery = [
  ...under(
    "sid-known",
    routed("a poll", poll(`&sid=${A}`), "known", "a"),
    routed("a poll of another", poll(`&sid=${B}`), "known", "b"),
    routed("a POST", post(`${HANDSHAKE}&sid=${A}`, "4hello"), "known", "a"),
    ...["OPTIONS", "PUT", "DELETE", "BREW", "get"].map((method) => routed(method, asMethod(method), "known", "a")),
    routed("no transport", get(`/socket.io/?sid=${A}`), "known", "a"),
    routed("a path below it", get(`/socket.io/x/y?sid=${A}`), "known", "a"),
    routed("the sid first", get(`/socket.io/?sid=${A}&EIO=4&transport=polling`), "known", "a"),
    routed("a JSONP poll", poll(`&sid=${A}&j=0`), "known", "a"),
    routed("a longest sid", poll(`&sid=${SIDS.a[1]}`), "known", "a"),
    row("a websocket", [
      client.sends(upgrade(`&sid=${A}`)),
      up.gets(upgrade(`&sid=${A}`), { at: "a" }),
      up.sends(SWITCH),
      client.gets(SWITCH),
    ], { counts: { route_known_total: 1 } }),
  ),
  ...under(
    "sid-repeated-last",
    routed("two", poll(`&sid=${A}&sid=${B}`), "known", "b"),
    routed("two, something between", poll(`&sid=${B}&t=x&sid=${A}`), "known", "a"),
    routed("an empty one first", poll(`&sid=&sid=${A}`), "known", "a"),
    routed("an empty one last", poll(`&sid=${A}&sid=`), "new"),
    routed("an unknown one last", poll(`&sid=${A}&sid=nobody`), "unknown"),
    routed("a name in disguise last", poll(`&sid=${A}&%73id=${B}`), "known", "b"),
    routed("three", poll(`&sid=${A}&sid=${A}&sid=${B}`), "known", "b"),
    routed("one that is too long last", poll(`&sid=${A}&sid=${"x".repeat(300)}`), "unknown"),
  ),
  ...under(
    "sid-empty",
    routed("an empty one", poll("&sid="), "new"),
    routed("a name alone", poll("&sid"), "new"),
    routed("two empty ones", poll("&sid=&sid="), "new"),
    routed("an empty one and a cookie, on a POST", post(`${HANDSHAKE}&sid=`, "x", `Cookie: io=${A}`), "cookie", "a"),
  ),
  ...under(
    "sid-decoded",
    routed("every byte", poll(`&sid=${hex(A)}`), "known", "a"),
    routed("every byte, in capitals", poll(`&sid=${hex(A).toUpperCase()}`), "known", "a"),
    routed("a byte of the name", poll(`&s%69d=${A}`), "known", "a"),
    routed("the whole name", poll(`&${hex("sid")}=${A}`), "known", "a"),
    routed("UTF-8", poll(`&sid=${hex(SIDS.b[2])}`), "known", "b"),
    routed("UTF-8 as it is: only its worker can judge", poll(`&sid=${raw(SIDS.b[2])}`), "known", "b"),
    routed("an '=' in the value belongs to it", poll(`&sid==${A}`), "unknown"),
    routed("encoded twice", poll(`&sid=${hex(A).replaceAll("%", "%25")}`), "unknown"),
    routed("a '+' is a blank", poll(`&sid=${A}+`), "unknown"),
    routed("a '+' in the name", poll(`&sid+=${A}`), "new"),
    routed("half a percent", poll(`&sid=${A}%4`), "unknown"),
    routed("a percent that is none", poll(`&sid=${A}%zz`), "unknown"),
    routed("overlong UTF-8", poll(`&sid=%c1%a1${A.slice(1)}`), "unknown"),
    routed("an encoded '&' ends nothing", poll(`&x=1%26sid=${A}`), "new"),
    routed("an encoded '=' is none", poll(`&sid%3d${A}`), "new"),
    routed("an encoded '?' begins nothing", get(`/socket.io/%3fsid=${A}`), "new"),
  ),
  ...under(
    "sid-in-query-only",
    routed("in the fragment", poll(`#&sid=${A}`), "new"),
    routed("a fragment with a query in it", get(`/socket.io/#?sid=${A}`), "new"),
    routed("behind the fragment of another sid", poll(`&sid=${B}#&sid=${A}`), "known", "b"),
    routed("in a body", post(HANDSHAKE, `sid=${A}`, "Content-Type: application/x-www-form-urlencoded"), "new"),
    routed("in Referer", poll("", `Referer: http://x${HANDSHAKE}&sid=${A}`), "new"),
    routed("in a field of its own", poll("", `sid: ${A}`), "new"),
    routed("in the path", get(`/socket.io/sid=${A}?EIO=4&transport=polling`), "new"),
    routed("behind a second question mark", get(`/socket.io/?x?sid=${A}`), "new"),
    routed("behind a semicolon", poll(`;sid=${A}`), "new"),
    routed("under another name", poll(`&oldsid=${A}&sids=${A}&xsid=${A}`), "new"),
    routed("in another case", poll(`&SID=${A}&Sid=${A}`), "new"),
    routed("as a list", poll(`&sid[]=${A}&sid%5B%5D=${A}`), "new"),
  ),
  ...under(
    "sid-on-path-only",
    routed("another path", get(`/other/?EIO=4&transport=polling&sid=${A}`), "new"),
    routed("the path without its slash", get(`/socket.io?EIO=4&transport=polling&sid=${A}`), "new"),
    routed("the path in another case", get(`/Socket.IO/?sid=${A}`), "new"),
    routed("the path encoded", get(`/socket%2eio/?sid=${A}`), "new"),
    routed("two slashes", get(`//socket.io/?sid=${A}`), "new"),
    routed("dots", get(`/x/../socket.io/?sid=${A}`), "new"),
    routed("the path as a part of another", get(`/x/socket.io/?sid=${A}`), "new"),
    routed("an absolute target", get(`http://x/socket.io/?sid=${A}`), "new"),
    routed("OPTIONS *", head("OPTIONS * HTTP/1.1", "Host: x"), "new"),
  ),
  ...under(
    "sid-exact",
    routed("a byte more", poll(`&sid=${A}x`), "unknown"),
    routed("a byte less", poll(`&sid=${A.slice(0, -1)}`), "unknown"),
    routed("another case", poll(`&sid=${A.toLowerCase()}`), "unknown"),
    routed("NUL behind it", poll(`&sid=${A}%00`), "unknown"),
    routed("NUL and more behind it", poll(`&sid=${A}%00x`), "unknown"),
    routed("NUL before it", poll(`&sid=%00${A}`), "unknown"),
    routed("a line end behind it", poll(`&sid=${A}%0d%0aX:%20y`), "unknown"),
    routed("a blank before it", poll(`&sid=%20${A}`), "unknown"),
    routed("quotes around it", poll(`&sid="${A}"`), "unknown"),
    routed("a byte more than the longest", poll(`&sid=${SIDS.a[1]}x`), "unknown"),
    routed("ten thousand bytes", poll(`&sid=${SIDS.a[1]}${"x".repeat(10_000)}`), "unknown"),
    routed("two of them", poll(`&sid=${A},${A}`), "unknown"),
  ),
  ...under(
    "sid-before-cookie",
    routed("both known", poll(`&sid=${B}`, `Cookie: io=${A}`), "known", "b"),
    routed("the sid unknown", poll("&sid=nobody", `Cookie: io=${A}`), "unknown"),
    routed("the sid too long", poll(`&sid=${"x".repeat(300)}`, `Cookie: io=${A}`), "unknown"),
  ),
];

const cookie = (value) => get("/plain", `Cookie: ${value}`);

const cookies = [
  ...under(
    "cookie",
    routed("a page", cookie(`io=${A}`), "cookie", "a"),
    routed("another session's", cookie(`io=${B}`), "cookie", "b"),
    routed("among others", cookie(`x=1; io=${A}; y=2`), "cookie", "a"),
    routed("a POST", post("/plain", "body", `Cookie: io=${A}`), "cookie", "a"),
    routed("on the path, what is no handshake", get("/socket.io/socket.io.js", `Cookie: io=${A}`), "cookie", "a"),
    routed("a field in another case", get("/plain", `cOOKIE:io=${A}`), "cookie", "a"),
    routed("a sid on another path counts for nothing, the cookie does", get(`/plain?sid=${B}`, `Cookie: io=${A}`), "cookie", "a"),
  ),
  ...under(
    "cookie-not-handshakes",
    routed("a poll", poll("", `Cookie: io=${A}`), "new"),
    routed("a websocket", upgrade("", `Cookie: io=${A}`), "new"),
  ),
  ...under(
    "cookie-not-options",
    routed("OPTIONS", head("OPTIONS /plain HTTP/1.1", "Host: x", `Cookie: io=${A}`), "new"),
    routed("OPTIONS *", head("OPTIONS * HTTP/1.1", "Host: x", `Cookie: io=${A}`), "new"),
  ),
  ...under(
    "cookie-repeated",
    routed("two in one line", cookie(`io=${A}; io=${B}`), "cookie", "a"),
    routed("two lines", get("/plain", `Cookie: io=${B}`, `Cookie: io=${A}`), "cookie", "b"),
    routed("an empty one first", cookie(`io=; io=${A}`), "new"),
    routed("an unknown one first", cookie(`io=nobody; io=${A}`), "new"),
    routed("others in the first line", get("/plain", "Cookie: x=1", `Cookie: io=${A}`), "cookie", "a"),
  ),
  ...under(
    "cookie-form",
    routed("quoted", cookie(`io="${A}"`), "cookie", "a"),
    routed("percent-encoded", cookie(`io=${hex(A)}`), "cookie", "a"),
    routed("without a blank behind the semicolon", cookie(`x=1;io=${A}`), "cookie", "a"),
    routed("tabs and blanks around it", cookie(`x=1;\t io=${A} \t;`), "cookie", "a"),
    routed("a '+' is a '+'", cookie(`io=${A}+`), "new"),
    routed("one quote", cookie(`io="${A}`), "new"),
    routed("another case", cookie(`IO=${A}; Io=${A}`), "new"),
    routed("a name that ends so", cookie(`xio=${A}; x.io=${A}`), "new"),
    routed("a name that begins so", cookie(`io2=${A}; io.sid=${A}`), "new"),
    routed("the name encoded", cookie(`%69o=${A}`), "new"),
    routed("in the value of another", cookie(`x=io=${A}`), "new"),
    routed("behind a comma", cookie(`x=1, io=${A}`), "new"),
    routed("in Cookie2", get("/plain", `Cookie2: io=${A}`), "new"),
    routed("in Set-Cookie", get("/plain", `Set-Cookie: io=${A}`), "new"),
  ),
  ...under(
    "cookie-unknown",
    routed("empty", cookie("io="), "new"),
    routed("a name alone", cookie("io"), "new"),
    routed("nobody's", cookie("io=nobody"), "new"),
    routed("a byte more", cookie(`io=${A}x`), "new"),
    routed("NUL behind it", cookie(`io=${A}%00`), "new"),
    routed("too long", cookie(`io=${A}${"x".repeat(10_000)}`), "new"),
    routed("a byte more than the longest", cookie(`io=${SIDS.a[1]}x`), "new"),
    routed("two empty lines", get("/plain", "Cookie:", "Cookie:"), "new"),
    routed("nothing but separators", cookie(";;;=;=;"), "new"),
  ),
];

const pipelined = under(
  "each-routed",
  row("two sids in one write: each to its own worker, in order", [
    client.sends(poll(`&sid=${B}`) + poll(`&sid=${A}`)),
    up.gets(poll(`&sid=${B}`), { at: "b" }),
    up.sends(response("b")),
    up2.gets(poll(`&sid=${A}`), { at: "a" }),
    client.gets(response("b")),
    up2.sends(response("a")),
    client.gets(response("a")),
  ], { counts: { route_known_total: 2 } }),
  row("the second waits for the answer to the first, whoever it is for", [
    client.sends(post(`${HANDSHAKE}&sid=${A}`, "4hello") + poll(`&sid=${B}`)),
    up.gets(post(`${HANDSHAKE}&sid=${A}`, "4hello"), { at: "a" }),
    client.idles(),
    up.idles(),
    up.sends(OK),
    client.gets(OK),
    up2.gets(poll(`&sid=${B}`), { at: "b" }),
    up2.sends(OK),
    client.gets(OK),
  ]),
  row("a session's requests on the connection of another's", [
    ...exchange(poll(`&sid=${A}`), OK),
    ...exchange(poll(`&sid=${B}`), OK, { over: up2 }),
    ...exchange(poll(`&sid=${A}`), OK),
  ], { counts: { route_known_total: 3 } }),
  row("a sid in a body that looks like the next request is none", [
    client.sends(post(`${HANDSHAKE}&sid=${A}`, CANARY + poll(`&sid=${SIDS.c[0]}`)) + poll(`&sid=${B}`)),
    up.gets(post(`${HANDSHAKE}&sid=${A}`, CANARY + poll(`&sid=${SIDS.c[0]}`)), { at: "a" }),
    up.sends(OK),
    client.gets(OK),
    up2.gets(poll(`&sid=${B}`), { at: "b" }),
    up2.sends(OK),
    client.gets(OK),
  ]),
);

const pythonic = under(
  "sid-repeated-first",
  routed("two", poll(`&sid=${A}&sid=${B}`), "known", "a"),
  routed("an empty one first", poll(`&sid=&sid=${B}`), "known", "b"),
  routed("an empty one last", poll(`&sid=${A}&sid=`), "known", "a"),
  routed("an unknown one first", poll(`&sid=nobody&sid=${A}`), "unknown"),
);

export const rows = [...on("fleet", [...inQuery, ...cookies, ...pipelined]), ...on("python", pythonic)];
