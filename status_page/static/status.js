// Optional: keeps an open page current and says so when it cannot. Everything works without it.
(() => {
  "use strict";
  const every = 30_000;
  const tooOld = 180_000;
  let tag = null;
  let seen = Date.now();

  const refresh = async () => {
    try {
      const answer = await fetch(location.pathname, {cache: "no-cache"});
      if (!answer.ok) throw new Error(String(answer.status));
      seen = Date.now();
      const next = answer.headers.get("ETag");
      if (tag !== null && next !== tag) replace(await answer.text());
      tag = next;
    } catch {
      // Said below, once it lasts.
    }
    document.getElementById("offline").hidden = Date.now() - seen < tooOld;
  };

  const replace = (html) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    const fresh = page.getElementById("status");
    const shown = document.getElementById("status");
    const open = [...shown.querySelectorAll("details")].map((details) => details.open);
    [...fresh.querySelectorAll("details")].forEach((details, index) => { details.open = open[index] ?? false; });
    const before = shown.querySelector("h1").textContent;
    shown.querySelectorAll(":scope > :not(.headline)").forEach((part) => part.remove());
    const headline = fresh.querySelector(".headline");
    const current = shown.querySelector(".headline");
    // The live region is touched only by news, so that a screen reader does not speak every half minute.
    if (before !== headline.querySelector("h1").textContent) {
      current.className = headline.className;
      current.replaceChildren(...headline.childNodes);
    }
    headline.remove();
    shown.append(...fresh.childNodes);
    document.title = page.title;
    const icon = 'link[rel="icon"]';
    document.querySelector(icon).href = page.querySelector(icon).href;
  };

  setInterval(refresh, every);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
})();
