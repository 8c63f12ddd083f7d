// The page of backups: learns of work that was begun elsewhere, in another tab, a terminal or by the schedule.
(function () {
    const LOOK_EVERY_MS = 5000;
    const box = document.querySelector("[data-jobs]");
    const isHere = (id) => document.querySelector(`[data-job-id="${CSS.escape(id)}"]`);

    function add(found) {
        const jobs = [...found.querySelectorAll("[data-job-id]")].filter((job) => !isHere(job.dataset.jobId));
        jobs.forEach((job) => box.append(job.closest(".card")));
        window.showJobs(box);
        return jobs.length > 0;
    }

    // The sentence on top says that a backup is being made; a second one would be refused.
    async function refresh() {
        const shown = document.querySelector("[data-safety]");
        const fresh = (await read(`${box.dataset.jobs}?with=safety`))?.querySelector("[data-safety]");
        if (!fresh || shown.contains(document.activeElement)) return;
        shown.replaceWith(fresh);
        document.querySelectorAll("[data-create]").forEach((button) => {
            button.disabled = fresh.dataset.safety === "running";
        });
    }

    // Copies come, go and fail by themselves: what the list says of them is exchanged, and nothing else.
    async function refreshCopies() {
        const names = [...document.querySelectorAll("[data-copies]")].map((lines) => ["of", lines.dataset.copies]);
        if (!names.length) return;
        const url = document.querySelector("[data-copies-url]").dataset.copiesUrl;
        const fresh = await read(`${url}?${new URLSearchParams(names)}`);
        fresh?.querySelectorAll("[data-copies]").forEach((lines) => {
            document.querySelector(`[data-copies="${CSS.escape(lines.dataset.copies)}"]`)?.replaceWith(lines);
        });
    }

    // A piece of the page as it is now; none after the visitor was logged out.
    async function read(url) {
        const answer = await fetch(url, { signal: AbortSignal.timeout(LOOK_EVERY_MS) });
        if (!answer.ok || answer.redirected) return null;
        return new DOMParser().parseFromString(await answer.text(), "text/html");
    }

    // What ended meanwhile has changed the list; whoever reads it decides when it is shown.
    function noticeChange() {
        if (document.querySelector("[data-changed]") || box.querySelector("[data-job-id]")) return;
        const note = document.createElement("div");
        note.className = "alert alert-info";
        note.dataset.changed = "";
        note.setAttribute("role", "status");
        const link = document.createElement("a");
        link.href = window.location.pathname + window.location.search;
        link.className = "alert-link";
        link.textContent = "Show it as it is now";
        note.append("Something has been done meanwhile. ", link);
        box.append(note);
    }

    async function look() {
        if (document.hidden) return;
        try {
            const found = (await read(box.dataset.jobs))?.querySelector("[data-jobs]");
            if (!found) return; // the next look, or the next click, says why
            const latest = found.dataset.latestEnded;
            const isOwn = isHere(latest);
            const copying = (piece) => [...piece.querySelectorAll('[data-job-done=""]')].map((job) => job.dataset.jobId).join();
            const areCopiesNew = found.dataset.copiesMark !== box.dataset.copiesMark || copying(found) !== copying(box);
            const areJobsNew = add(found);
            // Both at once: what they say of the same moment agrees.
            if (areCopiesNew || areJobsNew) await Promise.all([refreshCopies(), refresh()]);
            box.dataset.copiesMark = found.dataset.copiesMark;
            if (latest !== box.dataset.latestEnded && !isOwn) noticeChange();
            box.dataset.latestEnded = latest;
        } catch { /* the server is away: boxes of jobs say so */ }
    }

    setInterval(look, LOOK_EVERY_MS);
    document.addEventListener("visibilitychange", look);

    // How a job ended is said once, not again whenever the page is loaded anew.
    if (document.querySelector("[data-job-outcome]")) {
        const address = new URL(window.location.href);
        address.searchParams.delete("job");
        window.history.replaceState(null, "", address);
    }
})();
