/** Loads images from files (chosen, dropped, pasted), links and samples. */

/**
 * @typedef {{name: string, width: number, height: number, bitmap: CanvasImageSource, readable: boolean,
 *   source: {file?: Blob, url?: string}, sample: string | null}} LoadedImage
 *   readable: whether the page may read its pixels, and so save an overlay. source: is sent to the server.
 */

/** @param {Blob} file @returns {Promise<LoadedImage>} */
export async function fromFile(file, name, sample = null) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`This browser cannot show ${name}. Use a JPEG, PNG, WebP or AVIF file.`);
  }
  return { name, width: bitmap.width, height: bitmap.height, bitmap, readable: true, source: { file }, sample };
}

/** An image of another host. The browser and the server both fetch it from there. @returns {Promise<LoadedImage>} */
export async function fromLink(text) {
  const url = checkedLink(text);
  // If the host allows it (CORS), the page may read the pixels and save the overlay. If not, it can only show the image.
  const [element, readable] = await shown(url, true).then(
    (image) => [image, true],
    () => shown(url, false).then((image) => [image, false]),
  );
  const name = decodeURIComponent(new URL(url).pathname.split("/").pop() || "image");
  return {
    name, width: element.naturalWidth, height: element.naturalHeight, bitmap: element, readable, source: { url }, sample: null,
  };
}

export async function fromSample(assets, name) {
  const response = await fetch(`${assets}/samples/${name}.jpg`);
  if (!response.ok) throw new Error("The sample cannot be loaded.");
  return fromFile(await response.blob(), `${name}.jpg`, name);
}

/** The first image of a drop or the clipboard; a link to one; or null. */
export function imageIn(transfer) {
  const file = [...(transfer?.files ?? [])].find((one) => one.type.startsWith("image/"));
  if (file) return { file };
  const text = (transfer?.getData("text/uri-list") || transfer?.getData("text/plain") || "").trim();
  return /^https:\/\/\S+$/.test(text) ? { link: text } : null;
}

function checkedLink(text) {
  const url = URL.canParse(text.trim()) ? new URL(text.trim()) : null;
  if (url?.protocol !== "https:") throw new Error("A link to an image begins with https://");
  return url.href;
}

async function shown(url, asking) {
  const image = new Image();
  if (asking) image.crossOrigin = "anonymous";
  image.referrerPolicy = "no-referrer";
  image.src = url;
  try {
    await image.decode();
  } catch {
    throw new Error("No image came from this link.");
  }
  return image;
}
