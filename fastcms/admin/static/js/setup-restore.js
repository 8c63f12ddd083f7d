// Show what a store answers without leaving the page: what was typed stays, so no answer has to repeat secrets.
(function () {
    const form = document.querySelector("[data-store]");
    if (!form) return;

    const show = (page) => {
        ["[data-error]", "[data-stored]"].forEach((part) => document.querySelector(part).replaceWith(page.querySelector(part)));
        const alert = document.querySelector("[data-error] [role=alert]");
        if (alert) alert.scrollIntoView({ block: "center" });
        else form.querySelector("[data-stored] input:checked, [data-stored] button")?.focus();
    };

    form.addEventListener("submit", async (event) => {
        event.preventDefault();
        if (form.ariaBusy === "true") return;
        form.ariaBusy = "true";
        const action = event.submitter?.getAttribute("formaction") ?? form.action;
        try {
            const answer = await fetch(action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
            const page = document.createElement("template");
            page.innerHTML = await answer.text();
            // A job has begun, or the hour of the set-up code is over.
            if (answer.redirected || !page.content.querySelector("[data-stored]")) location.assign(location.pathname);
            else show(page.content);
        } catch {
            form.submit();
        }
        form.ariaBusy = "false";
    });
})();
