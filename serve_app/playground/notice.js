/** Messages of the page: visible ones in a notice on the stage, others for screen readers in a live region. */

import { byId, setText } from "./dom.js";

let action = null;

/**
 * A notice with an optional button; it stays until it is dismissed or another takes its place. kind: "error"; "hint"; or
 * "warning", which only the user takes away.
 */
export function notify(text, { label = "", run = null, kind = "error" } = {}) {
  const notice = byId("notice");
  notice.dataset.kind = kind;
  setText(byId("notice-text"), text);
  byId("notice-action").hidden = !label;
  setText(byId("notice-action"), label);
  action = run;
  notice.hidden = false;
}

export function dismiss() {
  if (byId("notice").dataset.kind !== "warning") close();
}

function close() {
  byId("notice").hidden = true;
}

/** Take a hint away, but no error. */
export function dismissHint() {
  if (byId("notice").dataset.kind === "hint") dismiss();
}

/** Announce a text to screen readers, without interrupting them. */
export function announce(text) {
  setText(byId("live"), text);
}

export function listenToNotice() {
  byId("notice-close").addEventListener("click", close);
  byId("notice-action").addEventListener("click", () => {
    close();
    action?.();
  });
}
