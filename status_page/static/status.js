// Optional: keeps an open page current and says so when it cannot. Everything works without it.
(() => {
  "use strict";
  const every = 30_000;
  const tooOld = 180_000;
  const steps = "a, summary";
  let tag = null;
  let seen = Date.now();

  const refresh = async () => {
    try {
      const answer = await fetch(location.pathname, {cache: "no-cache"});
      if (!answer.ok) throw new Error(String(answer.status));
      seen = Date.now();
      const next = answer.headers.get("ETag");
      if (next !== tag) show(new DOMParser().parseFromString(await answer.text(), "text/html"));
      tag = next;
    } catch {
      // Told below, once it lasts.
    }
    document.getElementById("offline").hidden = Date.now() - seen < tooOld;
  };

  const show = (page) => {
    const shown = document.getElementById("status");
    const fresh = page.getElementById("status");
    const open = [...shown.querySelectorAll("details")].map((details) => details.open);
    const focused = [...shown.querySelectorAll(steps)].indexOf(document.activeElement);
    const before = shown.querySelector("h1").textContent;
    fresh.querySelectorAll("details").forEach((details, index) => { details.open = open[index] ?? false; });
    shown.replaceChildren(...fresh.childNodes);
    shown.querySelectorAll(steps)[focused]?.focus({preventScroll: true});
    // Spoken by a screen reader only when there is news.
    const headline = shown.querySelector("h1").textContent;
    if (headline !== before) document.getElementById("news").textContent = headline;
    document.title = page.title;
    const icon = 'link[rel="icon"]';
    document.querySelector(icon).href = page.querySelector(icon).href;
  };

  setInterval(refresh, every);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
})();
