// Get parts of a page that take their time after the page is there; without scripts, a link asks for them.
document.querySelectorAll("[data-load]").forEach(async (box) => {
    const plain = box.querySelector("[data-plain]");
    const loading = box.querySelector("[data-loading]");
    plain.hidden = true;
    loading.hidden = false;
    try {
        const answer = await fetch(box.dataset.load);
        // Whoever was logged out is led to the log-in.
        if (!answer.ok || answer.redirected) throw new Error(answer.statusText);
        box.innerHTML = await answer.text();
        // Not all of it is read aloud: only how much there is.
        const said = box.parentElement.querySelector("[data-said]");
        said.textContent = box.querySelector("[data-summary]")?.textContent ?? "";
    } catch {
        loading.hidden = true;
        plain.hidden = false;
        plain.textContent = "It could not be asked. Try again";
    }
    box.removeAttribute("aria-busy");
});
