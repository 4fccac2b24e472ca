// Dark or light: the system's choice until the reader picks one. Runs before the first paint.
"use strict";
(() => {
  const root = document.documentElement;
  const remembered = () => {
    try { return localStorage.getItem("atlas-theme"); } catch { return null; }
  };
  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const theme = remembered();
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      try { localStorage.setItem("atlas-theme", root.dataset.theme); } catch { /* a private window: the choice lasts for this page */ }
      document.dispatchEvent(new Event("themechange"));
    });
  });
})();
