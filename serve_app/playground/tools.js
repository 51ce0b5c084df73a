/** The tools: the effects of a tap or a drag on the stage. */

export const TOOLS = {
  select: { key: "v", hint: "Click a mask or a mark to select it; Del removes it. Drag moves the image." },
  point: { key: "c", hint: "Click on an object, or on more of it. Right click or long press removes area." },
  minus: { key: "x", hint: "Click on an area to remove it from the object." },
  box: { key: "b", hint: "Draw a box around an object.", draws: true },
  like: { key: "l", hint: "Draw a box around one: everything similar is found.", draws: true },
  unlike: { key: "u", hint: "Draw a box around one to leave everything similar out.", draws: true },
};

/** The box between two points, within the image; null when it is too small to be intended. */
export function boxBetween(from, to, { width, height }, least) {
  const within = (value, most) => Math.min(Math.max(value, 0), most);
  const box = {
    x0: round(within(Math.min(from.x, to.x), width)),
    y0: round(within(Math.min(from.y, to.y), height)),
    x1: round(within(Math.max(from.x, to.x), width)),
    y1: round(within(Math.max(from.y, to.y), height)),
  };
  return box.x1 - box.x0 >= least && box.y1 - box.y0 >= least ? box : null;
}

export function isInside({ x, y }, { width, height }) {
  return x >= 0 && y >= 0 && x < width && y < height;
}

/** Rounded to tenths of a pixel: as precise as a pointer, and short to read. */
export function round(value) {
  return Math.round(value * 10) / 10;
}
