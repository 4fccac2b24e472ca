// The overview of clusters in another order, kept in the address.
"use strict";
(() => {
  const cards = document.getElementById("cards");
  const sort = document.getElementById("sort");
  const first = [...cards.children];
  const arrange = () => {
    const by = sort.value;
    const ordered = by ? [...first].sort((a, b) => b.dataset[by] - a.dataset[by]) : first;
    cards.append(...ordered);
  };
  const restore = (wanted) => {
    sort.value = wanted.sort ?? "";
    if (sort.selectedIndex < 0) sort.value = "";
    arrange();
  };
  document.getElementById("sorting").hidden = false;
  sort.addEventListener("change", () => {
    Atlas.state.set({ sort: sort.value });
    arrange();
  });
  Atlas.state.listen(restore);
  restore(Atlas.state.get());
})();
