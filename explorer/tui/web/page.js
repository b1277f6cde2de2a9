// Keys go to the terminal from the start, and whenever the page is clicked or comes back.
"use strict";
const takeKeys = () => document.querySelector(".xterm-helper-textarea")?.focus();
addEventListener("DOMContentLoaded", () => {
  const ready = new MutationObserver(() => {
    // Not before the connection is open: the terminal tells the app of it.
    if (document.body.classList.contains("-loaded")) {
      ready.disconnect();
      takeKeys();
    }
  });
  ready.observe(document.body, { attributes: true });
});
addEventListener("focus", takeKeys);
addEventListener("click", takeKeys);
