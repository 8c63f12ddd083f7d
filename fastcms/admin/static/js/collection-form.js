// Rows of fields: add, remove, and show what a kind of field needs.
(function () {
    const rows = document.querySelector("[data-field-rows]");
    const template = document.querySelector("[data-field-template]");
    let next = rows.children.length;

    document.querySelector("[data-add-field]").addEventListener("click", () => {
        const holder = document.createElement("div");
        holder.innerHTML = template.innerHTML.replaceAll("NUMBER", next);
        next += 1;
        const row = holder.firstElementChild;
        rows.append(row);
        row.querySelector("input").focus();
    });
    rows.addEventListener("click", (event) => {
        if (event.target.closest("[data-remove-field]")) event.target.closest("[data-field-row]").remove();
    });
    rows.addEventListener("change", (event) => {
        if (!event.target.matches("[data-field-type]")) return;
        for (const part of event.target.closest("[data-field-row]").querySelectorAll("[data-for-type]")) {
            part.hidden = part.dataset.forType !== event.target.value;
        }
    });
})();
