/** Images from files (chosen, dropped, pasted), links and samples: entries of the row, and their pixels. */

import { digestOf } from "./sha256.js";

/**
 * @typedef {{digest: string, name: string, width: number, height: number, bitmap: CanvasImageSource, readable: boolean,
 *   source: {file?: Blob, url?: string}, sample: string | null}} LoadedImage
 *   readable: the page may read its pixels, and so save an overlay. source: is sent to the server.
 */

/** @param {Blob} file @returns {Promise<import("./album.js").Entry>} */
export async function fromFile(file, name, sample = null) {
  try {
    return { digest: await digestOf(file), name, file, url: null, sample };
  } catch {
    throw new Error(`${name} cannot be read.`); // moved or changed since it was chosen
  }
}

/** An image of another host. The browser and the server both fetch it from there. */
export async function fromLink(text) {
  const url = checkedLink(text);
  return { digest: await digestOf(new Blob([url])), name: nameIn(url), file: null, url, sample: null };
}

export async function fromSample(assets, name) {
  const response = await fetch(`${assets}/samples/${name}.jpg`).catch(() => null); // no connection
  if (!response?.ok) throw new Error("The sample cannot be loaded.");
  return fromFile(await response.blob(), `${name}.jpg`, name);
}

/**
 * Load an entry's pixels. The server turns files that the browser does not know, such as TIFF, into some that it does.
 * @param {import("./album.js").Entry} entry @param {import("./client.js").Client} client @returns {Promise<LoadedImage>}
 */
export async function load(entry, client) {
  const { digest, name, sample, url, file } = entry;
  const source = url ? { url } : { file };
  const { bitmap, width, height, readable } = await (url ? linked(url) : filed(file)).catch(() => converted(source, client, name));
  return { digest, name, sample, source, bitmap, width, height, readable };
}

async function filed(file) {
  const bitmap = await createImageBitmap(file);
  return { bitmap, width: bitmap.width, height: bitmap.height, readable: true };
}

/** If the host allows it (CORS), the page may read the pixels and save the overlay. If not, it can only show the image. */
async function linked(url) {
  const [bitmap, readable] = await shown(url, true).then(
    (image) => [image, true],
    () => shown(url, false).then((image) => [image, false]),
  );
  return { bitmap, width: bitmap.naturalWidth, height: bitmap.naturalHeight, readable };
}

async function converted(source, client, name) {
  try {
    const { file, width, height } = await client.picture(source);
    return { bitmap: await createImageBitmap(file), width, height, readable: true };
  } catch (error) {
    throw Object.assign(new Error(`${name} cannot be shown: ${error.message}`), { status: error.status });
  }
}

/** The images of a drop or the clipboard, {files, others}: others are files of another kind; or {link}; or null. */
export function imagesIn(transfer) {
  const all = [...(transfer?.files ?? [])];
  const files = all.filter(isImage);
  if (all.length) return { files, others: all.length - files.length };
  const text = (transfer?.getData("text/uri-list") || transfer?.getData("text/plain") || "").trim();
  return /^https:\/\/\S+$/.test(text) ? { link: text } : null;
}

function isImage({ type, name }) {
  return type.startsWith("image/") || (!type && /\.(tiff?|jpe?g|png|webp|gif|bmp|avif|jp2|heic)$/i.test(name));
}

function checkedLink(text) {
  const url = URL.canParse(text.trim()) ? new URL(text.trim()) : null;
  if (url?.protocol !== "https:") throw new Error("A link to an image begins with https://");
  return url.href;
}

function nameIn(url) {
  const last = new URL(url).pathname.split("/").pop() || "image";
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

async function shown(url, asking) {
  const image = new Image();
  if (asking) image.crossOrigin = "anonymous";
  image.referrerPolicy = "no-referrer";
  image.src = url;
  await image.decode();
  return image;
}
