/**
 * The smallest input that still is what it was: pieces are taken away, halves first, single bytes last, until nothing
 * can go any more. `find` gets several candidates and tells the index of the first good one, -1 when none is.
 */
export async function minimise(input, find) {
  let bytes = input.bytes;
  const without = (at, size) => ({ ...input, bytes: Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + size)]) });
  for (let size = bytes.length >> 1; size > 0; ) {
    const candidates = [];
    for (let at = 0; at + size <= bytes.length; at += size) candidates.push(without(at, size));
    const good = await find(candidates);
    if (good < 0) size >>= 1;
    else bytes = candidates[good].bytes;
    if (size > bytes.length) size = bytes.length;
  }
  return { ...input, bytes };
}
