// The figures of agreement, drawn again by Plotly when a reader asks for the numbers under the pointer. Each drawing is JSON next to
// its place on the page, with theme colours as names of CSS variables.
"use strict";
(() => {
  const library = document.currentScript.dataset.library;
  const paper = { 1: 680, 2: 330, 3: 220 }; // widths in pixels of one, two or three panels side by side on a sheet
  const panels = [...document.querySelectorAll(".plot")].map((plot) => ({
    plot,
    text: plot.nextElementSibling.textContent,
    width: paper[Number(plot.closest(".panels").className.match(/across-(\d)/)[1])],
  }));
  const probe = document.body.appendChild(Object.assign(document.createElement("i"), { hidden: true }));

  const colour = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const draw = (printing) => {
    probe.style.colorScheme = printing ? "light" : "";
    const seen = new Map();
    const themed = (key, value) => {
      if (typeof value !== "string" || !value.startsWith("--")) return value;
      if (!seen.has(value)) seen.set(value, colour(value));
      return seen.get(value);
    };
    const style = getComputedStyle(document.documentElement);
    const base = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: colour("--ink"), family: style.getPropertyValue("--sans").trim(), size: 12 } };
    for (const { plot, text, width } of panels) {
      const { data, layout } = JSON.parse(text, themed);
      plot.querySelector(":scope > svg")?.remove();
      plot.style.height = `${layout.height}px`;
      Plotly.react(plot, data, { ...layout, ...base, ...(printing ? { width } : {}) }, { responsive: true, displayModeBar: false });
    }
  };

  const begin = () => {
    const print = matchMedia("print");
    const again = () => draw(print.matches);
    again();
    for (const asked of document.querySelectorAll(".asked")) asked.textContent = asked.dataset.done;
    document.addEventListener("themechange", again);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    print.addEventListener("change", again);
    addEventListener("beforeprint", () => draw(true));
    addEventListener("afterprint", () => draw(false));
  };
  for (const asked of document.querySelectorAll(".asked")) {
    asked.hidden = false;
    const button = asked.firstElementChild;
    button.addEventListener("click", () => {
      for (const one of document.querySelectorAll(".asked button")) one.disabled = true;
      document.head.append(Object.assign(document.createElement("script"), { src: library, onload: begin }));
    });
  }
})();
