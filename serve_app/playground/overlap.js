/** How far masks cover each other: to know a deleted instance again, and to leave duplicates out. */

/** From this intersection over union on, two masks are of one thing. Also the `nms_iou_threshold` of the page. */
export const SAME = 0.5;

/** Intersection over union of two masks of one image. @param {import("./mask.js").Mask} one */
export function overlap(one, other) {
  if (one.rle.counts === other.rle.counts) return 1;
  const [a, b] = [one.bounds(), other.bounds()];
  if (a.x0 >= b.x1 || b.x0 >= a.x1 || a.y0 >= b.y1 || b.y0 >= a.y1) return 0;
  const common = intersection(one.ends, other.ends);
  return common / (one.area + other.area - common);
}

/** By the ends of their runs. */
function intersection(one, other) {
  let common = 0;
  for (let i = 1, j = 1; i < one.length && j < other.length; ) {
    const start = Math.max(one[i - 1], other[j - 1]);
    const end = Math.min(one[i], other[j]);
    if (end > start) common += end - start;
    if (one[i] < other[j]) i += 2;
    else j += 2;
  }
  return common;
}

/**
 * The items that are meant by marks of earlier masks: each mark means the item that it covers best, if it covers one.
 * So a mark of one of two duplicates never means both.
 * @returns {Set} of items
 */
export function meant(items, marks) {
  const found = new Set();
  for (const mark of marks) {
    let [best, most] = [null, 0];
    for (const item of items) {
      if (found.has(item)) continue;
      const share = overlap(item.mask, mark);
      if (share >= SAME && share > most) [best, most] = [item, share];
    }
    if (best) found.add(best);
  }
  return found;
}

/** The instances, without any that covers a surer one: the server's rule for `nms_iou_threshold`. */
export function withoutDuplicates(instances) {
  const kept = [];
  for (const instance of [...instances].sort((one, other) => other.score - one.score)) {
    if (!kept.some((surer) => overlap(surer.mask, instance.mask) > SAME)) kept.push(instance);
  }
  return new Set(kept);
}
