/** The API key, for as long as the tab is open and no longer: never in a URL, never in lasting storage. */

const NAME = "sam3-api-key";

export function apiKey() {
  return sessionStorage.getItem(NAME) ?? "";
}

export function setApiKey(key) {
  if (key) sessionStorage.setItem(NAME, key);
  else sessionStorage.removeItem(NAME);
}
