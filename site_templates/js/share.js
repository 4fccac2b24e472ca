// "Copy link": an address that works in every copy of the atlas's folder, because it begins at the folder and not at a disk. Pasted
// on any page, or into a search field, it opens.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("share");
  const told = document.body.appendChild(Atlas.el("div", { class: "copied", role: "status" }));
  let timer = 0;

  const root = new URL(document.documentElement.dataset.root || "./", location.href);
  const link = () => location.href.slice(root.href.length).replace(/^(?=#|$)/, "index.html");
  const say = (copied, text) => {
    const code = document.body.dataset.code;
    told.replaceChildren(
      Atlas.el("p", {}, copied ? gettext("Copied. It works in every copy of this atlas:") : gettext("Copy this. It works in every copy of this atlas:")),
      Atlas.el("input", { type: "text", readonly: true, value: text, "aria-label": gettext("Link within the atlas") }),
      Atlas.el("p", {}, gettext("To open it, paste it on any page of the atlas, or type it after the folder of the atlas in the address bar.")),
      code && Atlas.el("p", {}, Atlas.within(gettext("Code of this plate, for the search on the page “Find”: %(code)s", { code: Atlas.HERE }), Atlas.el("code", {}, code))),
      Atlas.el("button", { type: "button", class: "button quiet", onclick: () => { close(); button.focus(); } }, gettext("Close")),
    );
    if (!copied) told.querySelector("input").select();
    clearTimeout(timer);
    timer = setTimeout(() => { if (!told.contains(document.activeElement) && !told.matches(":hover")) close(); }, 12000);
  };
  const close = () => {
    clearTimeout(timer);
    told.replaceChildren();
  };

  document.addEventListener("paste", (event) => {
    const text = event.clipboardData.getData("text").trim();
    const field = event.target.closest?.("input, textarea, [contenteditable]");
    if ((field && field.type !== "search") || !/^(?:[\w-]+\/)*[\w-]+\.html(?:#\S*)?$/.test(text)) return;
    event.preventDefault();
    location.assign(new URL(text, root));
  });

  button.addEventListener("click", () => {
    const text = link();
    if (!navigator.clipboard) say(false, text);
    else navigator.clipboard.writeText(text).then(() => say(true, text), () => say(false, text));
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && told.hasChildNodes()) close();
  });
});
