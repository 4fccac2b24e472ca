// A photograph that is zoomed and moved: wheel, pinch, drag, double click, and keys while it has the focus.
//
// AtlasViewer.attach(figure, {onView}) takes an element that holds `.mat > .layer`; the layer holds the photograph (the first
// img) and whatever lies over it, which moves along. It returns
//   view()                 {x, y, scale}: the point of the plate in the middle of the mat, as shares 0..1 of its width and
//                          height, and how many times the plate is enlarged; 1 shows all of it
//   setView({x, y, scale}) moves there; values that are missing stay, and the view never leaves the plate
//   reset()                shows all of the plate
//   couple(other)          from now on both show the same place; returns a function that uncouples them
//   at(event)              the point of the plate under a pointer event, {x, y} as shares; beyond 0..1 off the plate
//   hold(yes)              while held, the first finger or button does not move the plate: something else draws with it
//   show({src, finer, side})  another photograph, as of Atlas.picture
// onView(view) is called after each change. The layer carries the enlargement as --zoom, for lines that keep their width.
// A photograph may have a finer picture, of `side` pixels a side: data-finer and data-side on the page. It takes the photograph's
// place as soon as the screen can show more pixels than the photograph has, and the zoom reaches its pixels from the start.
"use strict";
(() => {
  const STEP = 1.5;
  const DETAIL = 8; // at most so many pixels of the screen for one of the photograph
  const SLACK = 4; // pixels that a finger may slip before a press becomes a drag
  const PAUSE = 300; // milliseconds without scrolling, after which the wheel may mean the plate
  const known = new WeakMap();
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  // The wheel goes on doing what it began with: a page that scrolls past a plate goes on scrolling, and a plate that is zoomed out
  // completely does not start to scroll the page.
  let scrolled = -Infinity;
  addEventListener("scroll", () => { scrolled = performance.now(); }, { passive: true, capture: true });

  const attach = (figure, { onView } = {}) => {
    if (known.has(figure)) return known.get(figure);
    const mat = figure.matches(".mat") ? figure : figure.querySelector(".mat");
    const layer = mat.querySelector(".layer");
    const photograph = layer.querySelector("img");
    const view = { x: 0.5, y: 0.5, scale: 1 };
    const partners = new Set();
    let held = false;
    let wheeled = -Infinity;

    // ---- the finer picture ----
    let finer = null; // while it is not shown: {src, side, picture: where it is being loaded, wanted: to be shown once it is}
    let side = 0; // pixels of the finest picture there is, where that is known before it is loaded
    const detail = () => side || photograph?.naturalWidth || 0;
    const own = () => Math.max(DETAIL, (DETAIL * detail()) / (mat.clientWidth || 1));
    const most = () => Math.max(own(), ...[...partners].map((partner) => partner.most())); // coupled plates go equally far
    const fetched = (one) => {
      one.picture = one.picture ?? Object.assign(new Image(), { src: one.src });
      return one.picture;
    };
    const sharpen = () => {
      const one = finer;
      if (!one || one.wanted || !photograph.complete || !photograph.naturalWidth) return;
      if (view.scale * mat.clientWidth * devicePixelRatio <= photograph.naturalWidth) return;
      one.wanted = true;
      fetched(one).decode().then(() => {
        if (finer !== one) return; // another photograph is shown meanwhile
        finer = null;
        photograph.decoding = "sync"; // in one frame, without a gap
        photograph.src = one.src;
      }, () => { /* a copy of the atlas without its plates: the photograph stays */ });
    };
    const know = (src, pixelsASide) => {
      finer = src ? { src, side: pixelsASide, picture: null, wanted: false } : null;
      side = pixelsASide || 0;
    };
    // It is fetched while the page is idle, so that the first zoom need not wait for it, and decoded only when it is needed.
    const settled = () => {
      draw();
      const one = finer;
      if (one) (window.requestIdleCallback ?? ((act) => setTimeout(act, 200)))(() => { if (finer === one) fetched(one); });
    };
    addEventListener("resize", () => draw());

    const bar = document.createElement("div");
    bar.className = "zoom";
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", gettext("Zoom"));
    const press = (text, label, key, act) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: text, title: `${label} (${key})` });
      button.setAttribute("aria-label", label);
      button.addEventListener("click", act);
      bar.append(button);
      return button;
    };
    const out = press("−", gettext("Zoom out"), "−", () => zoom(1 / STEP));
    const readout = bar.appendChild(document.createElement("output"));
    readout.setAttribute("aria-live", "off");
    const closer = press("+", gettext("Zoom in"), "+", () => zoom(STEP));
    const whole = press(gettext("Fit"), gettext("Fit: show the full photograph"), "0", () => reset());
    for (const event of ["pointerdown", "dblclick"]) bar.addEventListener(event, (e) => e.stopPropagation());
    mat.append(bar);

    const draw = () => {
      const { x, y, scale } = view;
      layer.style.transform = scale === 1 ? "" : `translate(${(0.5 - x * scale) * 100}%, ${(0.5 - y * scale) * 100}%) scale(${scale})`;
      layer.style.setProperty("--zoom", scale);
      layer.classList.toggle("crisp", detail() > 0 && scale * mat.clientWidth > 3 * detail());
      mat.classList.toggle("zoomed", scale > 1);
      readout.value = gettext("%(times)s×", { times: Atlas.number(scale, 1) });
      out.disabled = whole.disabled = scale <= 1;
      closer.disabled = scale >= most() - 1e-9;
      sharpen();
    };

    const move = (wanted, glide, seen = new Set()) => {
      seen.add(controller);
      const scale = clamp(wanted.scale ?? view.scale, 1, most());
      const half = 0.5 / scale;
      const next = { x: clamp(wanted.x ?? view.x, half, 1 - half), y: clamp(wanted.y ?? view.y, half, 1 - half), scale };
      const moved = next.x !== view.x || next.y !== view.y || next.scale !== view.scale;
      Object.assign(view, next);
      mat.classList.toggle("gliding", Boolean(glide));
      if (moved) {
        draw();
        onView?.({ ...view });
      }
      for (const partner of partners) if (!seen.has(partner)) partner.follow({ ...view }, glide, seen);
      return moved;
    };

    // A place on the mat, in shares from its middle.
    const offset = (event) => {
      const area = mat.getBoundingClientRect();
      const left = area.left + mat.clientLeft, top = area.top + mat.clientTop;
      return { u: (event.clientX - left) / mat.clientWidth - 0.5, v: (event.clientY - top) / mat.clientHeight - 0.5 };
    };
    const zoom = (factor, { u, v } = { u: 0, v: 0 }, glide = true) => {
      const scale = clamp(view.scale * factor, 1, most());
      return move({ scale, x: view.x + u / view.scale - u / scale, y: view.y + v / view.scale - v / scale }, glide);
    };
    const reset = () => move({ x: 0.5, y: 0.5, scale: 1 }, true);

    mat.addEventListener("wheel", (event) => {
      const towards = event.deltaY < 0;
      const turning = performance.now() - wheeled < PAUSE;
      const passing = !event.ctrlKey && view.scale === 1 && !turning && (!towards || performance.now() - scrolled < PAUSE);
      if (passing || !event.deltaY) return; // the page scrolls on
      wheeled = performance.now();
      event.preventDefault();
      const pixels = event.deltaY * [1, 16, 400][event.deltaMode];
      zoom(Math.exp(-clamp(pixels, -300, 300) * (event.ctrlKey ? 0.01 : 0.002)), offset(event), false);
    }, { passive: false });

    mat.addEventListener("dblclick", (event) => {
      if (held || event.target.closest("a, button, input")) return;
      event.preventDefault();
      if (event.shiftKey) zoom(1 / STEP ** 2, offset(event));
      else if (view.scale >= most() - 1e-9) reset();
      else zoom(STEP ** 2, offset(event));
    });

    const fingers = new Map();
    let pressed = null; // where one finger or button went down: nothing moves until it has left the slack
    let dragged = false;
    const middle = () => {
      const places = [...fingers.values()];
      const sum = places.reduce((s, p) => ({ u: s.u + p.u, v: s.v + p.v }), { u: 0, v: 0 });
      const [a, b] = places;
      const apart = b ? Math.hypot((a.u - b.u) * mat.clientWidth, (a.v - b.v) * mat.clientHeight) : 0;
      return { u: sum.u / places.length, v: sum.v / places.length, apart };
    };
    mat.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && event.button > 1) return;
      if (event.button === 1) event.preventDefault();
      fingers.set(event.pointerId, offset(event));
      if (fingers.size === 1) {
        dragged = false;
        pressed = held && event.button === 0 ? null : { x: event.clientX, y: event.clientY };
      } else {
        for (const id of fingers.keys()) mat.setPointerCapture(id);
        dragged = true;
      }
    });
    addEventListener("pointermove", (event) => { // of the window: a quick drag has left the plate by its first move
      if (!fingers.has(event.pointerId)) return;
      const before = middle();
      fingers.set(event.pointerId, offset(event));
      const now = middle();
      if (fingers.size === 1) {
        if (!pressed || view.scale === 1) return;
        if (!dragged && Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) < SLACK) return;
        if (!dragged) {
          dragged = true;
          mat.setPointerCapture(event.pointerId);
          mat.classList.add("dragging");
        }
      }
      const factor = fingers.size > 1 && before.apart > 0 ? now.apart / before.apart : 1;
      const scale = clamp(view.scale * factor, 1, most());
      move({ scale, x: view.x + before.u / view.scale - now.u / scale, y: view.y + before.v / view.scale - now.v / scale }, false);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      addEventListener(end, (event) => {
        if (!fingers.delete(event.pointerId)) return;
        if (!fingers.size) {
          mat.classList.remove("dragging");
          pressed = null;
        }
      });
    }
    mat.addEventListener("click", (event) => { // the press that ends a drag opens no link
      if (!dragged) return;
      dragged = false;
      event.preventDefault();
      event.stopPropagation();
    }, true);
    mat.addEventListener("dragstart", (event) => event.preventDefault());

    mat.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented || event.target.closest("input, select, textarea")) return;
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      let done = false;
      if (event.key === "+" || event.key === "=") done = zoom(STEP) || true;
      else if (event.key === "-" || event.key === "_") done = zoom(1 / STEP) || true;
      else if (event.key === "0") done = reset() || true;
      else if (way && view.scale > 1) { // without zoom the arrow keys belong to the page
        const far = 0.15 / view.scale;
        done = move({ x: view.x + way[0] * far, y: view.y + way[1] * far }, true) || true;
      }
      if (done) event.preventDefault();
    });

    if (!mat.hasAttribute("tabindex")) mat.tabIndex = 0;
    if (!mat.hasAttribute("role")) mat.setAttribute("role", "group");
    if (!mat.hasAttribute("aria-label")) mat.setAttribute("aria-label", gettext("Photograph. Keys: plus and minus zoom, arrows move, 0 shows the full photograph."));

    const controller = {
      view: () => ({ ...view }),
      setView: (wanted, { glide = false } = {}) => { move(wanted, glide); },
      reset: () => { reset(); },
      couple(other) {
        partners.add(other);
        other.partner(controller, true);
        other.follow({ ...view }, false, new Set([controller]));
        return () => {
          partners.delete(other);
          other.partner(controller, false);
        };
      },
      at(event) { // as the plate is seen, also on its way to another view
        const area = layer.getBoundingClientRect();
        return { x: (event.clientX - area.left) / area.width, y: (event.clientY - area.top) / area.height };
      },
      hold(yes) {
        held = Boolean(yes);
        mat.classList.toggle("held", held);
      },
      show(picture) {
        know(picture.finer, picture.side);
        photograph.src = picture.src;
        draw();
      },
      most: own, // these three are for couple alone
      follow: (wanted, glide, seen) => move(wanted, glide, seen),
      partner: (other, yes) => { partners[yes ? "add" : "delete"](other); },
    };
    known.set(figure, controller);
    if (photograph) {
      know(photograph.dataset.finer, Number(photograph.dataset.side));
      photograph.addEventListener("load", settled);
      if (photograph.complete && photograph.naturalWidth) settled();
    }
    draw();
    return controller;
  };

  window.AtlasViewer = { attach };
})();
