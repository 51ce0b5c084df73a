/** Messages of the page: visible ones in a notice on the stage, others for screen readers in a live region. */

import { byId, setText } from "./dom.js";

let action = null;

/** A notice with an optional button; it stays until it is dismissed or another takes its place. */
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
  byId("notice-close").addEventListener("click", dismiss);
  byId("notice-action").addEventListener("click", () => {
    dismiss();
    action?.();
  });
}
