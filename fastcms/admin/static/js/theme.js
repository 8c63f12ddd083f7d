// Runs before the page is drawn, so that it does not flash: the visitor's choice, or else their system's.
(function () {
    const system = window.matchMedia("(prefers-color-scheme: dark)");
    const chosen = () => window.localStorage.getItem("fastcms-theme");
    const apply = () => {
        const theme = chosen() || (system.matches ? "dark" : "light");
        document.documentElement.dataset.bsTheme = theme;
        for (const button of document.querySelectorAll("[data-toggle-theme]")) {
            button.hidden = false;
            button.setAttribute("aria-pressed", theme === "dark");
        }
    };
    apply();
    document.addEventListener("DOMContentLoaded", apply);
    system.addEventListener("change", apply);
    window.toggleTheme = () => {
        const next = document.documentElement.dataset.bsTheme === "dark" ? "light" : "dark";
        window.localStorage.setItem("fastcms-theme", next);
        apply();
    };
})();
