// What the first paint must know: dark or light (the system's choice until the reader picks one), and whether edit mode is on.
"use strict";
(() => {
  const root = document.documentElement;
  const remembered = (what) => {
    try { return localStorage.getItem(what); } catch { return null; }
  };
  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const theme = remembered("atlas-theme");
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;
  if (remembered("atlas-edit") === "on") root.classList.add("editing"); // room for its drawer, which js/edit.js opens
  document.fonts.load("1em Literata"); // now, not when the first line of text is laid out
  const { ahead } = document.currentScript.dataset; // data that a script of the page will ask for
  if (ahead) document.head.append(Object.assign(document.createElement("link"), { rel: "preload", as: "script", href: ahead }));
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      try { localStorage.setItem("atlas-theme", root.dataset.theme); } catch { /* a private window: the choice lasts for this page */ }
      document.dispatchEvent(new Event("themechange"));
    });
  });
})();
