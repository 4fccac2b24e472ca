// What the pages of the atlas share: elements, numbers, the state in the address, data from scripts, downloads.
"use strict";
window.Atlas = (() => {
  const root = document.documentElement.dataset.root ?? "";

  // el("a", { href, class: "thumb", onclick: f, style: { "--grade": c }, dataset: { id } }, "text", node, [more]) -> element.
  // False, null and undefined leave an attribute or a child out; "svg:rect" draws.
  const el = (tag, attributes = {}, ...children) => {
    const made = tag.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4)) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes ?? {})) {
      if (value === null || value === undefined || value === false) continue;
      if (typeof value === "function") made.addEventListener(name.replace(/^on/, ""), value);
      else if (name === "style" && typeof value === "object") for (const [key, one] of Object.entries(value)) made.style.setProperty(key, one);
      else if (name === "dataset") Object.assign(made.dataset, value);
      else made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return made;
  };

  // A number as printed: a true minus sign, never a negative zero, a dash where there is none.
  const number = (value, digits = 2) => {
    if (value === null || value === undefined || !Number.isFinite(value)) return "–";
    const text = value.toFixed(digits);
    return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
  };
  // The same with its sign, for differences.
  const signed = (value, digits = 2) => {
    const text = number(value, digits);
    return /^[−–]/.test(text) || !/[1-9]/.test(text) ? text : `+${text}`;
  };
  // As many digits as show two that tell: what one of many small places weighs is small.
  const telling = (value) => Math.min(6, Math.max(2, 1 - Math.floor(Math.log10(Math.abs(value) || 1))));
  const fine = (value) => signed(value, telling(value));
  // A whole number, its thousands parted by narrow spaces that do not break.
  const count = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");

  // The address after "#": key=value pairs joined by "&". It follows each change at once, so that it never names a place that
  // the reader has left; but browsers refuse a torrent of changes, so after a burst they are gathered for a moment.
  const state = (() => {
    const BURST = 10;
    const PAUSE = 250; // milliseconds after which one more change may be written
    let allowed = BURST;
    let counted = performance.now();
    let waiting = null;
    let known = location.hash; // as last written here, or last told by the browser
    let timer = 0;
    const decoded = (text) => {
      try { return decodeURIComponent(text.replace(/\+/g, " ")); } catch { return text; }
    };
    const written = () => {
      const pairs = location.hash.slice(1).split("&").filter((pair) => pair.indexOf("=") > 0);
      return Object.fromEntries(pairs.map((pair) => pair.split(/=(.*)/s, 2).map(decoded)));
    };
    const coded = (text) => encodeURIComponent(text).replace(/%2C/g, ",").replace(/%20/g, "+");
    const drop = () => {
      clearTimeout(timer);
      timer = 0;
      waiting = null;
    };
    // An address that the reader chose is never overwritten by what the page was at before. The browser tells of the choice late
    // (hashchange): a timer, a scroll or the end of the page may come first, so the address itself is asked.
    const overtaken = () => location.hash !== known;
    const write = () => {
      if (overtaken()) drop();
      if (!waiting) return;
      const hash = Object.keys(waiting).map((key) => `${coded(key)}=${coded(waiting[key])}`).join("&");
      drop();
      if (hash === location.hash.slice(1)) return;
      allowed -= 1;
      history.replaceState(history.state, "", hash ? `#${hash}` : location.pathname + location.search);
      known = location.hash;
    };
    addEventListener("pagehide", write);
    addEventListener("hashchange", () => {
      drop();
      known = location.hash;
    });
    return {
      // All pairs, as strings.
      get: () => ({ ...(overtaken() ? written() : waiting ?? written()) }),
      // Set the given keys and keep the others; null, undefined and "" remove a key.
      set: (pairs) => {
        if (overtaken()) return;
        waiting = waiting ?? written();
        for (const [key, value] of Object.entries(pairs)) {
          delete waiting[key];
          if (value !== null && value !== undefined && value !== "") waiting[key] = String(value);
        }
        const now = performance.now();
        allowed = Math.min(BURST, allowed + (now - counted) / PAUSE);
        counted = now;
        if (allowed >= 1) write();
        else if (!timer) timer = setTimeout(write, (1 - allowed) * PAUSE);
      },
      // Call back where the reader changes the address: a pasted link, back, forward.
      listen: (heard) => addEventListener("hashchange", () => {
        if (location.hash === "" || location.hash.includes("=")) heard(written());
      }),
    };
  })();

  // Data travel in scripts, for pages opened from a disk may fetch nothing else. `src` is a path from the site's root.
  const loaded = new Map();
  const load = (src) => {
    if (!loaded.has(src)) {
      loaded.set(src, new Promise((resolve, reject) => {
        const script = el("script", { src: root + src });
        script.addEventListener("load", () => resolve());
        script.addEventListener("error", () => {
          loaded.delete(src);
          reject(new Error(`${src} is missing from this atlas; copy the whole folder, or build it again`));
        });
        document.head.append(script);
      }));
    }
    return loaded.get(src);
  };
  const images = () => load("data/images.js").then(() => window.ATLAS_IMAGES);
  // Where the pictures of a photograph lie: `src`, fine enough for a page that shows it whole; where its plate has `side` pixels a
  // side, more than that, `finer`, for AtlasViewer.
  const picture = (id, side = 0) => ({ src: `${root}photographs/${id}.jpg`, finer: side ? `${root}plates/${id}.jpg` : "", side });

  const download = (filename, text, type = "text/plain") => {
    const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
    const link = el("a", { href: address, download: filename, hidden: true });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  };
  // Words that a spreadsheet would take for a formula get an apostrophe before them.
  const field = (value) => {
    if (value === null || value === undefined) return "";
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) && Number.isNaN(Number(value)) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  // Rows are arrays of fields; the first row names the columns.
  const csv = (filename, rows) => download(filename, rows.map((row) => row.map(field).join(",") + "\r\n").join(""), "text/csv");

  // Keys of one character disturb those who steer by voice: a switch at the foot of every page turns them off (WCAG 2.1.4).
  const remembered = () => {
    try { return localStorage.getItem("atlas-keys"); } catch { return null; }
  };
  let single = remembered() !== "off";
  document.addEventListener("DOMContentLoaded", () => {
    const button = el("button", { type: "button", class: "keys", "aria-pressed": String(single) }, "Keys of one letter");
    button.addEventListener("click", () => {
      single = !single;
      button.setAttribute("aria-pressed", String(single));
      try { localStorage.setItem("atlas-keys", single ? "on" : "off"); } catch { /* a private window: the choice lasts for this page */ }
    });
    document.querySelector(".colophon")?.append(button);
  });
  // Whether the page's own keys must hold still: the press belongs to a control that takes it, or keys of one letter are off.
  const typing = (event) => event.altKey || event.ctrlKey || event.metaKey || (!single && /^\S$/.test(event.key))
    || Boolean(event.target.closest?.("select, textarea, [contenteditable], input:not([type=checkbox], [type=radio], [type=button])"));
  // Whether the reader asked for less motion.
  const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  return { root, el, number, signed, fine, count, state, load, images, picture, download, csv, typing, still };
})();
