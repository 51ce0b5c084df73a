/** A ZIP file of parts that are compressed already. */

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const UTF8_NAMES = 0x0800;
const FIRST_OF_1980 = 0x21;

/** @param {{name: string, data: Uint8Array}[]} files @returns {Blob} */
export function zip(files) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const { name, data } of files) {
    const bytes = new TextEncoder().encode(name);
    // Version, flags, method, time, date, CRC, sizes, name's length, extra's length: the same in both places.
    const common = record([20, UTF8_NAMES, 0, 0, FIRST_OF_1980], [crc32(data), data.length, data.length], [bytes.length, 0]);
    parts.push(record([], [LOCAL]), common, bytes, data);
    directory.push(record([], [CENTRAL]), record([20]), common, record([0, 0, 0], [0, offset]), bytes);
    offset += 30 + bytes.length + data.length;
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const end = [record([], [END]), record([0, 0, files.length, files.length], [length, offset], [0])];
  return new Blob([...parts, ...directory, ...end], { type: "application/zip" });
}

/** Little-endian: 16-bit numbers, then 32-bit ones, then 16-bit ones. */
function record(shorts, longs = [], more = []) {
  const view = new DataView(new ArrayBuffer(2 * shorts.length + 4 * longs.length + 2 * more.length));
  let at = 0;
  for (const value of shorts) view.setUint16((at += 2) - 2, value, true);
  for (const value of longs) view.setUint32((at += 4) - 4, value, true);
  for (const value of more) view.setUint16((at += 2) - 2, value, true);
  return new Uint8Array(view.buffer);
}

const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

export function crc32(data) {
  let crc = 0xffffffff;
  for (const byte of data) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
