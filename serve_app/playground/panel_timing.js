/** The times of the last requests, stage by stage. */

import { element } from "./dom.js";
import { milliseconds, TIERS, withUnit } from "./timing.js";

const SHOWN = 8;

export function timingPanel(latest, table) {
  const rows = [];
  return (timing) => {
    rows.unshift(timing);
    rows.length = Math.min(rows.length, SHOWN);
    latest.replaceChildren(...bars(timing));
    table.replaceChildren(
      ...rows.map(({ route, tier, total, roundTrip }) =>
        element("tr", {},
          element("th", { scope: "row" }, route.replace("/sam3/", "")),
          element("td", {}, tier ? element("span", { class: `tier tier-${tier}` }, tier) : "–"),
          element("td", {}, milliseconds(total)),
          element("td", {}, milliseconds(roundTrip))),
      ),
    );
  };
}

/** "hot · 12 ms" */
export function summary({ tier, total, roundTrip }) {
  return `${tier ? `${tier} · ` : ""}server ${withUnit(total)} · round trip ${withUnit(roundTrip)}`;
}

function bars({ stages, total, tier, route }) {
  const longest = Math.max(total, ...stages.map(([, duration]) => duration), 0.001);
  return [
    element("p", { class: "timing-title" }, element("code", {}, route), ` ${withUnit(total)}`),
    element("p", { class: "hint" }, tier ? `Image: ${tier} (${TIERS[tier] ?? "unknown"})` : "No image was looked up"),
    ...stages.map(([name, duration]) => {
      const bar = element("span", { class: "bar" });
      bar.style.setProperty("--part", `${(duration / longest) * 100}%`);
      return element("div", { class: "stage-row" },
        element("span", {}, name), element("span", { class: "track", "aria-hidden": "true" }, bar), element("span", {}, withUnit(duration)));
    }),
  ];
}
