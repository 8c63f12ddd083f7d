// What changes everything asks for a name: its button waits until that is typed. The server looks at it, too.
document.querySelectorAll("[data-typed-name]").forEach((input) => {
    const button = input.form.querySelector("[type=submit]");
    const look = () => {
        button.disabled = input.value.trim().replace(/\.zip$/, "") !== input.dataset.typedName;
    };
    input.addEventListener("input", look);
    window.addEventListener("pageshow", look); // "back" may bring back what was typed
    look();
});
