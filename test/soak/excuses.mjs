/*
 * excuses - what a client may meet because workers were in trouble: its connection ends, its session is closed or times
 * out, or it is told so (400 code 1, 502, 503, 504). What is wrong in content or order is never one of these, and neither
 * is waiting without end.
 */
import { Disconnected } from "../e2e/lib/clients.mjs";
import { Lost } from "../e2e/lib/http.mjs";

const CUT = new Set(["ECONNRESET", "EPIPE"]);
const ENDS = new Set(["transport close", "ping timeout", "io server disconnect"]);

/** siolb's own words, and a worker's that does not know a sid. A websocket's client does not tell us the body. */
function isWord({ status, text }) {
  if (status !== 400) return /^50[234]$/.test(status) && (text === undefined || /^\{"code":\d+,"message":"[^"]*"\}\s*$/.test(text));
  return /^\{"code":1,"message":"[^"]*"\}\s*$/.test(text);
}

/** Is `error` of a client such a loss? */
export function isLoss(error) {
  if (error instanceof Disconnected) return error.fault ? isLoss(error.fault) : ENDS.has(error.why);
  if (error instanceof Lost) return !error.cause || isLoss(error.cause);
  const status = error.status ?? Number(/^Unexpected server response: (\d+)$/.exec(error.message)?.[1]);
  return status ? isWord({ status, text: error.text }) : CUT.has(error.code);
}
