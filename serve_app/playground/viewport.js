/** The image's position on the stage: screen = image * scale + (x, y), in CSS pixels. */

const SMALLEST_SIDE = 24;
const LARGEST_SCALE = 40;
const MARGIN = 24;

/** Shows the whole image in the middle, with a margin; small images are enlarged at most four times. */
export function fit(image, stage) {
  const margin = Math.min(MARGIN, stage.width * 0.03);
  const scale = Math.min((stage.width - 2 * margin) / image.width, (stage.height - 2 * margin) / image.height, 4);
  return centred(Math.max(scale, 0.001), image, stage);
}

/** One image pixel per screen pixel. */
export function actualSize(image, stage) {
  return centred(1 / (globalThis.devicePixelRatio || 1), image, stage);
}

export function zoomAt(view, factor, x, y, image) {
  const least = SMALLEST_SIDE / Math.min(image.width, image.height);
  const scale = Math.min(Math.max(view.scale * factor, Math.min(least, view.scale)), LARGEST_SCALE);
  const applied = scale / view.scale;
  return { scale, x: x - (x - view.x) * applied, y: y - (y - view.y) * applied };
}

/** Moved, but never out of the stage. */
export function pan(view, dx, dy, image, stage) {
  const keep = (value, size, room) => Math.min(Math.max(value, SMALLEST_SIDE - size), room - SMALLEST_SIDE);
  return {
    scale: view.scale,
    x: keep(view.x + dx, image.width * view.scale, stage.width),
    y: keep(view.y + dy, image.height * view.scale, stage.height),
  };
}

/** Moved so far that a point of the image is visible, with room around it. */
export function reveal(view, point, image, stage) {
  const at = toScreen(view, point.x, point.y);
  const room = Math.min(MARGIN * 2, stage.width / 4, stage.height / 4);
  const off = (value, size) => Math.min(Math.max(value, room), size - room) - value;
  return pan(view, off(at.x, stage.width), off(at.y, stage.height), image, stage);
}

export function toImage(view, x, y) {
  return { x: (x - view.x) / view.scale, y: (y - view.y) / view.scale };
}

export function toScreen(view, x, y) {
  return { x: x * view.scale + view.x, y: y * view.scale + view.y };
}

function centred(scale, image, stage) {
  return { scale, x: (stage.width - image.width * scale) / 2, y: (stage.height - image.height * scale) / 2 };
}
