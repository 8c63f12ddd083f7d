// One dialog previews whichever file was chosen. Without script, the link opens the file.
document.querySelector("#preview").addEventListener("show.bs.modal", (event) => {
    const file = event.relatedTarget;
    const dialog = event.currentTarget;
    const find = (selector) => dialog.querySelector(selector);
    find("#preview-name").textContent = file.dataset.name;
    find("#preview-url").value = file.href;
    find("[data-preview-open]").href = file.href;
    find("[data-preview-facts]").textContent = [file.dataset.type, file.dataset.size, `uploaded ${file.dataset.uploaded}`].join(", ");
    const picture = file.firstElementChild.cloneNode();
    if ("isPicture" in file.dataset) picture.alt = file.dataset.name;
    find("[data-preview-picture]").replaceChildren(picture);
});
