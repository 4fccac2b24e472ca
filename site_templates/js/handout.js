// A handout's one control.
"use strict";
document.querySelector("[data-print]").addEventListener("click", () => print());
