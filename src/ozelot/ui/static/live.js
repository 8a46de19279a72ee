// Follows a run: boxes change as the server tells, and what the page says in numbers is asked for anew.
"use strict";
(() => {
  const PAUSE = 1000; // milliseconds between two times of asking
  const said = document.querySelector("[data-news]");
  let asking = false, again = false;

  // The parts of the page that are marked, as the server shows them now; what has the focus stays as it is.
  async function refresh() {
    if (asking) { again = true; return; }
    asking = true;
    try {
      const answer = await fetch(location.href);
      if (answer.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const old of document.querySelectorAll("[data-fresh]")) {
          const now = page.getElementById(old.id);
          if (now && !old.contains(document.activeElement) && now.innerHTML !== old.innerHTML) old.replaceWith(document.importNode(now, true));
        }
      }
    } catch {
      // The next change asks again, and that the server is gone is said below.
    }
    setTimeout(() => {
      asking = false;
      if (again) { again = false; refresh(); }
    }, PAUSE);
  }

  function follow(section, drawn) {
    let source = null, version = section.dataset.version, isLost = false;
    function tell(news) {
      if (news.trouble) {
        if (said) said.textContent = "What is shown is as it was: the database does not answer.";
        return;
      }
      if (news.trouble === false) {
        if (said) said.textContent = "";
        refresh();
        return;
      }
      if (news.reload) { location.reload(); return; }
      for (const [key, [state, words]] of Object.entries(news.tasks)) {
        const one = drawn.groups.get(key);
        if (!one) continue;
        Object.assign(one.box, { state, words });
        drawn.look(one);
      }
      for (const [name, known] of Object.entries(news.classes)) {
        const one = drawn.groups.get(`class:${name}`);
        if (!one) continue;
        Object.assign(one.box, one.box.parts ? known : { state: known.state, words: known.words });
        drawn.look(one);
      }
      refresh();
      if (said) said.textContent = `Last change at ${new Date().toISOString().slice(11, 19)} UTC`;
    }
    function open() {
      source = new EventSource(`/events?version=${version}`);
      source.onmessage = (event) => {
        version = event.lastEventId || version;
        tell(JSON.parse(event.data));
      };
      source.onopen = () => { if (isLost) location.reload(); }; // it may have been started anew
      source.onerror = () => {
        isLost = true;
        if (said) said.textContent = "What is shown is as it was: the server does not answer.";
      };
    }
    // A browser keeps few connections to one server: one that nobody looks at is given back.
    document.addEventListener("visibilitychange", () => {
      source.close();
      if (!document.hidden) open();
    });
    open();
  }

  for (const section of document.querySelectorAll("[data-version]")) {
    section.addEventListener("drawn", (event) => follow(section, event.detail));
  }
})();
