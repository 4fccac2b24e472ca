// The patch map: one trace per cluster or grade; the patch under the pointer stands in the card, a press opens its report.
"use strict";
(() => {
  const data = window.ATLAS_MAP;
  const plot = document.getElementById("map");
  const card = { link: document.getElementById("card-link"), picture: document.getElementById("card-picture"), text: document.getElementById("card-text") };
  // Okabe and Ito's eight colour-blind-safe hues; the symbol changes when they run out.
  const hues = ["#e69f00", "#56b4e9", "#009e73", "#d0c000", "#0072b2", "#d55e00", "#cc79a7", "#8a8a8a"];
  const symbols = ["circle", "diamond", "square", "triangle-up", "cross"];
  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const ink = () => getComputedStyle(document.body).color;

  const chosen = () => document.querySelector("[name=colour]:checked")?.value ?? (data.cluster.some((c) => c !== null) ? "cluster" : "grade");
  const groups = (by) => {
    const members = new Map();
    data.patch.forEach((_, i) => {
      const key = by === "cluster" ? data.cluster[i] : data.plates.grade[data.plate[i]];
      if (!members.has(key)) members.set(key, []);
      members.get(key).push(i);
    });
    return [...members].sort(([a], [b]) => (a ?? Infinity) - (b ?? Infinity));
  };
  const look = (by, key) => {
    if (key === null) return { name: by === "cluster" ? "patches" : "not graded", color: "#8a8a8a", symbol: "circle-open" };
    if (by === "cluster") return { name: `Cluster ${key}`, color: hues[(key - 1) % hues.length], symbol: symbols[Math.floor((key - 1) / hues.length) % symbols.length] };
    const grade = data.grades.find((g) => g.number === key);
    return { name: `${grade.number} ${grade.name}`.replace(/</g, "&lt;"), color: grade.colour, symbol: "circle" };
  };
  const narrow = () => plot.clientWidth < 600;
  const size = Math.max(4, Math.min(9, 220 / Math.sqrt(data.patch.length)));

  const draw = () => {
    const by = chosen();
    const traces = groups(by).map(([key, members]) => {
      const { name, color, symbol } = look(by, key);
      return {
        type: "scatter", mode: "markers", name, customdata: members, hoverinfo: "none",
        x: members.map((i) => data.x[i]), y: members.map((i) => data.y[i]),
        marker: { color, symbol, size, opacity: 0.85, line: { width: 0 } },
      };
    });
    const bare = { visible: false, fixedrange: false };
    const layout = {
      margin: { l: 0, r: 0, t: 0, b: 0 }, hovermode: "closest", hoverdistance: 12, dragmode: "zoom", uirevision: "kept",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink(), family: token("--sans") },
      xaxis: bare, yaxis: { ...bare, scaleanchor: "x" },
      legend: narrow() ? { orientation: "h", y: 0, yanchor: "top", itemsizing: "constant" } : { y: 1, itemsizing: "constant" },
    };
    return Plotly.react(plot, traces, layout, { responsive: true, displaylogo: false, scrollZoom: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "toImage"] });
  };

  const show = (i) => {
    const { id, number, label, grade, severity } = data.plates;
    const plate = data.plate[i];
    card.picture.src = `patches/${data.patch[i]}.jpg`;
    card.picture.alt = `Patch of plate ${number[plate]}`;
    card.picture.hidden = false;
    card.link.href = `images/${id[plate]}.html#${data.patch[i]}`;
    const named = data.grades.find((g) => g.number === grade[plate]);
    const lines = [
      `Plate ${number[plate]}` + (label[plate] === id[plate] ? "" : `, ${label[plate]}`),
      `Left out, the score changes by ${(-data.drop[i]).toFixed(2).replace("-", "−")} grades.`,
      `Score ${severity[plate].toFixed(2)}` + (named ? `, human grade ${named.number} ${named.name}` : ""),
      data.cluster[i] === null ? "" : `Cluster ${data.cluster[i]}`,
    ];
    card.text.replaceChildren(...lines.filter(Boolean).map((line) => Object.assign(document.createElement("span"), { textContent: line })));
  };

  draw().then(() => {
    const touch = matchMedia("(pointer: coarse)").matches;
    plot.on("plotly_hover", (event) => show(event.points[0].customdata));
    plot.on("plotly_click", (event) => {
      show(event.points[0].customdata);
      if (!touch) location.href = card.link.href; // by touch the first press shows the patch, the card opens it
    });
    show(data.drop.indexOf(Math.max(...data.drop))); // the strongest patch, until the pointer finds another
    plot.dataset.ready = "yes";
  });
  document.getElementById("colouring")?.addEventListener("change", draw);
  document.addEventListener("themechange", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
