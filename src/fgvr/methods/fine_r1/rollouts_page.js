"use strict";
(() => {
  const PAGE = 25;
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const folded = (text) => text.normalize("NFKD").toLowerCase();
  document.documentElement.classList.add("js");

  const groups = all(".rollouts").map((element) => ({
    element,
    replies: all(".reply-row", element).map((row) => ({ row, text: null })),
    text: null,
  }));
  const verdicts = {
    "": () => true,
    right: (row) => row.dataset.right === "1",
    wrong: (row) => row.dataset.right === "0",
    unformed: (row) => row.dataset.formed === "0",
    endless: (row) => row.dataset.ended === "0",
  };
  const controls = { find: one("#find"), step: one("#step"), class: one("#class"), verdict: one("#verdict"), kept: one("#kept") };
  const more = one("#more");
  let shown = PAGE;

  // A group's own words are its names and question; a reply is searched together with them.
  const ownText = (group) => {
    group.text ??= folded(all("h3, .question, .id, .triplet", group.element).map((part) => part.textContent).join(" "));
    return group.text;
  };
  const replyText = (reply) => {
    reply.text ??= folded(reply.row.textContent);
    return reply.text;
  };

  const matching = (group, words, verdict) => {
    const data = group.element.dataset;
    if (controls.step.value !== "" && data.step !== controls.step.value) return [];
    if (controls.class.value !== "" && data.class !== controls.class.value) return [];
    if (controls.kept.value !== "" && data.kept !== controls.kept.value) return [];
    return group.replies.filter(
      (reply) => verdict(reply.row) && words.every((word) => ownText(group).includes(word) || replyText(reply).includes(word)),
    );
  };

  const update = () => {
    const words = folded(controls.find.value).split(/\s+/).filter(Boolean);
    const verdict = verdicts[controls.verdict.value];
    let found = 0;
    let replies = 0;
    for (const group of groups) {
      const kept = new Set(matching(group, words, verdict));
      const visible = kept.size > 0 && found < shown;
      found += kept.size > 0 ? 1 : 0;
      replies += kept.size;
      group.element.hidden = !visible;
      if (visible) for (const reply of group.replies) reply.row.hidden = !kept.has(reply);
    }
    one("#matches").textContent = `${replies.toLocaleString("en")} replies in ${found.toLocaleString("en")} groups`;
    more.hidden = found <= shown;
    more.textContent = `Show more (${Math.min(shown, found)} of ${found} groups)`;
  };

  for (const control of Object.values(controls)) {
    control.addEventListener("input", () => {
      shown = PAGE;
      update();
    });
  }
  more.addEventListener("click", () => {
    shown += PAGE;
    update();
  });
  one("#unfold").addEventListener("change", (event) => {
    for (const details of all(".reply-row details")) {
      details.dataset.first ??= details.open ? "1" : "0";
      details.open = event.target.checked || details.dataset.first === "1";
    }
  });
  update();
})();
