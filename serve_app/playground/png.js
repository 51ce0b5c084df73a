/** Masks as PNG files: 8 bits of grey, 255 for the object. */

import { crc32 } from "./zip.js";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const GREY = 0;

/** @param {import("./mask.js").Mask} mask @returns {Promise<Uint8Array>} */
export async function maskPng(mask) {
  const { width, height } = mask;
  const rows = new Uint8Array((width + 1) * height); // each row begins with its filter: none
  const crop = mask.crop();
  for (let y = 0; y < crop.height; y++) {
    const start = (crop.y + y) * (width + 1) + 1 + crop.x;
    for (let x = 0; x < crop.width; x++) rows[start + x] = crop.data[y * crop.width + x] * 255;
  }
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, GREY, 0, 0, 0], 8);
  const parts = [chunk("IHDR", header), chunk("IDAT", await deflated(rows)), chunk("IEND", new Uint8Array())];
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
