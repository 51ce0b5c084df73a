/** Dark or light theme: the user's choice, or else the system's. Runs before the page is drawn, so that it does not flash. */
{
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => {
    try {
      return localStorage.getItem("sam3-theme");
    } catch {
      return null; // storage may be off
    }
  };
  if (stored()) root.dataset.theme = stored();
  globalThis.toggleTheme = () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
    root.dataset.theme = dark ? "light" : "dark";
    try {
      localStorage.setItem("sam3-theme", root.dataset.theme);
    } catch {
      // Without storage, the choice lasts as long as the page.
    }
    return root.dataset.theme;
  };
}
