/** The times of an answer, from its Server-Timing header. */

/** @returns {{stages: [string, number][], total: number, tier: string}} milliseconds; tier: the image's cache tier */
export function parseServerTiming(header) {
  const stages = [];
  let total = 0;
  let tier = "";
  for (const entry of header.split(",")) {
    const [name, ...parameters] = entry.trim().split(";");
    const values = Object.fromEntries(parameters.map((parameter) => parameter.split("=")));
    if (name === "total") total = Number(values.dur);
    else if (name === "tier") tier = values.desc;
    else if (values.dur !== undefined) stages.push([name, Number(values.dur)]);
  }
  return { stages, total, tier };
}

/** Descriptions of the tiers for users. */
export const TIERS = {
  hot: "in the decoder's memory",
  warm: "in the object store",
  cold: "encoded again from the kept file",
  miss: "new: encoded now",
  joined: "waited for another request's encode",
};

export function milliseconds(value) {
  return value < 10 ? value.toFixed(1) : value < 1000 ? value.toFixed(0) : `${(value / 1000).toFixed(1)} s`;
}

export function withUnit(value) {
  return value < 1000 ? `${milliseconds(value)} ms` : milliseconds(value);
}
