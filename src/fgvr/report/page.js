"use strict";
(() => {
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const one = (selector, root = document) => root.querySelector(selector);
  const folded = (text) => text.normalize("NFKD").toLowerCase();
  document.documentElement.classList.add("js");

  // Contact sheet: find, order, blind review.
  const groups = one("#groups");
  if (groups) {
    const sections = all(".group", groups);
    const number = (element, key) => Number(element.dataset[key]);
    const orders = {
      count: (a, b) => number(b, "count") - number(a, "count") || a.dataset.name.localeCompare(b.dataset.name),
      name: (a, b) => a.dataset.name.localeCompare(b.dataset.name),
      mean: (a, b) => number(a, "mean") - number(b, "mean"),
    };
    one("#find").addEventListener("input", (event) => {
      const words = folded(event.target.value).split(/\s+/).filter(Boolean);
      let left = 0;
      for (const section of sections) {
        const name = folded(section.dataset.name);
        section.hidden = !words.every((word) => name.includes(word));
        left += section.hidden ? 0 : 1;
      }
      one("#matches").textContent = words.length ? `${left} of ${sections.length} names` : "";
    });
    one("#group-order").addEventListener("change", (event) => {
      groups.append(...sections.slice().sort(orders[event.target.value]));
    });
    one("#card-order").addEventListener("change", (event) => {
      const sign = event.target.value === "up" ? 1 : -1;
      for (const list of all(".cards")) {
        list.append(...all(".card", list).sort((a, b) => sign * (number(a, "p") - number(b, "p"))));
      }
    });
    one("#blind").addEventListener("change", (event) => {
      document.body.classList.toggle("blind", event.target.checked);
      one("#find").disabled = event.target.checked;
    });
  }

  // Enlarged picture with the runners-up.
  const viewer = one("#viewer");
  let current = null;
  const open = (button) => {
    current = button;
    const picture = button.firstElementChild.cloneNode(true);
    one(".frame", viewer).replaceChildren(picture);
    one(".id", viewer).textContent = button.dataset.item;
    const rows = JSON.parse(button.dataset.top).map(([name, percent]) => {
      const row = document.createElement("li");
      const label = document.createElement("bdi");
      const figure = document.createElement("span");
      label.textContent = name;
      figure.textContent = ` ${percent}`;
      figure.className = "p";
      row.append(label, figure);
      return row;
    });
    one("ol", viewer).replaceChildren(...rows);
    viewer.classList.toggle("covered", document.body.classList.contains("blind"));
    if (!viewer.open) viewer.showModal();
  };
  const step = (by) => {
    const buttons = all(".open").filter((button) => !button.closest("[hidden]"));
    const next = buttons[buttons.indexOf(current) + by];
    if (next) open(next);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".open");
    if (button && viewer) open(button);
    if (viewer && event.target === viewer) viewer.close();
  });
  if (viewer) {  // pages of tables have none
    one(".close", viewer).addEventListener("click", () => viewer.close());
    one(".prev", viewer).addEventListener("click", () => step(-1));
    one(".next", viewer).addEventListener("click", () => step(1));
    one(".reveal", viewer).addEventListener("click", () => viewer.classList.remove("covered"));
    viewer.addEventListener("close", () => current && current.focus());
    viewer.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") step(-1);
      if (event.key === "ArrowRight") step(1);
    });
  }

  // Tables: sort by a column, filter the long ones.
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.v === undefined ? cell.textContent.trim() : cell.dataset.v === "" ? null : Number(cell.dataset.v);
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  for (const table of all("table.sortable")) {
    const heads = all("thead th", table);
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = all("tr", table.tBodies[0]).map((row) => [value(row, column), row]);
        rows.sort(([a], [b]) => (a === null) - (b === null) || (down ? compare(b, a) : compare(a, b)));
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
    });
  }
  for (const table of all("table.filterable")) {
    if (table.tBodies[0].rows.length < 12) continue;
    const label = document.createElement("label");
    const input = document.createElement("input");
    label.className = "filter";
    input.type = "search";
    label.append("Filter these rows ", input);
    table.parentElement.before(label);
    input.addEventListener("input", () => {
      const wanted = folded(input.value.trim());
      for (const row of table.tBodies[0].rows) row.hidden = !folded(row.textContent).includes(wanted);
    });
  }
})();
