// Uploads go to the API, which streams them to the disk; the dashboard's own forms are read into memory.
(function () {
    const describe = (text, kind) => {
        const row = document.createElement("li");
        row.className = "list-group-item d-flex align-items-center gap-3";
        const label = document.createElement("span");
        label.className = `flex-fill text-break ${kind || ""}`;
        label.textContent = text;
        row.append(label);
        return { row, label };
    };

    window.uploadFile = (url, file, onProgress) => new Promise((resolve, reject) => {
        const request = new XMLHttpRequest(); // fetch() does not report the progress of an upload
        const form = new FormData();
        form.append("file", file, file.name);
        request.open("POST", url);
        request.responseType = "json";
        request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
        request.onerror = () => reject(new Error("The connection was lost. Try again."));
        request.onload = () => {
            const answer = request.response || {};
            if (request.status === 200 || request.status === 201) resolve(answer);
            else reject(new Error([answer.detail, answer.hint].filter(Boolean).join(" ") || "The server refused it."));
        };
        request.send(form);
    });

    const zone = document.querySelector("[data-upload-zone]");
    if (!zone) return;
    const list = zone.querySelector("[data-upload-list]");

    async function upload(file) {
        const { row, label } = describe(file.name);
        const bar = document.createElement("progress");
        bar.className = "progress w-25";
        bar.max = 1;
        bar.value = 0;
        bar.setAttribute("aria-label", `Uploading ${file.name}`);
        row.append(bar);
        list.append(row);
        try {
            if (file.size > Number(zone.dataset.maxBytes)) throw new Error("It is larger than this site allows.");
            await window.uploadFile(zone.dataset.uploadUrl, file, (part) => {
                if (part < 1) bar.value = part;
                else bar.removeAttribute("value"); // it is all there, and being checked: nobody knows how long that takes
            });
            return true;
        } catch (error) {
            bar.remove();
            label.classList.add("text-danger");
            label.textContent = `${file.name}: ${error.message}`;
            return false;
        }
    }

    async function uploadAll(files) {
        list.replaceChildren();
        let isEverythingThere = true;
        for (const file of files) isEverythingThere = (await upload(file)) && isEverythingThere;
        if (isEverythingThere && files.length) window.location.assign(window.location.pathname);
    }

    zone.querySelector("[data-upload-input]").addEventListener("change", (event) => uploadAll([...event.target.files]));
    zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("is-over"); });
    zone.addEventListener("dragleave", () => zone.classList.remove("is-over"));
    zone.addEventListener("drop", (event) => {
        event.preventDefault();
        zone.classList.remove("is-over");
        uploadAll([...event.dataTransfer.files]);
    });
})();
