// Choose a file of the site for a record's field, or upload one.
for (const picker of document.querySelectorAll("[data-file-picker]")) {
    const find = (selector) => picker.querySelector(selector);
    const url = picker.dataset.filesUrl;
    const choices = find("[data-pick-choices]");
    const problem = find("[data-pick-error]");

    const preview = (file) => {
        const box = document.createElement("span");
        box.className = "d-inline-flex align-items-center gap-2";
        const mark = document.createElement(file.content_type.startsWith("image/") ? "img" : "i");
        if (mark.tagName === "IMG") {
            mark.className = "file-thumbnail";
            mark.alt = "";
            mark.loading = "lazy";
            mark.src = file.url;
        } else {
            mark.className = "fa-solid fa-file text-secondary";
        }
        const name = document.createElement("span");
        name.className = "text-break";
        name.textContent = file.filename;
        box.append(mark, name);
        return box;
    };
    const pick = (file) => {
        find("[data-picked-id]").value = file ? file.id : "";
        find("[data-picked]").replaceChildren(file ? preview(file) : "No file");
        close();
        problem.textContent = "";
    };
    const show = (isShown) => {
        choices.hidden = !isShown;
        find("[data-pick]").setAttribute("aria-expanded", isShown);
    };
    const close = () => {
        if (choices.contains(document.activeElement)) find("[data-pick]").focus(); // what has it goes away
        show(false);
    };
    const search = async () => {
        const query = new URLSearchParams({ per_page: 20, search: find("[data-pick-search]").value });
        const answer = await fetch(`${url}?${query}`);
        const body = await answer.json();
        if (!answer.ok) {
            problem.textContent = body.detail;
            return;
        }
        const items = body.items.map((file) => {
            const item = document.createElement("button");
            item.type = "button";
            item.className = "list-group-item list-group-item-action py-2";
            item.append(preview(file));
            item.addEventListener("click", () => pick(file));
            return item;
        });
        find("[data-pick-list]").replaceChildren(...(items.length ? items : ["No files found. Upload one."]));
    };

    find("[data-pick]").addEventListener("click", () => {
        show(choices.hidden);
        if (choices.hidden) return;
        search();
        find("[data-pick-search]").focus();
    });
    const kept = find("[data-picked-id]").value;
    if (kept && !find("[data-picked] a")) { // a form that was refused comes back with the id alone
        fetch(`${url}/${encodeURIComponent(kept)}`).then(async (answer) => answer.ok && pick(await answer.json()));
    }
    choices.addEventListener("keydown", (event) => event.key === "Escape" && close());
    let waiting;
    find("[data-pick-search]").addEventListener("input", () => {
        clearTimeout(waiting);
        waiting = setTimeout(search, 200);
    });
    find("[data-pick-search]").addEventListener("keydown", (event) => {
        if (event.key === "Enter") event.preventDefault(); // it would send the record's form
    });
    find("[data-pick-none]").addEventListener("click", () => pick(null));
    find("[data-pick-upload]").addEventListener("change", async (event) => {
        problem.textContent = "";
        find("[data-picked]").textContent = "Uploading…";
        try {
            pick((await window.uploadFile(url, event.target.files[0], () => {})).answer);
        } catch (error) {
            find("[data-picked]").textContent = "No file";
            problem.textContent = error.message;
        }
        event.target.value = "";
    });
}
