/**
 * A mask as polygons for COCO. Such polygons have no holes, so a mask with holes is cut through them, into parts
 * without: the parts together cover the mask.
 */

import { traceRings } from "./outline.js";

/** Pixels that a corner may be off the mask's edge: enough to make a line of a staircase. */
const TOLERANCE = 0.75;
/** Holes of fewer pixels are filled, as the cut through them would be larger than they are. */
const SMALLEST_HOLE = 4;

/** Rings [x0, y0, x1, y1, ...] of at least 3 corners, largest first. @param {import("./mask.js").Mask} mask */
export function polygonsOf(mask) {
  return parts(mask.crop()).map(simplified).sort((one, other) => Math.abs(areaOf(other)) - Math.abs(areaOf(one)));
}

function parts(crop) {
  const rings = traceRings(crop);
  // Around a hole the foreground is on the right too, so its area is negative.
  const hole = rings.find((ring) => areaOf(ring) <= -SMALLEST_HOLE);
  if (!hole) return rings.filter((ring) => areaOf(ring) > 0);
  const columns = hole.filter((_, index) => index % 2 === 0);
  const middle = Math.floor((Math.min(...columns) + Math.max(...columns) + 1) / 2) - crop.x;
  return [...parts(columnsOf(crop, 0, middle)), ...parts(columnsOf(crop, middle, crop.width))];
}

function columnsOf({ x, y, width, height, data }, from, to) {
  const part = new Uint8Array((to - from) * height);
  for (let row = 0; row < height; row++) part.set(data.subarray(row * width + from, row * width + to), row * (to - from));
  return { x: x + from, y, width: to - from, height, data: part };
}

/** Signed: positive for outer rings. */
export function areaOf(ring) {
  let sum = 0;
  for (let at = 0; at < ring.length; at += 2) {
    const next = (at + 2) % ring.length;
    sum += ring[at] * ring[next + 1] - ring[next] * ring[at + 1];
  }
  return sum / 2;
}

/** Without the corners that hardly change the ring (Douglas and Peucker); the ring itself when too few would be left. */
function simplified(ring) {
  const corners = [];
  for (let at = 0; at < ring.length; at += 2) corners.push([ring[at], ring[at + 1]]);
  const far = corners.reduce((best, [x, y], index) => (distance([x, y], corners[0]) > distance(corners[best], corners[0]) ? index : best), 0);
  const kept = [...between(corners, 0, far), ...between([...corners, corners[0]], far, corners.length)];
  return kept.length < 3 ? ring : kept.flat();
}

/** The corners to keep from `first` on, without the last one. */
function between(corners, first, last) {
  const kept = [];
  const pending = [[first, last]];
  while (pending.length) {
    const [from, to] = pending.pop();
    let [worst, most] = [-1, TOLERANCE];
    for (let index = from + 1; index < to; index++) {
      const off = offLine(corners[index], corners[from], corners[to]);
      if (off > most) [worst, most] = [index, off];
    }
    if (worst < 0) kept.push(corners[from]);
    else pending.push([worst, to], [from, worst]);
  }
  return kept;
}

function offLine(point, from, to) {
  const length = distance(from, to);
  if (!length) return distance(point, from);
  return Math.abs((to[0] - from[0]) * (from[1] - point[1]) - (from[0] - point[0]) * (to[1] - from[1])) / length;
}

function distance([x0, y0], [x1, y1]) {
  return Math.hypot(x1 - x0, y1 - y0);
}
