/*
 * random - numbers that can be had again: the seed is printed when the test fails, and the environment sets it.
 *
 *   const next = random(t, "CHAOS_SEED");         next(6): 0 to 5
 */
import { defer } from "./defer.mjs";

/** A generator of whole numbers below its argument (xorshift32). */
export function seeded(seed) {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

export function random(t, variable) {
  const seed = Number(process.env[variable]) || Date.now() % 1_000_000;
  defer(t, () => t.passed || console.error(`${variable}=${seed}`));
  return seeded(seed);
}
