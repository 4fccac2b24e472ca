// What the pages of the atlas share: elements, addresses, the state in the address, data from scripts, downloads.
"use strict";
window.Atlas = (() => {
  const { lang, dataset } = document.documentElement;
  const { csv, readAddress, writeAddress, ...formats } = window.AtlasFormats(lang || undefined, { drawn: "synthetic" in dataset });
  // Addresses of what lies in the atlas: files at its root, which all languages share, and pages of this page's language.
  const asset = (path) => (dataset.root ?? "") + path;
  const page = (path) => (dataset.pages ?? dataset.root ?? "") + path;

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
  // A sentence with an element inside: gettext("%(n)s found", { n: Atlas.HERE }) -> [before, element, after].
  const HERE = "\ufffc";
  const within = (sentence, element) => {
    const [before, after] = sentence.split(HERE);
    return [before, element, after].filter((part) => part !== "");
  };

  // The address after "#": key=value pairs joined by "&". It follows each change at once, so that it never names a place that
  // the reader has left. Browsers refuse too many changes in a short time, so after a burst they are collected for a moment.
  const state = (() => {
    const BURST = 10;
    const PAUSE = 250; // milliseconds after which one more change may be written
    let allowed = BURST;
    let counted = performance.now();
    let waiting = null;
    let known = location.hash; // as last written here, or as the browser last reported it
    let timer = 0;
    const written = () => readAddress(location.hash);
    const drop = () => {
      clearTimeout(timer);
      timer = 0;
      waiting = null;
    };
    // An address that the reader chose is never overwritten by where the page was before. The browser reports the choice late
    // (hashchange): a timer, a scroll or the end of the page may come first, so the address itself is asked.
    const overtaken = () => location.hash !== known;
    const write = () => {
      if (overtaken()) drop();
      if (!waiting) return;
      const hash = writeAddress(waiting);
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

  // Data come in scripts, because a page opened from a disk may fetch nothing else. Those in data/ hold words, so each language has
  // its own; all others lie at the root.
  const loaded = new Map();
  const load = (src) => {
    if (!loaded.has(src)) {
      loaded.set(src, new Promise((resolve, reject) => {
        const script = el("script", { src: src.startsWith("data/") ? page(src) : asset(src) });
        script.addEventListener("load", () => resolve());
        script.addEventListener("error", () => {
          loaded.delete(src);
          reject(new Error(gettext("%(file)s is missing from this atlas. Copy the complete folder, or build the atlas again.", { file: src })));
        });
        document.head.append(script);
      }));
    }
    return loaded.get(src);
  };
  const images = () => load("data/images.js").then(() => window.ATLAS_IMAGES);
  // Where the pictures of a photograph lie: `src`, for a page that shows all of it, and `finer`, for AtlasViewer, where there is a
  // picture with more pixels, `side` of them a side.
  const picture = (id, side = 0) => ({ src: asset(`photographs/${id}.jpg`), finer: side ? asset(`plates/${id}.jpg`) : "", side });

  const download = (filename, text, type = "text/plain") => {
    const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
    const link = el("a", { href: address, download: filename, hidden: true });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  };
  // Rows are arrays of fields; the first row names the columns.
  const save = (filename, rows) => download(filename, csv(rows), "text/csv");

  // A link to the same page in another language keeps what the reader sees.
  const keep = (event) => {
    const link = event.target.closest?.("a[hreflang]");
    if (link) link.href = new URL(link.getAttribute("href"), location.href).pathname + location.search + location.hash;
  };
  for (const kind of ["click", "auxclick"]) document.addEventListener(kind, keep, true);

  // Shortcuts of a single key disturb people who use voice control: a switch at the foot of every page turns them off (WCAG 2.1.4).
  const remembered = () => {
    try { return localStorage.getItem("atlas-keys"); } catch { return null; }
  };
  let single = remembered() !== "off";
  document.addEventListener("DOMContentLoaded", () => {
    const button = el("button", { type: "button", class: "keys" });
    const label = () => { button.textContent = single ? gettext("Keyboard shortcuts: on") : gettext("Keyboard shortcuts: off"); };
    label();
    button.addEventListener("click", () => {
      single = !single;
      label();
      try { localStorage.setItem("atlas-keys", single ? "on" : "off"); } catch { /* a private window: the choice lasts for this page */ }
    });
    document.querySelector(".colophon")?.append(button);
  });
  // Whether the page's own shortcuts must not act: a control takes the key itself, or the shortcuts are off.
  const typing = (event) => event.altKey || event.ctrlKey || event.metaKey || (!single && /^\S$/.test(event.key))
    || Boolean(event.target.closest?.("select, textarea, [contenteditable], input:not([type=checkbox], [type=radio], [type=button])"));
  // Whether the reader asked for less motion.
  const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  return { ...formats, el, HERE, within, asset, page, state, load, images, picture, download, csv: save, typing, still };
})();
