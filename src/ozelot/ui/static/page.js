// Relative times grow older while a page is open; a button, or a click on one of them, shows the exact ones instead.
"use strict";
(() => {
  const KEPT = "ozelot-exact-times";
  const units = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  const button = document.querySelector(".exact");
  let isExact = false;
  try { isExact = localStorage.getItem(KEPT) === "yes"; } catch { /* then it is not kept */ }

  function ago(moment) {
    const seconds = (Date.now() - moment) / 1000;
    if (seconds < 0) return "in the future";
    if (seconds < 10) return "just now";
    const [size, name] = units.find(([size]) => seconds >= size);
    const number = Math.floor(seconds / size);
    return `${number.toLocaleString("en")} ${name}${number === 1 ? "" : "s"} ago`;
  }

  function show() {
    button.setAttribute("aria-pressed", isExact);
    for (const time of document.querySelectorAll("time")) {
      const relative = ago(Date.parse(time.dateTime));
      const exact = time.dataset.exact || (time.dataset.exact = time.title);
      time.textContent = isExact ? exact : relative;
      time.title = isExact ? relative : exact;
    }
  }

  function toggle() {
    isExact = !isExact;
    try { localStorage.setItem(KEPT, isExact ? "yes" : "no"); } catch { /* then it is not kept */ }
    show();
  }

  button.hidden = !document.querySelector("time");
  button.addEventListener("click", toggle);
  document.addEventListener("click", (event) => { if (event.target.closest("time")) toggle(); });
  if (isExact) show();
  setInterval(show, 30000);
})();
