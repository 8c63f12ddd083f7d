// Show what a form would mean while it is filled in: the server says it, as for the button without scripts.
for (const hint of document.querySelectorAll("[data-no-script]")) hint.remove();

for (const schedule of document.querySelectorAll("[data-schedule]")) {
    const kind = schedule.querySelector("[data-schedule-kind]");
    const showParts = () => {
        for (const part of schedule.querySelectorAll("[data-schedule-part]")) {
            part.hidden = !part.dataset.schedulePart.split(" ").includes(kind.value);
        }
    };
    showParts();
    kind.addEventListener("change", showParts);
}

for (const form of document.querySelectorAll("[data-previewed]")) {
    const preview = form.querySelector("[data-preview]");
    let waiting, shown, latest = 0;
    form.querySelector("[data-preview-button]").hidden = true;
    form.addEventListener("input", () => {
        clearTimeout(waiting);
        waiting = setTimeout(async () => {
            const number = ++latest;
            try {
                const body = new URLSearchParams(new FormData(form));
                body.set("only", "preview");
                const answer = await fetch(form.dataset.previewed, { method: "POST", body });
                const text = await answer.text();
                // Whoever was logged out is led to the log-in; a later answer may be on its way; and what stays the
                // same is not read out again.
                if (!answer.ok || answer.redirected || number !== latest || text === shown) return;
                preview.innerHTML = shown = text;
            } catch {
                preview.textContent = "The server does not answer. What you typed is still here.";
            }
        }, 400);
    });
}
