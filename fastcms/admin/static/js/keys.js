// A new key's recovery sheet: printed from its frame, and saved without the server ever seeing it again.
(function () {
    const frame = document.querySelector("[data-sheet]");
    if (!frame) return;

    const save = (text, name, type) => {
        const link = document.createElement("a");
        link.href = URL.createObjectURL(new Blob([text], { type }));
        link.download = name;
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    };

    const actions = {
        "[data-print-sheet]": () => frame.contentWindow.print(),
        "[data-save-sheet]": (button) => save(frame.srcdoc, button.dataset.saveSheet, "text/html"),
        "[data-save-key]": (button) => save(document.querySelector("[data-key-file]").value, button.dataset.saveKey, "text/plain"),
    };
    Object.entries(actions).forEach(([selector, act]) => {
        const button = document.querySelector(selector);
        button.hidden = false;
        button.onclick = () => act(button);
    });
})();
