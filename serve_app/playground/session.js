/** The API key, kept only while the tab is open: never in a URL, never in lasting storage. */

const NAME = "sam3-api-key";

export function apiKey() {
  return sessionStorage.getItem(NAME) ?? "";
}

export function setApiKey(key) {
  if (key) sessionStorage.setItem(NAME, key);
  else sessionStorage.removeItem(NAME);
}
