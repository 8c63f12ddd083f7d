// What our pages do beyond forms and links. No inline handlers: the Content-Security-Policy forbids them.
document.addEventListener("click", (event) => {
    const on = (selector) => event.target.closest(selector);
    if (on("[data-toggle-theme]")) window.toggleTheme();
    if (on("[data-apply-columns]")) window.applyColumnVisibility();
    if (on("[data-select-all]")) on("[data-select-all]").select();
    const copy = on("[data-copy]");
    if (copy) copyFrom(document.querySelector(copy.dataset.copy), copy);
});

document.addEventListener("change", (event) => {
    if (event.target.matches("[data-go-to-value]")) window.location = event.target.value;
});

// Escape closes the menu of a phone, and gives the focus back to its button.
document.addEventListener("keydown", (event) => {
    const toggler = document.querySelector(".navbar-toggler[aria-expanded=true]");
    if (event.key !== "Escape" || !toggler?.checkVisibility()) return;
    toggler.click();
    toggler.focus();
});

// In units of 1000, as the server writes sizes; a short one is for where there is little room.
window.sizeOf = (bytes, isShort = false) => {
    const units = ["Bytes", "kB", "MB", "GB", "TB", "PB"];
    const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1);
    const value = bytes / 1000 ** power;
    return `${value.toFixed(power === 0 || (isShort && value >= 10) ? 0 : 1)} ${units[power]}`;
};

// A form that takes its time says so, and cannot be sent twice.
document.addEventListener("submit", (event) => {
    const button = event.target.querySelector("[data-busy]");
    if (!button) return;
    button.disabled = true;
    button.textContent = button.dataset.busy;
    const spinner = document.createElement("span");
    spinner.className = "spinner-border spinner-border-sm me-2";
    spinner.setAttribute("aria-hidden", "true");
    button.prepend(spinner);
});

// "Back" after a slow form brings the page back as it was left.
window.addEventListener("pageshow", (event) => {
    if (event.persisted && document.querySelector("[data-busy]:disabled")) window.location.reload();
});

async function copyFrom(field, button) {
    const text = field.value ?? field.textContent.trim();
    try {
        await navigator.clipboard.writeText(text);
    } catch {
        // Without https there is no clipboard API.
        window.getSelection().selectAllChildren(field);
        if (field.select) field.select();
        document.execCommand("copy");
    }
    button.dataset.label ??= button.innerHTML;
    button.textContent = "Copied";
    setTimeout(() => { button.innerHTML = button.dataset.label; }, 2000);
}

// A date becomes a moment in UTC.
document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-add-time]");
    if (!button) return;
    const input = document.getElementById(button.dataset.addTime);
    const day = input.value || new Date().toISOString().slice(0, 10);
    input.max = "9999-12-31T23:59:59";
    input.type = "datetime-local";
    input.value = `${day}T00:00`;
    const unit = document.createElement("span");
    unit.className = "input-group-text";
    unit.textContent = "UTC";
    button.replaceWith(unit);
    input.focus();
});
