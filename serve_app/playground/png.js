/** Masks as PNG files. */

import { crc32 } from "./zip.js";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const GREY = 0;
const PALETTE = 3;

/** One mask in 8 bits of grey, 255 for the object. @param {import("./mask.js").Mask} mask @returns {Promise<Uint8Array>} */
export function maskPng(mask) {
  return numbersPng(mask, [{ mask, number: 255 }]);
}

/**
 * Several masks in one picture: a pixel's value is the number of its object, 0 for none; later ones lie above.
 * @param {{width: number, height: number}} size
 * @param {{mask: import("./mask.js").Mask, number: number}[]} masks of this size
 * @param {number[][] | null} palette the colour of each value, as [red, green, blue]; null for grey. Without it numbers
 *   may have 16 bits.
 * @returns {Promise<Uint8Array>}
 */
export async function numbersPng({ width, height }, masks, palette = null) {
  const bytes = masks.some(({ number }) => number > 255) ? 2 : 1;
  const row = width * bytes + 1; // each begins with its filter: none
  const rows = new Uint8Array(row * height);
  for (const { mask, number } of masks) {
    const crop = mask.crop();
    for (let at = 0; at < crop.data.length; at++) {
      if (!crop.data[at]) continue;
      const place = (crop.y + Math.floor(at / crop.width)) * row + 1 + (crop.x + (at % crop.width)) * bytes;
      if (bytes === 2) rows[place] = number >> 8;
      rows[place + bytes - 1] = number & 255;
    }
  }
  const coloured = palette && bytes === 1;
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8 * bytes, coloured ? PALETTE : GREY, 0, 0, 0], 8);
  const parts = [
    chunk("IHDR", header),
    ...(coloured ? [chunk("PLTE", Uint8Array.from(palette.flat()))] : []),
    chunk("IDAT", await deflated(rows)),
    chunk("IEND", new Uint8Array()),
  ];
  return new Uint8Array(await new Blob([new Uint8Array(SIGNATURE), ...parts]).arrayBuffer());
}

function chunk(type, data) {
  const whole = new Uint8Array(data.length + 12);
  const view = new DataView(whole.buffer);
  view.setUint32(0, data.length);
  whole.set(new TextEncoder().encode(type), 4);
  whole.set(data, 8);
  view.setUint32(data.length + 8, crc32(whole.subarray(4, data.length + 8)));
  return whole;
}

async function deflated(data) {
  const stream = new Blob([data]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
