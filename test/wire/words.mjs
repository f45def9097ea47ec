/*
 * words - what the rows of the table are written in. A row is data: a name, the rule that it proves (rules.mjs), and
 * plays. A play is a list of steps that happen one after the other:
 *
 *   client.sends(GET)               bytes; several arguments are several writes
 *   up.gets(GET)                    exactly these bytes arrive, on a connection of the worker that is called `up` from here
 *                                   on; { at: "a" }: of worker a; { beside: "up2" }: of the same worker as up2;
 *                                   { fresh: true }: one that was made in this row
 *   up.sends(OK), client.gets(OK)
 *   client.ends()                   FIN behind what was sent; the other direction stays open
 *   up.resets()                     RST
 *   up.sees("fin")                  the connection ends so, with no byte before it; "reset"; "an end": either, where the
 *                                   two cannot be told apart (behind bytes that are not acknowledged yet, or in one wake-up)
 *   client.getsReply(400)           siolb's own reply, in every detail, then FIN; { stays: true }: the connection stays;
 *                                   { fields: { name: value } }, { code: 1 }: with these; { without_body: true }
 *   client.idles()                  no byte and no end for a moment
 *   together(step, step)            siolb meets all of it in one wake-up
 *
 * `client2`, `up2` and `up3` are further connections: the same name is the same connection, another name another one.
 * What a row does not say must not happen: no byte is left unread on either side, no connection has ended unseen.
 * CANARY is the request that an attack would smuggle: wherever it lies, no worker may find it to be a request.
 */
import { get, post, response } from "../e2e/lib/scripted.mjs";

export { get, GET, HANDSHAKE, post, response, SWITCH, UPGRADE } from "../e2e/lib/scripted.mjs";

/* --- steps --- */

function peer(who) {
  return {
    sends: (...pieces) => ({ who, does: "sends", pieces }),
    gets: (bytes, more) => ({ who, does: "gets", bytes, ...more }),
    ends: () => ({ who, does: "ends" }),
    resets: () => ({ who, does: "resets" }),
    sees: (end) => ({ who, does: "sees", end }),
    idles: () => ({ who, does: "idles" }),
  };
}

const clientOf = (who) => ({
  ...peer(who),
  getsReply: (status, more) => ({ who, does: "getsReply", status, ...more }),
  /** A byte now and then until siolb has had enough; the bytes must not run out before. */
  trickles: (bytes) => ({ who, does: "trickles", bytes }),
});

const upOf = (who) => ({
  ...peer(who),
  /** A connection that was made in this row, before any byte on it. */
  connects: (more) => ({ who, does: "connects", ...more }),
});

export const client = clientOf("client");
export const client2 = clientOf("client2");
export const up = upOf("up");
export const up2 = upOf("up2");
export const up3 = upOf("up3");

/** A worker as a process: `at` names it where there are several. */
export const worker = {
  /** As if it had ended: its connections are gone, new ones are refused. */
  refuses: (at) => ({ who: "worker", does: "refuses", at }),
  listens: (at) => ({ who: "worker", does: "listens", at }),
  /** It has no connection, and from here on takes them and reads nothing. */
  isDeaf: (at) => ({ who: "worker", does: "isDeaf", at }),
  hears: (at) => ({ who: "worker", does: "hears", at }),
};

export const siolb = {
  /** Waits until these metrics have these values (gauges), or have risen by so much in this row (counters). */
  shows: (metrics) => ({ who: "siolb", does: "shows", metrics }),
};

export const together = (...steps) => ({ who: "siolb", does: "together", steps });

/** One request with its answer, byte for byte. */
export function exchange(request, answer, { by = client, over = up } = {}) {
  return [by.sends(request), over.gets(request), over.sends(answer), by.gets(answer)];
}

/* --- bytes --- */

/** Stamped with the number of its row; its length is always the same. */
export const CANARY = get("/canary-0000");
export const OK = response("ok");
export const NO = response("no", { status: "403 Forbidden" });

/** Lines with their ends, and the empty line. */
export const head = (...lines) => [...lines, "", ""].join("\r\n");
/** A GET, and a POST, with these fields behind Host. */
export const fields = (...lines) => head("GET /field HTTP/1.1", "Host: x", ...lines);
export const framed = (...lines) => head("POST /framed HTTP/1.1", "Host: x", ...lines);
export const CHUNKED = framed("Transfer-Encoding: chunked");
export const CHUNKED_OK = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
export const INTERIM = "HTTP/1.1 102 Processing\r\n\r\n";
export const POST = post("/posted", "twelve bytes");

const BYTEWISE_MAX = 400;
const PIECES_MAX = 200;

/** The ways to cut bytes into pieces: not at all, between each CR and its LF, and if that is not too much at each byte. */
export function cuts(bytes) {
  const lines = bytes.split(/(?<=\r)/);
  const halves = [bytes.slice(0, bytes.length / 2), bytes.slice(bytes.length / 2)];
  const parts = lines.length > 1 && lines.length <= PIECES_MAX ? lines : halves;
  return bytes.length <= BYTEWISE_MAX ? [[bytes], parts, [...bytes]] : [[bytes], parts];
}

/* --- rows --- */

/** These rows prove this rule. */
export const under = (rule, ...rows) => rows.map((row) => ({ rule, ...row }));

/** All of `rows` are played by siolb and the workers of another setup (e2e/wire.test.mjs). */
export const on = (setup, rows) => rows.map((row) => ({ ...row, setup }));

/** A row in its own steps. */
export const row = (name, steps, more) => ({ name, plays: [steps], ...more });

/** A request that is refused before any worker hears of it, however it is cut. The canary lies behind it, if not in it. */
export function refused(name, status, bytes, more) {
  const sent = bytes.includes(CANARY) ? bytes : bytes + CANARY;
  return {
    name: `${name}: ${status}`,
    plays: cuts(sent).map((pieces) => [client.sends(...pieces), client.getsReply(status)]),
    reaches: "nobody",
    is_served: true,
    counts: { refused_requests_total: 1 },
    ...more,
  };
}

/** A request whose head is good and whose body is not: by the last byte of `bad` at the latest, which no worker gets. */
export function badBody(name, good, bad) {
  const sent = good + bad + CANARY;
  return {
    name: `${name}: 400`,
    plays: cuts(sent).map((pieces) => [client.sends(...pieces), client.getsReply(400)]),
    reaches: (good + bad).slice(0, -1),
    is_served: true,
    counts: { refused_requests_total: 1 },
  };
}

/** A request that is none of ours to judge: the worker gets it byte for byte, however it is cut. */
export function passes(name, request, { answer = OK, ...more } = {}) {
  return {
    name: `${name}: passes`,
    plays: cuts(request).map((pieces) => [client.sends(...pieces), up.gets(request), up.sends(answer), client.gets(answer)]),
    ...more,
  };
}

/** An answer that passes byte for byte, and both connections live on. */
export function answerPasses(name, answer, { to = get("/answer"), ...more } = {}) {
  return {
    name: `${name}: passes`,
    plays: cuts(answer).map((pieces) => [
      client.sends(to),
      up.gets(to),
      up.sends(...pieces),
      client.gets(answer),
      ...exchange(get("/behind"), response("behind")),
    ]),
    ...more,
  };
}

/** An answer that is no HTTP: 502, the worker's connection is thrown away and the client's closes; nobody is asked again. */
export function badAnswer(name, answer, { to = get("/answer"), passed = "", without_body = false, ...more } = {}) {
  return {
    name: `${name}: 502`,
    plays: cuts(answer).map((pieces) => [
      client.sends(to),
      up.gets(to),
      up.sends(...pieces),
      ...(passed ? [client.gets(passed)] : []),
      client.getsReply(502, { without_body }),
      up.sees("an end"),
    ]),
    counts: { bad_responses_total: 1, retries_total: 0 },
    ...more,
  };
}

/** A request, where it goes (`to`: a worker's name, none: nothing is said) and what siolb goes by: known, cookie, new ... */
export function routed(name, request, by, to) {
  return {
    name: `${name}: ${by}${to ? `, worker ${to}` : ""}`,
    plays: [[client.sends(request), up.gets(request, { at: to }), up.sends(OK), client.gets(OK)]],
    counts: { [`route_${by}_total`]: 1 },
  };
}
