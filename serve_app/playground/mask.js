/** A mask in COCO's compressed run-length encoding: column by column, runs of background and foreground in turn. */

import { outlinePath } from "./outline.js";

export class Mask {
  #ends = null;
  #path = null;
  #bounds = null;
  #area = -1;

  /** @param {{size: [number, number], counts: string}} rle size: height, width */
  constructor(rle) {
    this.rle = rle;
    [this.height, this.width] = rle.size;
  }

  /** The end of each run, in column-major order; runs with an odd index are foreground. @returns {Float64Array} */
  get ends() {
    if (!this.#ends) {
      let end = 0;
      this.#ends = Float64Array.from(decodeCounts(this.rle.counts), (count) => (end += count));
    }
    return this.#ends;
  }

  /** Its pixels. */
  get area() {
    if (this.#area < 0) {
      this.#area = 0;
      for (let index = 1; index < this.ends.length; index += 2) this.#area += this.ends[index] - this.ends[index - 1];
    }
    return this.#area;
  }

  /** True if the pixel at (x, y), which may be fractions, belongs to the mask. */
  contains(x, y) {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return false;
    const position = Math.floor(x) * this.height + Math.floor(y);
    let low = 0;
    let high = this.ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.ends[middle] <= position) low = middle + 1;
      else high = middle;
    }
    return low < this.ends.length && low % 2 === 1;
  }

  /** The smallest rectangle that holds the mask, row by row, 1 for foreground. */
  crop() {
    const { x0, y0, x1, y1 } = this.bounds();
    const width = x1 - x0;
    const data = new Uint8Array(width * (y1 - y0));
    this.#eachColumnRun((x, top, bottom) => {
      for (let y = top; y < bottom; y++) data[(y - y0) * width + x - x0] = 1;
    });
    return { x: x0, y: y0, width, height: y1 - y0, data };
  }

  /** Corners of the foreground; all 0 when there is none. */
  bounds() {
    this.#bounds ??= this.#measure();
    return this.#bounds;
  }

  #measure() {
    let [x0, y0, x1, y1] = [Infinity, Infinity, 0, 0];
    this.#eachColumnRun((x, top, bottom) => {
      x0 = Math.min(x0, x);
      x1 = Math.max(x1, x + 1);
      y0 = Math.min(y0, top);
      y1 = Math.max(y1, bottom);
    });
    return x1 ? { x0, y0, x1, y1 } : { x0: 0, y0: 0, x1: 0, y1: 0 };
  }

  /** Its outlines, holes included, along the edges of its pixels. @returns {Path2D} */
  get path() {
    this.#path ??= outlinePath(this.crop());
    return this.#path;
  }

  #eachColumnRun(visit) {
    for (let index = 1; index < this.ends.length; index += 2) {
      let position = this.ends[index - 1];
      while (position < this.ends[index]) {
        const x = Math.floor(position / this.height);
        const bottom = Math.min(this.ends[index], (x + 1) * this.height);
        visit(x, position - x * this.height, bottom - x * this.height);
        position = bottom;
      }
    }
  }
}

/** The run lengths in the text: 5 bits per character, lowest first; from the third run on, differences. */
export function decodeCounts(text) {
  const counts = [];
  let at = 0;
  while (at < text.length) {
    let value = 0;
    let bits = 0;
    let code;
    do {
      code = text.charCodeAt(at++) - 48;
      value |= (code & 31) << bits;
      bits += 5;
    } while (code & 32);
    if (code & 16) value |= -1 << bits;
    if (counts.length > 2) value += counts[counts.length - 2];
    counts.push(value);
  }
  return counts;
}
