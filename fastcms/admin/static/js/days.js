// Point at a day of the strip, or tap it, and read what happened. The table below the strip has the same for all.
for (const card of document.querySelectorAll("[data-days]")) {
    const told = card.querySelector("[data-day-told]");
    const ofToday = told.textContent;
    const tell = (event) => {
        const day = event.target.closest("[data-day-sentence]");
        if (!day) return;
        day.removeAttribute("title"); // one place is enough
        told.textContent = day.dataset.daySentence;
    };
    const strip = card.querySelector(".day-strip");
    strip.addEventListener("pointerover", tell);
    strip.addEventListener("click", tell);
    strip.addEventListener("pointerleave", (event) => {
        if (event.pointerType === "mouse") told.textContent = ofToday;
    });
}
