// Waits through a restart of the server, whoever restarts it, and then goes on to how the restore ended.
(function () {
    const page = document.querySelector("[data-server-id]");
    if (!page) return;
    const CALM_MS = 3000; // between looks while nothing is expected
    const WAITING_MS = 1000;
    const PATIENCE_MS = 5000; // so long an answer may take
    const LONG_SECONDS = 60;
    const form = page.querySelector('form[action$="/backups/restore/restart"]');
    const calm = page.querySelector("[data-restart-calm]");
    const waiting = page.querySelector("[data-restart-waiting]");
    const said = page.querySelector("[data-restart-said]");
    const elapsed = page.querySelector("[data-restart-elapsed]");
    const late = page.querySelector("[data-restart-late]");
    let isAsked = !calm; // a page of its own, which waits from the beginning
    let began = isAsked ? Date.now() : null;

    // Read aloud, so only when it changes.
    const say = (text) => { if (said.textContent !== text) said.textContent = text; };

    const showWaiting = () => {
        calm.hidden = true;
        waiting.hidden = false;
        // A dialog that closes gives the focus back to its button, which is hidden now.
        setTimeout(() => page.querySelector("[data-restart-heading]").focus());
    };

    const begin = () => {
        if (began !== null) return;
        began = Date.now();
        const dialog = document.querySelector(".modal.show");
        if (!dialog) return showWaiting();
        dialog.addEventListener("hidden.bs.modal", showWaiting, { once: true });
        dialog.querySelector("[data-bs-dismiss]").click();
    };

    const calmDown = () => {
        began = null;
        calm.hidden = false;
        waiting.hidden = true;
    };

    const tick = () => {
        if (began === null) return;
        const seconds = Math.round((Date.now() - began) / 1000);
        elapsed.textContent = `${seconds} second${seconds === 1 ? "" : "s"}`;
        late.hidden = seconds < LONG_SECONDS;
    };

    // The id of the server that answers; null while none does.
    const askWho = async () => {
        try {
            const answer = await fetch(page.dataset.healthUrl, {
                cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS),
            });
            return answer.ok ? (await answer.json()).server_id : null;
        } catch {
            return null;
        }
    };

    const look = async () => {
        const serverId = await askWho();
        if (serverId && serverId !== page.dataset.serverId) {
            say("The server is back. Going on…");
            window.location.replace(page.dataset.next);
            return;
        }
        if (!isAsked && serverId && began !== null) calmDown(); // the network was away, not the server
        if (!serverId) begin();
        if (began !== null && serverId) say("The server is finishing what it is doing.");
        else if (isAsked) say("The server is starting. This page goes on by itself.");
        else if (began !== null) say("The server cannot be reached. If it is being restarted, this page goes on by itself.");
        setTimeout(look, began === null ? CALM_MS : WAITING_MS);
    };

    form?.addEventListener("submit", async (event) => {
        event.preventDefault();
        isAsked = true;
        try {
            // Refused, it leads back to this page, which then says why.
            const answer = await fetch(form.action, { method: "POST", body: new FormData(form), redirect: "manual" });
            if (answer.ok) begin();
            else window.location.reload();
        } catch {
            begin(); // it may just be going down
        }
    });

    setInterval(tick, 1000);
    setTimeout(look, began === null ? CALM_MS : WAITING_MS);
})();
