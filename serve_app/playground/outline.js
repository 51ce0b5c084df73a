/** The outlines of a mask, along the edges of its pixels, so that the drawn area is exactly the mask's. */

// Steps east, south, west, north.
const DX = [1, 0, -1, 0];
const DY = [0, 1, 0, -1];

/**
 * Closed rings of corners [x0, y0, x1, y1, ...] with the foreground on their right: outer ones run clockwise, holes
 * the other way.
 * @param {{x: number, y: number, width: number, height: number, data: Uint8Array}} crop
 */
export function traceRings({ x: left, y: top, width, height, data }) {
  const filled = (x, y) => x >= 0 && y >= 0 && x < width && y < height && data[y * width + x] === 1;
  const seen = new Uint8Array(width * height);
  const rings = [];
  for (let startY = 0; startY < height; startY++) {
    for (let startX = 0; startX < width; startX++) {
      // Every ring has an edge along the top of a pixel.
      if (!filled(startX, startY) || filled(startX, startY - 1) || seen[startY * width + startX]) continue;
      const ring = [];
      let [x, y, direction] = [startX, startY, 0];
      do {
        if (direction === 0) seen[y * width + x] = 1;
        x += DX[direction];
        y += DY[direction];
        const next = turn(filled, x, y, direction);
        if (next !== direction) ring.push(left + x, top + y);
        direction = next;
      } while (x !== startX || y !== startY || direction !== 0);
      rings.push(ring);
    }
  }
  return rings;
}

/** The next direction of an edge at the corner (x, y). Pixels that touch only at a corner are not connected. */
function turn(filled, x, y, direction) {
  const [right, left] = AHEAD[direction];
  if (!filled(x + right[0], y + right[1])) return (direction + 1) % 4;
  return filled(x + left[0], y + left[1]) ? (direction + 3) % 4 : direction;
}

// By direction: the pixels ahead on the right and on the left of a corner.
const AHEAD = [
  [[0, 0], [0, -1]],
  [[-1, 0], [0, 0]],
  [[-1, -1], [-1, 0]],
  [[0, -1], [-1, -1]],
];

export function outlinePath(crop) {
  const path = new Path2D();
  for (const ring of traceRings(crop)) {
    path.moveTo(ring[0], ring[1]);
    for (let at = 2; at < ring.length; at += 2) path.lineTo(ring[at], ring[at + 1]);
    path.closePath();
  }
  return path;
}
